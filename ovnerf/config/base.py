"""Kinds of values and the base class that every settings model shares."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
Name = Annotated[str, Field(pattern=NAME)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
PositiveNumber = Annotated[float, Field(gt=0)]
Amount = Annotated[float, Field(ge=0)]
Ranks = tuple[Positive, Positive, Positive]
Seed = Annotated[int, Field(ge=0)]


class Strict(BaseModel):
    """Base of every settings model: no unknown key, no NaN, no silent change after validation."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )
