"""Which frames of a `frames` store a stage works on."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ovnerf.storage.stores import Store, read

TRAIN, TEST, BOTH = 0, 1, 2
"""Values of the `split` array: trained on, held out, trained on and scored."""


def in_split(split: np.ndarray, part: int) -> np.ndarray:
    """Which frames are trained on (`part` TRAIN) or scored (TEST): bool, of `split`'s shape."""
    return (split == part) | (split == BOTH)


def frame_indices(frames: Store, views: Literal["train", "test", "all"]) -> list[int]:
    """Indices of the training frames, of the scored ones, or of every frame, ascending."""
    split = read(frames, "split")
    if views == "all":
        return list(range(len(split)))
    return np.flatnonzero(in_split(split, TRAIN if views == "train" else TEST)).tolist()
