"""One view of a pinhole camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ovnerf.geometry.rays import Ndc, pixel_rays

if TYPE_CHECKING:
    from jaxtyping import Float, Float32


@dataclass(frozen=True)
class Camera:
    """One view of a scene.

    Attributes:
        pose: camera-to-scene, OpenCV axes, scene units.
        intrinsics: in pixels, pixel centres at +0.5.
        height, width: in pixels.
        ndc: the warp of a forward-facing scene.
    """

    pose: Float[Tensor, "4 4"]
    intrinsics: Float[Tensor, "3 3"]
    height: int
    width: int
    ndc: Ndc | None = None

    def rays(self) -> tuple[Float32[Tensor, "pixels 3"], Float32[Tensor, "pixels 3"]]:
        """Origins and unit directions of the rays through all pixels, row by row."""
        row, column = torch.meshgrid(
            torch.arange(self.height, device=self.pose.device),
            torch.arange(self.width, device=self.pose.device),
            indexing="ij",
        )
        pose, intrinsics = self.pose.float(), self.intrinsics.float()
        return pixel_rays(pose, intrinsics, column.flatten(), row.flatten(), self.ndc)
