"""Which cells of the box can hold matter; others are never evaluated (docs/method.md#occupancy)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from ovnerf.compute.transfer import constant

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64

BLOCK = 16
"""Samples tested together against the coarse level."""
COARSE = 4
"""Cells per axis of a coarse cell."""


class OccupancyGrid(nn.Module):
    """Occupied cells of a grid over the box [-1, 1]^3 (normalised), with a coarse level.

    A cell counts as occupied when any of its eight corners is: the same points as "trilinear
    interpolation of the corners is above 0" in the paper's code.

    Attributes:
        cells: bool (X-1, Y-1, Z-1).
        coarse: bool; a coarse cell is set when any cell within half a block of samples of it is.
    """

    cells: Tensor
    coarse: Tensor

    def __init__(self, cells: Tensor, step_cells: float = 0.5) -> None:
        super().__init__()
        self.register_buffer("cells", cells.contiguous())
        # Half a block of samples reaches this many cells to either side of the block's middle.
        reach = int((BLOCK - 1) / 2 * step_cells) + 1
        pooled = functional.max_pool3d(
            cells[None, None].float(),
            kernel_size=COARSE + 2 * reach,
            stride=COARSE,
            padding=reach,
            ceil_mode=True,
        )
        self.register_buffer("coarse", pooled[0, 0] > 0)

    @classmethod
    def full(cls, resolution: Sequence[int]) -> OccupancyGrid:
        """Everything occupied."""
        x, y, z = resolution
        return cls(torch.ones(x - 1, y - 1, z - 1, dtype=torch.bool))

    @classmethod
    def from_corners(cls, corners: Bool[Tensor, "X Y Z"], step_cells: float = 0.5) -> OccupancyGrid:
        """Cells that touch an occupied corner are occupied.

        `step_cells` is the distance between samples over the shortest cell edge.
        """
        pooled = functional.max_pool3d(corners[None, None].float(), kernel_size=2, stride=1)
        return cls(pooled[0, 0] > 0, step_cells)

    def lookup(self, points: Float32[Tensor, "s 3"]) -> Bool[Tensor, " s"]:
        """Whether points in [-1, 1]^3 lie in occupied cells."""
        return self.cells.view(-1)[flat_cell(points, self.cells.shape, self.cells.shape)]

    def lookup_block(self, middles: Float32[Tensor, "... 3"]) -> Bool[Tensor, ...]:
        """Whether a block of samples around each point may touch an occupied cell."""
        return self.coarse.view(-1)[flat_cell(middles, self.cells.shape, self.coarse.shape, COARSE)]

    def share(self) -> float:
        """Fraction of cells that are occupied."""
        return self.cells.float().mean().item()


def flat_cell(
    points: Float32[Tensor, "s 3"], cells: Sequence[int], table: Sequence[int], group: int = 1
) -> Int64[Tensor, " s"]:
    """Flat index, in a table of this shape, of the cell or group of cells that holds each point.

    Args:
        points: in [-1, 1]^3.
        cells: cells per axis.
        table: the table's shape.
        group: cells per axis that share an entry of the table.
    """
    size = constant(tuple(cells), points.device)
    cell = ((points + 1) * 0.5 * size).long()
    cell = torch.minimum(cell.clamp_min(0), size - 1) // group
    return (cell[:, 0] * table[1] + cell[:, 1]) * table[2] + cell[:, 2]


def corner_occupancy(
    alpha: Float32[Tensor, "X Y Z"], threshold: float = 1e-4
) -> Bool[Tensor, "X Y Z"]:
    """Which corners are occupied: the maximum opacity of 3x3x3 corners reaches the threshold."""
    pooled = functional.max_pool3d(alpha[None, None], kernel_size=3, stride=1, padding=1)
    return pooled[0, 0] >= threshold


def occupied_bounds(corners: Bool[Tensor, "X Y Z"]) -> tuple[list[int], list[int]]:
    """First and one past the last occupied corner per axis; the whole grid when none is."""
    low, high = [], []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        hit = corners.amax(dim=others).nonzero()[:, 0]
        low.append(int(hit[0]) if len(hit) else 0)
        high.append(int(hit[-1]) + 1 if len(hit) else corners.shape[axis])
    return low, high
