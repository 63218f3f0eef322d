"""A truncated signed distance to the surface that views see, on a grid (docs/asking.md#mesh).

Each view says of a cell how far it lies before (+) or behind (-) the surface in its pixel, along
the ray. The mean over the views is 0 on the surface. Cells further behind than `TRUNCATION` are
hidden from the view, and it says nothing of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from skimage.measure import marching_cubes

from ovnerf.runtime.errors import UserError

TRUNCATION = 4.0
"""Distances are cut here, in cells."""
MIN_VIEWS = 2
"""A cell that fewer views know is unknown: what one view alone sees is mostly a floater."""
MAX_CELLS = 16_000_000


@dataclass(frozen=True)
class DepthView:
    """The surface in each pixel of a pinhole camera.

    Attributes:
        pose: f64 (4, 4), camera to world, OpenCV axes. intrinsics: f64 (3, 3), in pixels.
        distance: f64 (H, W), along the ray, world units.
        seen: bool (H, W), pixels that count.
    """

    pose: np.ndarray
    intrinsics: np.ndarray
    distance: np.ndarray
    seen: np.ndarray


@dataclass(frozen=True)
class Volume:
    """Signed distances on a grid of cubes.

    Attributes:
        origin: f64 (3,), centre of the first cell, world.
        cell: side of a cell, world units.
        value: f32 (x, y, z), mean distance in units of the truncation, in [-1, 1].
        views: f32 (x, y, z), how many views know the cell.
    """

    origin: np.ndarray
    cell: float
    value: np.ndarray
    views: np.ndarray

    def centres(self, slab: int) -> np.ndarray:
        """World places f64 (y * z, 3) of the cells with first index `slab`."""
        y, z = np.indices(self.value.shape[1:]).reshape(2, -1)
        return self.origin + self.cell * np.stack([np.full(len(y), slab), y, z], 1)

    def add(self, view: DepthView) -> None:
        """Take a view into the mean, in place."""
        for slab in range(len(self.value)):
            distance, known = signed_distance(view, self.centres(slab))
            share = distance / (TRUNCATION * self.cell)
            known &= share >= -1
            value = self.value[slab].reshape(-1)
            views = self.views[slab].reshape(-1)
            change = np.minimum(share[known], 1) - value[known]
            views[known] += 1
            value[known] += change / views[known]


def empty_volume(xyz: np.ndarray, cell: float) -> Volume:
    """A grid around points f64 (n, 3), with coarser cells where there would be too many."""
    margin = 2 * TRUNCATION
    extent = np.ptp(xyz, axis=0)
    while np.prod(extent / cell + margin) > MAX_CELLS:
        cell *= 1.1
    shape = tuple(np.ceil(extent / cell + margin).astype(int).tolist())
    origin = (xyz.min(0) + xyz.max(0)) / 2 - cell * (np.array(shape) - 1) / 2
    zeros = np.zeros(shape, dtype=np.float32)
    return Volume(origin, cell, zeros, zeros.copy())


def signed_distance(view: DepthView, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far points f64 (n, 3) lie before the surface of their pixels, and for which it is known.

    Returns:
        f64 (n,), world units, negative behind; bool (n,).
    """
    height, width = view.distance.shape
    offset = point - view.pose[:3, 3]
    x, y, z = (offset @ view.pose[:3, :3]).T
    known = z > 0
    ahead = np.where(known, z, 1.0)
    matrix = view.intrinsics
    column = np.floor(matrix[0, 0] * x / ahead + matrix[0, 2])
    row = np.floor(matrix[1, 1] * y / ahead + matrix[1, 2])
    known &= (column >= 0) & (column < width) & (row >= 0) & (row < height)
    pixel = np.where(known, row * width + column, 0).astype(np.int64)
    known &= view.seen.reshape(-1)[pixel]
    return view.distance.reshape(-1)[pixel] - np.linalg.norm(offset, axis=1), known


def surface(volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """The surface as triangles: vertices f64 (n, 3), world; faces i64 (m, 3), front sides outwards.

    There is none at the border of what is known.

    Raises:
        UserError: the known cells hold no surface.
    """
    known = volume.views >= MIN_VIEWS
    value = np.where(known, volume.value, 1).astype(np.float32)
    if value.min() < 0 < value.max():
        place, faces, _, _ = marching_cubes(value, 0.0)
        corner = np.floor(place[faces].mean(1)).astype(int)
        faces = faces[known_cubes(known)[tuple(corner.T)]]
    else:
        faces = np.zeros((0, 3), dtype=np.int64)
    if not len(faces):
        raise UserError(
            "mesh: found no surface that two training views see, expected one",
            "look at the renders: is the field opaque anywhere? `mesh_cell` may be too large",
        )
    place, faces = used_vertices(place.astype(np.float64), faces.astype(np.int64))
    return volume.origin + volume.cell * place, faces


def known_cubes(known: np.ndarray) -> np.ndarray:
    """Which cubes between cell centres have eight known corners, from bool (x, y, z)."""
    for axis in range(3):
        first = known.take(range(known.shape[axis] - 1), axis)
        known = first & known.take(range(1, known.shape[axis]), axis)
    return known


def used_vertices(place: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices that a face has, and the faces by their new numbers."""
    used, number = np.unique(faces, return_inverse=True)
    return place[used], number.reshape(faces.shape)
