"""Pinhole cameras: OpenCV axes everywhere (x right, y down, z forward), pixel centres at +0.5.

A pixel (column i, row j) covers [i, i+1) x [j, j+1) and its ray passes through (i+0.5, j+0.5).
Intrinsics in stores follow this convention, whatever the source did (docs/conventions.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

OPENGL_TO_OPENCV = (1.0, -1.0, -1.0)
"""Signs of the camera axes' columns: OpenGL is x right, y up, z back."""


def opengl_to_opencv(pose: Tensor) -> Tensor:
    """Camera-to-world (..., 4, 4) with OpenGL camera axes -> the same camera with OpenCV axes."""
    flip = torch.diag(torch.tensor([*OPENGL_TO_OPENCV, 1.0], dtype=pose.dtype))
    return pose @ flip


@dataclass(frozen=True)
class Similarity:
    """World (metres) -> scene (the field's units): scene = scale * (world - centre)."""

    scale: float
    centre: tuple[float, float, float]

    def poses(self, pose: Tensor) -> Tensor:
        """Camera-to-world (n, 4, 4) in metres -> camera-to-scene; rotations stay orthonormal."""
        moved = pose.clone()
        moved[:, :3, 3] = self.scale * (pose[:, :3, 3] - torch.tensor(self.centre).to(pose))
        return moved

    def points(self, world: Tensor) -> Tensor:
        """World points (..., 3) in metres -> scene units."""
        return self.scale * (world - torch.tensor(self.centre).to(world))

    def inverse_points(self, scene: Tensor) -> Tensor:
        """Scene points (..., 3) -> world, metres."""
        return scene / self.scale + torch.tensor(self.centre).to(scene)


def pixel_rays(
    pose: Tensor, intrinsics: Tensor, column: Tensor, row: Tensor
) -> tuple[Tensor, Tensor]:
    """Rays through pixel centres (method 1.1).

    Args:
        pose: (r, 4, 4) or (4, 4) camera-to-scene, OpenCV axes.
        intrinsics: (r, 3, 3) or (3, 3).
        column, row: (r,) pixel indices; fractional values address points between centres.

    Returns:
        origins (r, 3) and unit directions (r, 3), in scene axes.
    """
    fx, fy = intrinsics[..., 0, 0], intrinsics[..., 1, 1]
    cx, cy = intrinsics[..., 0, 2], intrinsics[..., 1, 2]
    x = (column.to(fx) + 0.5 - cx) / fx
    y = (row.to(fy) + 0.5 - cy) / fy
    local = torch.nn.functional.normalize(torch.stack([x, y, torch.ones_like(x)], -1), dim=-1)
    directions = (pose[..., :3, :3] @ local[..., None])[..., 0]
    return pose[..., :3, 3].expand_as(directions), directions
