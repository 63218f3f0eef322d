"""Settings of the tables in the paper's layout."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ovnerf.config.base import Strict

Table = Literal["I", "II", "III", "IV", "V", "VI", "VII", "VIII"]


class PaperTables(Strict):
    """Tables I to VIII of the paper, ours beside the printed (docs/method.md#paper-tables)."""

    write: bool = False
    """Whether `all` writes them."""
    tables: tuple[Table, ...] = Field(
        default=("I", "II", "III", "IV", "V", "VI", "VII", "VIII"), min_length=1
    )
    """Tables that are written as `tables/paper_<number>.csv` and `.md`."""
    scenes: dict[str, str] = Field(default_factory=dict)
    """Stand-ins: a scene of the paper (`replica/room0`) -> a scene of the sheet whose scores take
    its place. With any stand-in no published number is shown, and captions say so."""
    encoders: dict[str, str] = Field(default_factory=dict)
    """Stand-ins: an encoder of the paper (`clip`) -> one of ours."""

    @model_validator(mode="after")
    def stand_ins_go_together(self) -> PaperTables:
        if bool(self.scenes) != bool(self.encoders):
            raise ValueError("stand-ins: give both `scenes` and `encoders`, or neither")
        of_datasets: dict[str, str] = {}
        for place, stand_in in self.scenes.items():
            dataset, ours = place.partition("/")[0], stand_in.partition("/")[0]
            if of_datasets.setdefault(dataset, ours) != ours:
                raise ValueError(
                    f"scenes: found stand-ins of {of_datasets[dataset]} and {ours} for {dataset}, "
                    "expected one dataset of yours for each of the paper's"
                )
        return self
