"""Which way is up, where the floor is and how the walls run, from poses and points alone.

People hold cameras level: their sideways axes lie in the horizontal plane, and the direction that
is most nearly perpendicular to all of them is the vertical. Floors, tables, walls and cupboards
then make peaks in the heights of the points and in their other two coordinates; the model is turned
by small angles to where these peaks are sharpest, all three at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.spatial.transform import Rotation

TURNED = 0.01
"""Smallest share of the sideways axes' spread that must lie in a second direction: cameras that
all look one way do not say how far they are tilted."""
TURNS = np.radians([8.0, 4.0, 1.5, 0.5, 0.2])
"""Largest turns about each axis that are tried, coarse to fine."""
STEPS = 5
"""Turns tried about each axis at once."""
BINS = 200
"""Of a histogram of coordinates, over twice the room's size, at most: fewer for large turns."""
POINTS = 5000
"""Points that are looked at, at most."""
MIDDLE = 98.0
"""Percentile of the distances from the middle within which the room is."""
FLOOR = 1.0
"""Percentile of the heights that is the floor."""
YAWS = np.radians(np.arange(-45, 45, 1.0))
"""Turns about the vertical that are tried for the walls."""


@dataclass(frozen=True)
class Upright:
    """Rotation of the model into a world whose z axis points up.

    Attributes:
        rotation: f64 (3, 3), world from model.
        tilt: degrees by which the points' planes moved the direction that the cameras gave.
        level: root mean square of the cameras' roll in degrees.
    """

    rotation: np.ndarray
    tilt: float
    level: float


def stand_up(pose: np.ndarray, points: np.ndarray) -> Upright:
    """The rotation that makes a model stand upright, its walls along x and y.

    Args:
        pose: f64 (n, 4, 4) camera-to-model, OpenCV axes.
        points: f64 (p, 3).
    """
    first = up_of_cameras(pose)
    level = rotation_to_z(first)
    inside = middle_of(points)
    yaws = [Rotation.from_euler("z", yaw) for yaw in YAWS]
    walls = sharpest(inside @ level.T, yaws, BINS // 2)
    # A search that begins with large turns may get lost, one with small ones not get there.
    begun = [refined(inside, walls.as_matrix() @ level, start) for start in range(len(TURNS))]
    rotation = max(begun, key=lambda turn: peakedness(inside @ turn.T, BINS // 2))
    up = rotation[2]
    roll = np.degrees(np.arcsin(np.clip(pose[:, :3, 0] @ up, -1, 1)))
    return Upright(
        rotation,
        tilt=float(np.degrees(np.arccos(np.clip(first @ up, -1, 1)))),
        level=float(np.sqrt((roll**2).mean())),
    )


def up_of_cameras(pose: np.ndarray) -> np.ndarray:
    """f64 (3,) unit: perpendicular to the cameras' sideways axes, on the side of their own up.

    Where all cameras look one way, their mean own up.
    """
    sideways, own = pose[:, :3, 0], -pose[:, :3, 1].mean(0)
    _, spread, axes = np.linalg.svd(sideways, full_matrices=True)
    if spread[1] ** 2 < TURNED * spread[0] ** 2:
        # Level cameras tilt about their sideways axis, so their own up has no part along it.
        own = own - axes[0] * (own @ axes[0])
        return own / np.linalg.norm(own)
    up = axes[2]
    return up if up @ own > 0 else -up


def rotation_to_z(up: np.ndarray) -> np.ndarray:
    """f64 (3, 3): the shortest turn of a unit vector to (0, 0, 1)."""
    return Rotation.align_vectors([[0.0, 0.0, 1.0]], [up])[0].as_matrix()


def middle_of(points: np.ndarray) -> np.ndarray:
    """The points without the far ones, around their middle, in units of the room's size."""
    centred = points - np.median(points, axis=0)
    away = np.linalg.norm(centred, axis=1)
    size = np.percentile(away, MIDDLE)
    inside = centred[away <= size] / max(size, 1e-12)
    return inside[:: max(1, len(inside) // POINTS)]


def peakedness(points: np.ndarray, bins: int) -> float:
    """How much of the three coordinates lies in few places: squared shares of their histograms."""
    total = 0.0
    for values in points.T:
        place = np.floor(0.5 * bins * (values + 1)).astype(int)
        # Neighbouring bins are joined, so that it does not matter where a plane falls in a bin.
        share = np.bincount(np.clip(place, 0, bins), minlength=bins + 1) / len(points)
        total += float((np.convolve(share, (0.5, 1.0, 0.5)) ** 2).sum())
    return total


def refined(points: np.ndarray, rotation: np.ndarray, start: int) -> np.ndarray:
    """The rotation turned further, by `TURNS` from number `start` on."""
    for largest in TURNS[start:]:
        steps = np.linspace(-largest, largest, STEPS)
        turns = map(Rotation.from_rotvec, product(steps, repeat=3))
        bins = min(BINS, round(2 / largest))
        rotation = sharpest(points @ rotation.T, turns, bins).as_matrix() @ rotation
    return rotation


def sharpest(points: np.ndarray, turns: Iterable[Rotation], bins: int) -> Rotation:
    """The turn after which the points' coordinates are most peaked."""
    return max(turns, key=lambda turn: peakedness(points @ turn.as_matrix().T, bins))


def floor_centre(points: np.ndarray) -> np.ndarray:
    """f64 (3,): the middle of the points (medians) on the floor, of upright points."""
    middle = np.median(points[:, :2], axis=0)
    return np.array([*middle, np.percentile(points[:, 2], FLOOR)])
