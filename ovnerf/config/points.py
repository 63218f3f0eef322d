"""Settings of the points that a trained field is fused to."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ovnerf.config.base import Fraction, Name, Strict


class FusePoints(Strict):
    """Rendered ray features of the training views, averaged per voxel (docs/asking.md#points)."""

    variants: tuple[Name, ...] = ()
    """Variants whose points `all` makes, for every scene, encoder and seed; none when empty."""
    voxel_size: float | None = Field(default=None, gt=0)
    """Side of a voxel in the unit of the poses; when empty, the median distance between the surface
    points of neighbouring pixels."""
    min_opacity: Fraction = 0.5
    """A pixel counts above this accumulated opacity."""
    max_spread: Fraction = 0.07
    """A pixel counts when the middle half of its ray's weight lies within this share of the
    distance: where it is spread wider, the field is not sure where the surface is. The surest
    quarter of a view's pixels always counts."""
    text_bank: Literal["ensemble", "bare"] = "ensemble"
    """Text vectors that give each point its label."""
