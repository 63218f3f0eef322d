"""Sums over the voxels of a grid: what many views see, added up voxel by voxel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ovnerf.runtime.errors import UserError

CELL_BITS = 21
"""Bits of a voxel's index along one axis; three of them make up a 63-bit key."""
COLUMNS = 4
"""Columns of sums that are sorted at once."""
PENDING_ROWS = 1_000_000
"""Rows of views that are gathered before they are merged with the sum so far, at least."""


@dataclass(frozen=True)
class VoxelGrid:
    """Cubes that fill the world around an origin.

    Attributes:
        origin: f64 (3,), a corner of the voxel (0, 0, 0), world.
        size: side of a voxel, world units.
    """

    origin: np.ndarray
    size: float

    def cells(self, point: np.ndarray) -> np.ndarray:
        """Voxel of each world point f64 (n, 3): i64 (n, 3), may be negative."""
        return np.floor((point - self.origin) / self.size).astype(np.int64)

    def centres(self, cell: np.ndarray) -> np.ndarray:
        """Centres of voxels i64 (n, 3): f64 (n, 3), world."""
        return self.origin + (cell + 0.5) * self.size


def in_range(cell: np.ndarray) -> np.ndarray:
    """Which voxels (n, 3) and their neighbours have keys: bool (n,); others are a million away."""
    half = 1 << (CELL_BITS - 1)
    return np.all((cell > -half) & (cell < half - 1), axis=-1)


def keys_of(cell: np.ndarray) -> np.ndarray:
    """One number per voxel i64 (n, 3), all in range: i64 (n,), ordered by x, then y, then z."""
    x, y, z = (cell + (1 << (CELL_BITS - 1))).T
    return (x << (2 * CELL_BITS)) | (y << CELL_BITS) | z


def cells_of_keys(key: np.ndarray) -> np.ndarray:
    """The voxels i64 (n, 3) of keys."""
    mask = (1 << CELL_BITS) - 1
    parts = [(key >> shift) & mask for shift in (2 * CELL_BITS, CELL_BITS, 0)]
    return np.stack(parts, -1) - (1 << (CELL_BITS - 1))


@dataclass(frozen=True)
class VoxelSums:
    """Weighted sums of the pixels in each voxel, ascending by key.

    Attributes:
        key: i64 (v,), of the voxel (`VoxelGrid.keys`).
        pixels, views: i64 (v,), how many pixels, and views, see it.
        weight: f64 (v,), summed opacity.
        sums: f64 (v, 9 + 28), opacity times: place relative to the voxel's centre, normal, colour,
            ray feature.
    """

    key: np.ndarray
    pixels: np.ndarray
    views: np.ndarray
    weight: np.ndarray
    sums: np.ndarray

    def __len__(self) -> int:
        return len(self.key)


def joined(parts: Sequence[VoxelSums]) -> VoxelSums:
    """Rows of several parts, or of one, with those of equal key added up; ascending by key.

    The columns of `sums` are sorted a few at a time: all at once they would need three times the
    memory.
    """
    key = np.concatenate([part.key for part in parts])
    if not len(key):
        return parts[0]
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.flatnonzero(np.diff(key, prepend=key[0] - 1))

    def added(columns: Sequence[np.ndarray]) -> np.ndarray:
        return np.add.reduceat(np.concatenate(columns)[order], first)

    sums = np.empty((len(first), parts[0].sums.shape[1]))
    for begin in range(0, sums.shape[1], COLUMNS):
        some = slice(begin, begin + COLUMNS)
        sums[:, some] = added([part.sums[:, some] for part in parts])
    return VoxelSums(
        key[first],
        added([part.pixels for part in parts]),
        added([part.views for part in parts]),
        added([part.weight for part in parts]),
        sums,
    )


def merged(parts: Iterable[VoxelSums]) -> VoxelSums:
    """The sums of all views.

    Views are gathered until they have as many rows as the sum so far, so that each row is copied
    a few times only, however many views there are.

    Raises:
        UserError: no view sees a surface.
    """
    total: VoxelSums | None = None
    pending: list[VoxelSums] = []
    for part in parts:
        pending.append(part)
        if sum(map(len, pending)) > max(PENDING_ROWS, len(total) if total else 0):
            total, pending = joined([*([total] if total else []), *pending]), []
    total = joined([*([total] if total else []), *pending])
    if not len(total):
        raise UserError(
            "fuse_points: no pixel of the training views sees a surface",
            "look at the renders: is the field opaque anywhere? `min_opacity` and `max_spread` "
            "say which pixels count",
        )
    return total
