"""The calm run that all faults are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from place import CASES, OUTPUTS, TABLE, Place


@dataclass(frozen=True)
class Calm:
    """An unbroken run: its place, the digest of each long stage's output, its table."""

    place: Place
    digest: dict[str, str]
    table: bytes


def run_calmly(folder: Path, systems: bool = False) -> Calm:
    """Run the tiny workflow once, unbroken; with the compared systems if wanted."""
    place = Place(folder).prepare(systems)
    place.run(cores=2)
    return Calm(
        place,
        {stage: place.digest(stage) for stage in (CASES if systems else OUTPUTS)},
        (folder / TABLE).read_bytes(),
    )
