"""Cameras of a browser's window, in parts small enough to be given up between two of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ovnerf.asking.description import Description
from ovnerf.geometry.camera import Camera

BAND_RAYS = 8192
"""Rays of a part: a few tenths of a second on a CPU."""


@dataclass(frozen=True)
class Viewpoint:
    """What a window shows.

    Attributes:
        pose: f64 (4, 4), camera to world, OpenCV axes.
        fov: vertical field of view, radians.
        aspect: width over height of the window.
    """

    pose: NDArray[np.float64]
    fov: float
    aspect: float

    def key(self) -> tuple[bytes, float, float]:
        """Equal for equal viewpoints."""
        return self.pose.tobytes(), self.fov, self.aspect

    def size(self, longest_side: int) -> tuple[int, int]:
        """(height, width) in pixels of a picture whose longer side has so many."""
        if self.aspect >= 1:
            return max(1, round(longest_side / self.aspect)), longest_side
        return longest_side, max(1, round(longest_side * self.aspect))


def bands(
    description: Description, viewpoint: Viewpoint, longest_side: int, device: torch.device
) -> Iterator[Camera]:
    """Cameras of the picture's parts from top to bottom, each of whole rows."""
    height, width = viewpoint.size(longest_side)
    focal = height / 2 / np.tan(viewpoint.fov / 2)
    whole = description.camera(viewpoint.pose, device)
    rows = max(1, BAND_RAYS // width)
    for top in range(0, height, rows):
        intrinsics = torch.tensor(
            [[focal, 0, width / 2], [0, focal, height / 2 - top], [0, 0, 1]],
            dtype=torch.float32,
            device=device,
        )
        # The warp of a forward-facing scene belongs to the scene, whatever camera looks at it.
        yield Camera(whole.pose, intrinsics, min(rows, height - top), width, whole.ndc)


def ray_camera(
    description: Description,
    origin: NDArray[np.float64],
    direction: NDArray[np.float64],
    device: torch.device,
) -> Camera:
    """A camera of one pixel at `origin`, world, whose ray goes along `direction`."""
    forward = direction / np.linalg.norm(direction)
    helper = np.eye(3)[np.abs(forward).argmin()]
    right = np.cross(helper, forward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], -1)
    pose[:3, 3] = origin
    whole = description.camera(pose, device)
    intrinsics = torch.tensor([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]], device=device)
    return Camera(whole.pose, intrinsics, 1, 1, whole.ndc)
