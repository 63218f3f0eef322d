"""Vector-matrix (VM) grids of TensoRF: planes and lines (docs/method.md#vm-grids).

A grid of resolution (X, Y, Z) keeps plane m as (cells of the plane, rank) and line m as
(cells of the line, rank): channels last, so that the four corners of a bilinear lookup are four
contiguous rows and the lookup is a weighted row gather: compiled loops on CPU (`native`), tensor
operations elsewhere. Values at the corners of [-1, 1]
(align_corners), as in the paper's code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ovnerf.compute.transfer import constant
from ovnerf.field import native
from ovnerf.field.compositing import composite

PLANE_AXES = ((0, 1), (0, 2), (1, 2))
LINE_AXES = (2, 1, 0)


@dataclass(frozen=True)
class Corners:
    """Where points fall in a grid.

    Attributes:
        plane_index: three i64 (s, 4), rows of the plane tensors.
        plane_weight: three f32 (s, 4), bilinear weights.
        line_index: three i64 (s, 2). line_weight: three f32 (s, 2).
    """

    plane_index: tuple[Tensor, ...]
    plane_weight: tuple[Tensor, ...]
    line_index: tuple[Tensor, ...]
    line_weight: tuple[Tensor, ...]


def locate(points: Tensor, resolution: Sequence[int]) -> Corners:
    """Corner rows and weights of points (s, 3) in [-1, 1]^3."""
    size = constant(tuple(resolution), points.device)
    place = ((points + 1) * 0.5 * (size - 1)).clamp_min(0)
    low = torch.minimum(place.long(), size - 2)
    part = place - low
    part = torch.stack([1 - part, part])  # (2, s, 3)

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


def gather(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of table rows: (cells, d), (s, k), (s, k) -> (s, d)."""
    return functional.embedding_bag(index, table, mode="sum", per_sample_weights=weight)


def scatter(table: Tensor, index: Tensor, weight: Tensor, gradient: Tensor) -> Tensor:
    """Transpose of `gather`: the gradient of the table."""
    rows = (weight[..., None] * gradient[:, None]).flatten(0, 1)
    spread = index.reshape(-1, 1).expand_as(rows)
    return torch.zeros_like(table).scatter_add_(0, spread, rows)


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
    """One branch: three planes and lines of ranks (r1, r2, r3).

    Args:
        resolution: cells' corners per axis (X, Y, Z).
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

    def native(self, points: Tensor) -> bool:
        """Whether lookups at these points go through the compiled loops."""
        return native.usable(points, *self.planes, *self.lines)

    def products(self, points: Tensor) -> list[Tensor]:
        """Plane x line per mode: three (s, r_m), by tensor operations."""
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

    def density(self, points: Tensor) -> Tensor:
        """Sum over modes and ranks at points (s, 3) in [-1, 1]^3: (s,)."""
        if not self.native(points):
            return torch.stack([part.sum(-1) for part in self.products(points)]).sum(0)
        if torch.is_grad_enabled() and self.planes[0].requires_grad:
            return self.features(points).sum(-1)
        return native.density(points, self.resolution, self.planes, self.lines)

    def features(self, points: Tensor) -> Tensor:
        """Concatenated products at points (s, 3) in [-1, 1]^3: (s, r1 + r2 + r3)."""
        if not self.native(points):
            return torch.cat(self.products(points), -1)
        return native.products(points, self.resolution, self.planes, self.lines)

    def composited(self, points: Tensor, weight: Tensor, offset: Tensor, ray: Tensor) -> Tensor:
        """Weighted sums of `features` along packed rays: (r, r1 + r2 + r3).

        No gradient reaches `weight`. Arguments as in `compositing.composite`.
        """
        if not self.native(points):
            return composite(weight, self.features(points), offset, ray)
        return native.composited(
            points, weight, offset, ray, self.resolution, self.planes, self.lines
        )

    def image(self, mode: int) -> Tensor:
        """Plane `mode` as a view (rows of axis b, columns of axis a, rank)."""
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

    def total_variation(self) -> Tensor:
        """1e-2 x sum over planes of 2 x (mean squared step down + mean squared step right)."""
        total = self.planes[0].new_zeros(())
        for mode in range(3):
            plane = self.image(mode)
            down = (plane[1:] - plane[:-1]).square().mean()
            right = (plane[:, 1:] - plane[:, :-1]).square().mean()
            total = total + 2 * (down + right)
        return 1e-2 * total

    @torch.no_grad()
    def add_total_variation_gradient(self, weight: float) -> None:
        """Add the gradient of ``weight * total_variation()`` to the planes' gradients.

        The term is a quadratic form, so its gradient is two differences of differences: cheaper
        than autograd, which keeps two difference tensors per plane.
        """
        for mode, parameter in enumerate(self.planes):
            plane = self.image(mode)
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradient = parameter.grad.view_as(plane)
            for axis in (0, 1):
                step = plane.diff(dim=axis)
                step.mul_(4e-2 * weight / step.numel())
                length = step.shape[axis]
                gradient.narrow(axis, 1, length).add_(step)
                gradient.narrow(axis, 0, length).sub_(step)


def grid_resolution(voxels: float, box: Tensor) -> tuple[int, int, int]:
    """Corners per axis of a grid of about `voxels` cells over a box (2, 3).

    See docs/method.md#upsampling.
    """
    sides = (box[1] - box[0]).double()
    edge = (sides.prod() / voxels) ** (1 / 3)
    x, y, z = (max(2, int(side / edge)) for side in sides)
    return x, y, z
