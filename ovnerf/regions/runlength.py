"""Region masks as run lengths, and reading them back from a `regions` store.

A mask is scanned row by row into lengths of alternating runs, beginning with a run of background
(possibly of length 0). Stored is each length minus the one two runs before: a region's outline
moves little from row to row, so most values are near zero and compress well.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ovnerf.runtime.errors import UserError
from ovnerf.storage.stores import Store, read


def encode(mask: np.ndarray) -> np.ndarray:
    """Run lengths of a boolean mask (H, W) as i32 (runs,), differenced over two runs."""
    flat = np.ravel(mask).astype(bool)
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    runs = np.diff(changes, prepend=0, append=flat.size).astype(np.int32)
    coded = runs.copy()
    coded[2:] -= runs[:-2]
    return coded


def decode(coded: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The boolean mask of this shape that `encode` was given."""
    runs = np.empty_like(coded)
    runs[0::2] = np.cumsum(coded[0::2])
    runs[1::2] = np.cumsum(coded[1::2])
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(*shape)


def encode_all(masks: np.ndarray) -> dict[str, np.ndarray]:
    """Masks (m, H, W) as the ragged arrays `runs` i32 and `run_count` i32 (m,)."""
    coded = [encode(mask) for mask in masks]
    return {
        "runs": np.concatenate([np.zeros(0, np.int32), *coded]),
        "run_count": np.array([len(runs) for runs in coded], dtype=np.int32),
    }


class Regions:
    """The region proposals of a scene, decoded frame by frame."""

    def __init__(self, group: Store) -> None:
        """Read an open store of kind `regions`."""
        self.group = group
        self.frames = [int(frame) for frame in group.attrs["frames"]]
        self.shape = tuple(group.attrs["shape"])
        names = ("runs", "runs_offset", "run_count", "run_count_offset")
        self.runs, self.runs_offset, self.count, self.count_offset = (
            read(group, name) for name in names
        )

    def masks(self, frame: int) -> np.ndarray:
        """Masks bool (m, H, W) of a frame (its index in `frames.zarr`), in generator order.

        Raises:
            UserError: the store does not cover this frame.
        """
        if frame not in self.frames:
            raise UserError(
                f"{self.group.store_path}: holds no regions of frame {frame}",
                "set `propose_regions: {views: all}` for test views",
            )
        slot = self.frames.index(frame)
        count = self.count[self.count_offset[slot] : self.count_offset[slot + 1]]
        runs = self.runs[self.runs_offset[slot] : self.runs_offset[slot + 1]]
        masks = np.empty((len(count), *self.shape), dtype=bool)
        for mask, coded in zip(masks, np.split(runs, np.cumsum(count)[:-1]), strict=False):
            mask[...] = decode(coded, self.shape)
        return masks
