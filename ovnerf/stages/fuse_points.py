"""Fuse what the training views of a trained field see to points, each with its language feature.

    python -m ovnerf fuse_points --semantics RUN/semantics --out RUN/points.zarr

Writes a `points` store in the world frame and unit of the input (docs/asking.md#points).
Without `--features` the text vectors of the classes are made by the encoder again.
"""

from __future__ import annotations

from pathlib import Path

from ovnerf.asking import fuse
from ovnerf.config.points import FusePoints


def run(
    *, semantics: Path, out: Path, settings: FusePoints, features: Path | None = None
) -> dict[str, object]:
    """Write a `points` store; returns how many there are, their size and how much is seen."""
    return fuse.fuse_points(semantics, features, out, settings)
