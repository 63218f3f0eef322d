"""Vector-matrix (VM) grids of TensoRF: planes and lines (docs/method.md#vm-grids).

A grid of resolution (X, Y, Z) keeps plane m as a tensor (corners of the plane, rank) and line m as
(corners of the line, rank). Ranks come last, so that the four corners of a bilinear lookup are four
contiguous rows and the lookup is a weighted sum of rows: by compiled loops on a CPU (`native`), by
tensor operations elsewhere. The outermost corners lie at -1 and 1, as with `align_corners` in the
paper's code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ovnerf.compute.order import sum_in_any_order
from ovnerf.compute.transfer import constant
from ovnerf.field import native
from ovnerf.field.compositing import composite
from ovnerf.field.lookups import GridArrays

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

PLANE_AXES = ((0, 1), (0, 2), (1, 2))
LINE_AXES = (2, 1, 0)


@dataclass(frozen=True)
class Corners:
    """The corners around s points, and their weights in a linear interpolation, for each mode.

    Attributes:
        plane_index: three i64 (s, 4), rows of the plane tensors.
        plane_weight: three f32 (s, 4), bilinear weights.
        line_index: three i64 (s, 2), rows of the line tensors.
        line_weight: three f32 (s, 2), linear weights.
    """

    plane_index: tuple[Tensor, ...]
    plane_weight: tuple[Tensor, ...]
    line_index: tuple[Tensor, ...]
    line_weight: tuple[Tensor, ...]


def locate(points: Float32[Tensor, "s 3"], resolution: Sequence[int]) -> Corners:
    """The corners around points in [-1, 1]^3; corner 0 lies at -1, the last one at 1."""
    size = constant(tuple(resolution), points.device)
    position = ((points + 1) * 0.5 * (size - 1)).clamp_min(0)
    low = torch.minimum(position.long(), size - 2)
    fraction = position - low
    part = torch.stack([1 - fraction, fraction])  # (2, s, 3)

    plane_index, plane_weight, line_index, line_weight = [], [], [], []
    for (a, b), c in zip(PLANE_AXES, LINE_AXES, strict=True):
        row = low[:, b] * resolution[a] + low[:, a]
        step = resolution[a]
        plane_index.append(torch.stack([row, row + 1, row + step, row + step + 1], -1))
        plane_weight.append(
            torch.stack([part[i, :, a] * part[j, :, b] for j in (0, 1) for i in (0, 1)], -1)
        )
        line_index.append(torch.stack([low[:, c], low[:, c] + 1], -1))
        line_weight.append(part[:, :, c].T.contiguous())
    return Corners(tuple(plane_index), tuple(plane_weight), tuple(line_index), tuple(line_weight))


def gather(
    table: Float32[Tensor, "cells d"], index: Int64[Tensor, "s k"], weight: Float32[Tensor, "s k"]
) -> Float32[Tensor, "s d"]:
    """For each of s points, the weighted sum of k rows of the table."""
    return functional.embedding_bag(index, table, mode="sum", per_sample_weights=weight)


def scatter(
    table: Float32[Tensor, "cells d"],
    index: Int64[Tensor, "s k"],
    weight: Float32[Tensor, "s k"],
    gradient: Float32[Tensor, "s d"],
) -> Float32[Tensor, "cells d"]:
    """The transpose of `gather`: from the gradient of its result to that of the table."""
    rows = (weight[..., None] * gradient[:, None]).flatten(0, 1)
    if rows.is_cuda:
        return sum_in_any_order(rows, index.flatten(), len(table))
    return torch.zeros_like(table).index_add_(0, index.flatten(), rows)


class PlaneTimesLine(torch.autograd.Function):
    """(plane lookup) x (line lookup), per rank: (s, rank). No gradient for the positions."""

    @staticmethod
    def forward(
        context: Any,
        plane: Tensor,
        line: Tensor,
        plane_index: Tensor,
        plane_weight: Tensor,
        line_index: Tensor,
        line_weight: Tensor,
    ) -> Tensor:
        on_plane = gather(plane, plane_index, plane_weight)
        on_line = gather(line, line_index, line_weight)
        context.save_for_backward(
            plane, line, on_plane, on_line, plane_index, plane_weight, line_index, line_weight
        )
        return on_plane * on_line

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (plane, line, on_plane, on_line, plane_index, plane_weight, line_index, line_weight) = (
            context.saved_tensors
        )
        to_plane = scatter(plane, plane_index, plane_weight, gradient * on_line)
        to_line = scatter(line, line_index, line_weight, gradient * on_plane)
        return to_plane, to_line, None, None, None, None


class VectorMatrixGrid(nn.Module):
    """One branch of the field: three planes and lines of ranks (r1, r2, r3).

    Args:
        resolution: corners per axis (X, Y, Z).
        ranks: rank of each of the modes xy-z, xz-y, yz-x.
        generator: draws the initial values, 0.1 x standard normal.
    """

    def __init__(
        self, resolution: Sequence[int], ranks: Sequence[int], generator: torch.Generator
    ) -> None:
        super().__init__()
        self.ranks = tuple(ranks)
        self.resolution = tuple(resolution)
        self.planes = nn.ParameterList()
        self.lines = nn.ParameterList()
        for (a, b), c, rank in zip(PLANE_AXES, LINE_AXES, ranks, strict=True):
            cells = resolution[a] * resolution[b]
            self.planes.append(0.1 * torch.randn(cells, rank, generator=generator))
            self.lines.append(0.1 * torch.randn(resolution[c], rank, generator=generator))

    @torch.no_grad()
    def start_at(self, value: float) -> None:
        """Make the first product of each mode a third of `value` at every point.

        What all ranks sum to is then `value` and the noise of the others.
        """
        for plane, line in zip(self.planes, self.lines, strict=True):
            plane[:, 0] = line[:, 0] = (value / len(self.planes)) ** 0.5

    def native(self, *tensors: Tensor) -> bool:
        """Whether lookups with these points, weights or the like go through the compiled loops."""
        return native.usable(*tensors, *self.planes, *self.lines)

    def arrays(self) -> GridArrays:
        """The grid for the compiled loops; its arrays share memory with the parameters."""
        planes, lines = native.tables(tuple(self.planes)), native.tables(tuple(self.lines))
        return GridArrays(self.resolution, planes, lines)

    def products(self, points: Float32[Tensor, "s 3"]) -> list[Tensor]:
        """Plane value x line value of each mode, three f32 (s, r_m), by tensor operations."""
        corners = locate(points, self.resolution)
        return [
            PlaneTimesLine.apply(plane, line, *where)
            for plane, line, *where in zip(
                self.planes,
                self.lines,
                corners.plane_index,
                corners.plane_weight,
                corners.line_index,
                corners.line_weight,
                strict=True,
            )
        ]

    def density(self, points: Float32[Tensor, "s 3"]) -> Float32[Tensor, " s"]:
        """Density before the ReLU at points in [-1, 1]^3: all products, summed."""
        if not self.native(points):
            return torch.stack([part.sum(-1) for part in self.products(points)]).sum(0)
        if torch.is_grad_enabled() and self.planes[0].requires_grad:
            return self.features(points).sum(-1)
        return native.density(points, self.resolution, tuple(self.planes), tuple(self.lines))

    def features(self, points: Float32[Tensor, "s 3"]) -> Float32[Tensor, "s ranks"]:
        """Products of all modes side by side, f32 (s, r1 + r2 + r3), at points in [-1, 1]^3."""
        if not self.native(points):
            return torch.cat(self.products(points), -1)
        return native.products(points, self.resolution, tuple(self.planes), tuple(self.lines))

    def mapped(
        self, points: Float32[Tensor, "s 3"], matrix: Float32[Tensor, "d ranks"]
    ) -> Float32[Tensor, "s d"]:
        """`features` times the transposed `matrix`, with gradients for both."""
        if not self.native(points, matrix):
            return functional.linear(self.features(points), matrix)
        grid = tuple(self.planes), tuple(self.lines)
        return native.mapped(points, self.resolution, matrix, *grid)

    def composited(
        self,
        points: Float32[Tensor, "s 3"],
        weight: Float32[Tensor, " s"],
        offset: Int64[Tensor, " ends"],
        ray: Int64[Tensor, " s"],
    ) -> Float32[Tensor, "ends-1 ranks"]:
        """Weighted sums of `features` along packed rays, f32 (r, r1 + r2 + r3).

        With gradients for the grid and `weight`. `offset` and `ray` as in `Samples`.
        """
        if not self.native(points, weight):
            return composite(weight, self.features(points), offset, ray)
        grid = self.resolution, tuple(self.planes), tuple(self.lines)
        return native.composited(points, weight, offset, ray, *grid)

    def image(self, mode: int) -> Float32[Tensor, "rows columns rank"]:
        """Plane `mode` as an image, a view: rows along axis b, columns along axis a."""
        a, b = PLANE_AXES[mode]
        return self.planes[mode].view(self.resolution[b], self.resolution[a], self.ranks[mode])

    @torch.no_grad()
    def resize(self, resolution: Sequence[int]) -> None:
        """Bilinear resampling to another resolution (docs/method.md#upsampling)."""
        for mode, ((a, b), c) in enumerate(zip(PLANE_AXES, LINE_AXES, strict=True)):
            plane = self.image(mode).permute(2, 0, 1)[None]
            plane = functional.interpolate(
                plane, size=(resolution[b], resolution[a]), mode="bilinear", align_corners=True
            )
            line = functional.interpolate(
                self.lines[mode].T[None], size=resolution[c], mode="linear", align_corners=True
            )
            self.planes[mode] = nn.Parameter(
                plane[0].permute(1, 2, 0).reshape(-1, self.ranks[mode]).contiguous()
            )
            self.lines[mode] = nn.Parameter(line[0].T.contiguous())
        self.resolution = tuple(resolution)

    @torch.no_grad()
    def crop(self, low: Sequence[int], high: Sequence[int]) -> None:
        """Keep corners low..high-1 of each axis (box shrink, docs/method.md#occupancy)."""
        for mode, ((a, b), c) in enumerate(zip(PLANE_AXES, LINE_AXES, strict=True)):
            plane = self.image(mode)[low[b] : high[b], low[a] : high[a]]
            self.planes[mode] = nn.Parameter(plane.reshape(-1, self.ranks[mode]).contiguous())
            self.lines[mode] = nn.Parameter(self.lines[mode][low[c] : high[c]].contiguous())
        self.resolution = tuple(stop - start for start, stop in zip(low, high, strict=True))

    def total_variation(self) -> Float32[Tensor, ""]:
        """1e-2 x sum over planes of 2 x (mean squared difference down + the same to the right)."""
        total = self.planes[0].new_zeros(())
        for mode in range(3):
            plane = self.image(mode)
            down = (plane[1:] - plane[:-1]).square().mean()
            right = (plane[:, 1:] - plane[:, :-1]).square().mean()
            total = total + 2 * (down + right)
        return 1e-2 * total

    @torch.no_grad()
    def add_total_variation_gradient(self, weight: float | Tensor) -> None:
        """Add the gradient of ``weight * total_variation()`` to the planes' gradients.

        The term is a quadratic form, so its gradient is two differences of differences: cheaper
        than autograd, which keeps two difference tensors per plane.
        """
        for mode, parameter in enumerate(self.planes):
            plane = self.image(mode)
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            factors = [
                4e-2 * weight / plane.narrow(axis, 1, size - 1).numel()
                for axis, size in enumerate(plane.shape[:2])
            ]
            if self.native(parameter):
                width = plane.shape[1]
                native.add_variation_gradient(
                    parameter, parameter.grad, width, *map(float, factors)
                )
            else:
                add_differences(plane, parameter.grad.view_as(plane), factors)


def add_differences(
    plane: Float32[Tensor, "rows columns rank"],
    gradient: Float32[Tensor, "rows columns rank"],
    factors: Sequence[float | Tensor],
) -> None:
    """Add to `gradient` the plane's differences of differences along either side, by tensors.

    Args:
        factors: of the differences of rows, and of columns.
    """
    for axis, factor in enumerate(factors):
        step = plane.diff(dim=axis).mul_(factor)
        gradient.narrow(axis, 1, step.shape[axis]).add_(step)
        gradient.narrow(axis, 0, step.shape[axis]).sub_(step)


def grid_resolution(voxels: float | int, box: Float32[Tensor, "2 3"]) -> tuple[int, int, int]:
    """Corners per axis of a grid of about `voxels` cells over a box (docs/method.md#upsampling)."""
    sides = (box[1] - box[0]).double()
    edge = (sides.prod() / voxels) ** (1 / 3)
    x, y, z = (max(2, int(side / edge)) for side in sides)
    return x, y, z
