"""Numbers of pixels carried into space and back along rays, without any training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ovnerf.field.compositing import composite
from ovnerf.field.rendering import ViewWeights
from ovnerf.field.vm import grid_resolution

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64


class Lifted:
    """Means over views in the cells of a grid: of each sample's pixel, by rendering weight.

    Args:
        box: f32 (2, 3), scene units. voxels: about so many cells. channels: numbers of a pixel.
    """

    def __init__(self, box: Float32[Tensor, "2 3"], voxels: int, channels: int) -> None:
        self.box = box
        self.size = torch.tensor(grid_resolution(voxels, box), device=box.device)
        cells = int(self.size.prod())
        self.total = torch.zeros(cells, channels, device=box.device)
        self.weight = torch.zeros(cells, device=box.device)

    def cells(self, point: Float32[Tensor, "s 3"]) -> Int64[Tensor, " s"]:
        """The cell of each point, which is given in [-1, 1] within the box."""
        place = ((point + 1) / 2 * self.size).long()
        x, y, z = torch.minimum(place.clamp_min(0), self.size - 1).unbind(-1)
        return (x * self.size[1] + y) * self.size[2] + z

    @torch.no_grad()
    def add(self, view: ViewWeights, pixels: Float32[Tensor, "r channels"]) -> None:
        """Take in a view and the numbers of its pixels."""
        for rays, samples, weight in view.tiles(self.box):
            cell = self.cells(samples.point)
            self.total.index_add_(0, cell, weight[:, None] * pixels[rays][samples.ray])
            self.weight.index_add_(0, cell, weight)

    @torch.no_grad()
    def render(self, view: ViewWeights) -> Float32[Tensor, "r channels"]:
        """The cells' means composited along the rays of a view; 0 where no view was taken in."""
        out = torch.zeros(len(view.origin), self.total.shape[1], device=self.box.device)
        for rays, samples, weight in view.tiles(self.box):
            cell = self.cells(samples.point)
            mean = self.total[cell] / self.weight[cell].clamp_min(1e-12)[:, None]
            out[rays] = composite(weight, mean, samples.offset, samples.ray)
        return out
