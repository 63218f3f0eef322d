"""Pinhole cameras: OpenCV axes everywhere (x right, y down, z forward), pixel centres at +0.5.

A pixel (column i, row j) covers [i, i+1) x [j, j+1) and its ray passes through (i+0.5, j+0.5).
Intrinsics in stores follow this convention, whatever the source did (docs/conventions.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

FARTHEST = 1e4
"""Points at infinity are taken to be this many near-plane distances away."""


@dataclass(frozen=True)
class Ndc:
    """Normalised device coordinates of a forward-facing scene (docs/method.md#ndc).

    A scene point (x, y, z), axes right, down, forward, becomes (sx x / z, sy y / z, 1 - 2 / z): the
    near plane z = 1 goes to -1, what is infinitely far to 1, and lines stay lines. The map keeps
    the handedness of our axes. Published code warps a mirrored world with OpenGL axes; its
    coordinates are these with the signs of x and y changed (docs/conventions.md).

    Attributes:
        scale: (sx, sy) = (2 fx / W, 2 fy / H), so that a camera at the origin sees [-1, 1]^2.
    """

    scale: tuple[float, float]

    @classmethod
    def of_camera(cls, intrinsics: Float[Tensor, "3 3"], height: int, width: int) -> Ndc:
        """The warp that belongs to these intrinsics and this image size, in pixels."""
        return cls((2 * float(intrinsics[0, 0]) / width, 2 * float(intrinsics[1, 1]) / height))

    def points(self, scene: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """The warped coordinates of scene points with z > 0."""
        x, y, z = scene.unbind(-1)
        return torch.stack([self.scale[0] * x / z, self.scale[1] * y / z, 1 - 2 / z], -1)

    def inverse_points(self, warped: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """The scene points of warped coordinates, at most `FARTHEST` near-plane distances away."""
        u, v, w = warped.unbind(-1)
        z = 2 / (1 - w).clamp_min(2 / FARTHEST)
        return torch.stack([u * z / self.scale[0], v * z / self.scale[1], z], -1)

    def rays(
        self, origin: Float[Tensor, "r 3"], direction: Float[Tensor, "r 3"]
    ) -> tuple[Float[Tensor, "r 3"], Float[Tensor, "r 3"]]:
        """Warp scene rays that point forward (direction z > 0).

        Returns:
            warped origins, on the near plane, and unit directions towards the warped points where
            the rays end at infinity.
        """
        near = origin + ((1 - origin[..., 2:]) / direction[..., 2:]) * direction
        begin = self.points(near)
        x, y, z = direction.unbind(-1)
        end = torch.stack([self.scale[0] * x / z, self.scale[1] * y / z, torch.ones_like(z)], -1)
        return begin, normalize(end - begin, dim=-1)


def pixel_rays(
    pose: Float[Tensor, "... 4 4"],
    intrinsics: Float[Tensor, "... 3 3"],
    column: Shaped[Tensor, " r"],
    row: Shaped[Tensor, " r"],
    ndc: Ndc | None = None,
) -> tuple[Float[Tensor, "... r 3"], Float[Tensor, "... r 3"]]:
    """Rays through pixel centres (docs/method.md#rays).

    Args:
        pose: camera-to-scene, OpenCV axes, scene units; one per ray or one for all.
        intrinsics: in pixels; one per ray or one for all.
        column, row: pixel indices; fractional values address points between centres.
        ndc: the warp of a forward-facing scene.

    Returns:
        origins, scene units, and unit directions; both warped where `ndc` is given.
    """
    fx, fy = intrinsics[..., 0, 0], intrinsics[..., 1, 1]
    cx, cy = intrinsics[..., 0, 2], intrinsics[..., 1, 2]
    x = (column.to(fx) + 0.5 - cx) / fx
    y = (row.to(fy) + 0.5 - cy) / fy
    local = normalize(torch.stack([x, y, torch.ones_like(x)], -1), dim=-1)
    directions = (pose[..., :3, :3] @ local[..., None])[..., 0]
    origins = pose[..., :3, 3].expand_as(directions)
    return ndc.rays(origins, directions) if ndc else (origins, directions)
