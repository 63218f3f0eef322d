"""The calm run that all faults are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kills import loop_seconds
from place import OUTPUTS, TABLE, Place


@dataclass(frozen=True)
class Calm:
    """An unbroken run: its place, the digest of each long stage's output, its loop's seconds."""

    place: Place
    digest: dict[str, str]
    seconds: dict[str, float]
    table: bytes


def run_calmly(folder: Path) -> Calm:
    """Run the tiny workflow once, unbroken."""
    place = Place(folder).prepare()
    place.run(cores=2)
    return Calm(
        place,
        {stage: place.digest(stage) for stage in OUTPUTS},
        {stage: loop_seconds(place, stage) for stage in OUTPUTS},
        (folder / TABLE).read_bytes(),
    )
