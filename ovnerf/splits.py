"""Which frames of a `frames` store a stage works on."""

from __future__ import annotations

from typing import Literal

import zarr

from ovnerf.stores import read

TRAIN, TEST = 0, 1
"""Values of the `split` array."""


def frame_indices(frames: zarr.Group, views: Literal["train", "all"]) -> list[int]:
    """Indices of the training frames, or of every frame, ascending."""
    split = read(frames, "split")
    return [index for index, part in enumerate(split.tolist()) if views == "all" or part == TRAIN]
