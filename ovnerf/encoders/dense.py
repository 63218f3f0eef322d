"""Dense encoders in the pyramid's store: features of whole images, kept as means of square cells.

A regular grid of touching windows without jitter is a pyramid of one scale, so everything that
reads a `features` store reads these, too. Cells are squares of `cell` pixels; those at the right
and bottom edge are cut by the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from ovnerf.encoders.pyramid import WindowGrid, window_grids
from ovnerf.runtime.errors import UserError

CHANNELS_AT_ONCE = 64
"""Bounds the memory of a feature map at pixel size."""


@dataclass(frozen=True)
class Cells:
    """The pyramid settings that make a grid of touching cells."""

    scales: tuple[int, ...]
    stride: float = 1.0
    jitter: float = 0.0

    def grids(self, height: int, width: int) -> tuple[WindowGrid, ...]:
        """The one grid, as a tuple."""
        return window_grids(height, width, self.scales, self.stride, self.jitter)


def cells_of(height: int, width: int, cell: int) -> Cells:
    """Settings whose windows are cells of this side.

    Raises:
        UserError: the image is too small for such cells.
    """
    side = min(height, width)
    # The pyramid knows window sides as floor(side / scale) only; below cell ** 2 some are missing.
    cells = Cells((max(1, side // cell),))
    if cell > side or cells.grids(height, width)[0].side != cell:
        raise UserError(
            f"encoder.cell: images of {width}x{height} hold no whole cells of {cell} pixels",
            f"use a smaller cell, or images whose shorter side is a multiple of {cell} or at least "
            f"{cell**2} pixels",
        )
    return cells


def cell_means(features: Tensor, height: int, width: int, grid: WindowGrid) -> Tensor:
    """Mean feature of every cell.

    Args:
        features: f32 (D, h, w) of the whole image at any resolution; resized bilinearly.

    Returns:
        f32 (rows * columns, D), row-major.
    """
    margin = (0, grid.columns * grid.side - width, 0, grid.rows * grid.side - height)
    area = pad(torch.ones(1, 1, height, width, device=features.device), margin)
    count = torch.nn.functional.avg_pool2d(area, grid.side)
    means = []
    for part in features.split(CHANNELS_AT_ONCE):
        pixels = part[None]
        if pixels.shape[-2:] != (height, width):
            pixels = interpolate(pixels, (height, width), mode="bilinear", align_corners=False)
        means.append(torch.nn.functional.avg_pool2d(pad(pixels, margin), grid.side) / count)
    return torch.cat(means, 1)[0].flatten(1).T
