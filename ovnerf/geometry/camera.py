"""One view of a pinhole camera."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ovnerf.geometry.rays import Ndc, pixel_rays


@dataclass(frozen=True)
class Camera:
    """One view: pose (4, 4) camera-to-scene, intrinsics (3, 3), size in pixels, scene's warp."""

    pose: Tensor
    intrinsics: Tensor
    height: int
    width: int
    ndc: Ndc | None = None

    def rays(self) -> tuple[Tensor, Tensor]:
        """Origins and directions (H W, 3), row by row."""
        row, column = torch.meshgrid(
            torch.arange(self.height, device=self.pose.device),
            torch.arange(self.width, device=self.pose.device),
            indexing="ij",
        )
        pose, intrinsics = self.pose.float(), self.intrinsics.float()
        return pixel_rays(pose, intrinsics, column.flatten(), row.flatten(), self.ndc)
