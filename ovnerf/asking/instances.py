"""Objects among the points that belong to a phrase: connected groups and their boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.transform import Rotation

from ovnerf.asking.voxels import keys_of

TOP_SHARE = 0.1
"""An instance's score is the mean over this share of its points, those of the highest scores."""
TRIMMED = 0.02
"""Share of an instance's points at either end of each axis that its boxes leave out: what a thin
bridge of voxels or a few wrong distances add would make a box much larger than the object."""
LEAST_SHARE = 0.1
"""Groups of fewer points than this share of a phrase's largest group are fragments, no objects."""
STEPS_BESIDE = ((0, 1), (1, -1), (1, 0), (1, 1))
"""Steps in x and y to half of the columns around one; the others are seen from the other voxel."""


@dataclass(frozen=True)
class Box:
    """A box that stands upright.

    Attributes:
        centre: f64 (3,), world. size: f64 (3,), lengths along its own axes; the third is up, the
            first the longer of the other two.
        quaternion: f64 (4,), x y z w: turns the box's own axes into the world's.
    """

    centre: np.ndarray
    size: np.ndarray
    quaternion: np.ndarray


@dataclass(frozen=True)
class Instance:
    """One object that answers a phrase.

    Attributes:
        index: i64 (m,), its points.
        score: mean score of the top decile of its points.
        centroid: f64 (3,), mean of its points, world; may lie inside the object.
        surface: f64 (3,), the point of its surface that is nearest to the centroid.
        low, high: f64 (3,), corners of the axis-aligned box of its points but the outermost
            (`TRIMMED`).
        box: the upright box of smallest footprint around the points in that box.
    """

    index: np.ndarray
    score: float
    centroid: np.ndarray
    surface: np.ndarray
    low: np.ndarray
    high: np.ndarray
    box: Box


def find_instances(
    xyz: np.ndarray,
    cell: np.ndarray,
    score: np.ndarray,
    chosen: np.ndarray,
    min_points: int,
    up: np.ndarray,
) -> list[Instance]:
    """Connected groups of the chosen points, of highest score first.

    Args:
        xyz: f64 (n, 3), world. cell: i32 (n, 3), their voxels, ascending by key.
        score: f32 (n,). chosen: i64 (m,), ascending indices of the points that belong to a phrase.
        min_points: smaller groups are left out, and those under `LEAST_SHARE`.
        up: unit vector f64 (3,).
    """
    large = list(groups(cell[chosen], min_points))
    least = LEAST_SHARE * max(map(len, large), default=0)
    found = [instance(xyz, score, chosen[group], up) for group in large if len(group) >= least]
    return sorted(found, key=lambda one: (-one.score, -len(one.index)))


def groups(cell: np.ndarray, least: int) -> Iterator[np.ndarray]:
    """Positions of each 26-connected group of at least so many voxels.

    Args:
        cell: the voxels i32 (m, 3), ascending by key.
    """
    if not len(cell):
        return
    key = keys_of(cell.astype(np.int64))
    pairs = [above(key), *(beside(key, step) for step in STEPS_BESIDE)]
    row, column = (np.concatenate(side) for side in zip(*pairs, strict=True))
    ones = np.ones(len(row), dtype=np.int8)
    graph = coo_array((ones, (row, column)), shape=(len(key), len(key)))
    count, label = connected_components(graph, directed=False)
    sizes = np.bincount(label, minlength=count)
    order = np.argsort(label, kind="stable")
    ends = np.cumsum(sizes)
    for group in np.flatnonzero(sizes >= least):
        yield order[ends[group] - sizes[group] : ends[group]]


def above(key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (positions, positions) of voxels that differ by one step in z alone."""
    first = np.flatnonzero(np.diff(key) == 1)
    return first, first + 1


def beside(key: np.ndarray, step: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (positions, positions) of voxels, the second a step in x and y and up to one in z away.

    The three voxels there have keys that follow each other, so one search finds them.
    """
    # Keys are sums of shifted indices, so a step is one number.
    origin, moved = keys_of(np.array([[0, 0, 0], [*step, 0]], dtype=np.int64))
    wanted = key + (moved - origin)
    place = np.searchsorted(key, wanted - 1)
    padded = np.append(key, [np.iinfo(np.int64).max] * 3)
    first, second = [], []
    for following in range(3):
        found = np.flatnonzero(padded[place + following] <= wanted + 1)
        first.append(found)
        second.append(place[found] + following)
    return np.concatenate(first), np.concatenate(second)


def instance(xyz: np.ndarray, score: np.ndarray, index: np.ndarray, up: np.ndarray) -> Instance:
    """The object that some points (i64 (m,)) make up."""
    columns, own = np.ascontiguousarray(xyz[index].T), score[index]
    top = ceil(TOP_SHARE * len(own))
    centroid = columns.mean(1)
    low, high = trimmed_ends(columns)
    within = np.all((columns >= low[:, None]) & (columns <= high[:, None]), axis=0)
    nearest = np.square(columns - centroid[:, None]).sum(0).argmin()
    return Instance(
        index=index,
        score=float(np.partition(own, len(own) - top)[len(own) - top :].mean()),
        centroid=centroid,
        surface=columns[:, nearest].copy(),
        low=low,
        high=high,
        box=upright_box(columns[:, within] if within.any() else columns, up),
    )


def trimmed_ends(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and greatest coordinates f64 (3,) of points f64 (3, m), without `TRIMMED` of them.

    Of fewer than 50 points none is left out.
    """
    last = columns.shape[1] - 1
    out = int(TRIMMED * (last + 1))
    ordered = np.partition(columns, (out, last - out), axis=1)
    return ordered[:, out].copy(), ordered[:, last - out].copy()


def upright_box(columns: np.ndarray, up: np.ndarray) -> Box:
    """The upright box of smallest footprint around points f64 (3, m); `up` is a unit vector."""
    middle = columns.mean(1)
    offset = columns - middle[:, None]
    level = np.stack(horizontal_axes(up))
    angle = smallest_rectangle(level @ offset)
    first = np.array([np.cos(angle), np.sin(angle)]) @ level
    axes = np.stack([first, np.cross(up, first), up])
    along = axes @ offset
    low, high = along.min(1), along.max(1)
    centre = middle + (low + high) / 2 @ axes
    size = high - low
    if size[1] > size[0]:  # the longer side comes first
        axes = np.stack([axes[1], -axes[0], up])
        size = size[[1, 0, 2]]
    return Box(centre, size, Rotation.from_matrix(axes.T).as_quat(canonical=True))


def horizontal_axes(up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors that make a right-handed frame with `up` as the third."""
    least = np.zeros(3)
    least[int(np.abs(up).argmin())] = 1.0
    first = least - (least @ up) * up
    first /= np.linalg.norm(first)
    return first, np.cross(up, first)


def smallest_rectangle(flat: np.ndarray) -> float:
    """Angle of a side of the rectangle of smallest area around points f64 (2, m), radians.

    One of its sides lies on a side of the convex hull.
    """
    corners = cv2.convexHull(flat.T.astype(np.float32))[:, 0].astype(np.float64)
    sides = np.roll(corners, -1, axis=0) - corners
    angles = np.arctan2(sides[:, 1], sides[:, 0])
    turned = np.stack([np.cos(angles), np.sin(angles)]), np.stack([-np.sin(angles), np.cos(angles)])
    areas = np.prod([np.ptp(corners @ axis, axis=0) for axis in turned], axis=0)
    return float(angles[int(areas.argmin())])
