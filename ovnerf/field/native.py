"""Marching and grid lookups on a CPU by compiled loops, from tensors to tensors.

Elsewhere, and without numba, torch does the same. Work is divided into one part per torch thread.
No two parts add to the same number and every sum has a fixed order, so results do not depend on
the number of threads, but for the last digits of torch's own matrix products.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from ovnerf.compute.threads import in_parts, on_each
from ovnerf.field.compiled import Array, njit
from ovnerf.field.lookups import (
    GridArrays,
    composite_loop,
    density_loop,
    gradient_loop,
    product_loop,
    variation_loop,
    weight_gradient_loop,
)
from ovnerf.field.marching import (
    MarchSettings,
    OccupancyArrays,
    RayArrays,
    SampleArrays,
    density_gradient_loop,
    march_loop,
    point_loop,
    ray_sum_gradient_loop,
    ray_sum_loop,
)
from ovnerf.field.occupancy import OccupancyGrid
from ovnerf.field.sampling import Rays

AXES = ((0, 1, 2), (0, 2, 1), (1, 2, 0))
"""Per mode: the plane's column and row axis, the line's axis."""
TILE = 4096
"""Samples at once, so that what one operation writes is in the cache when the next one reads it:
1.2 MB of 72 products, 1 MB of a layer of 64. Not by threads, of which sums would then depend."""

Tables = Sequence[Tensor]


def usable(*tensors: Tensor) -> bool:
    """Whether these tensors can go through the compiled loops: f32 on CPU, and numba there.

    ``OVNERF_NATIVE=0`` in the environment turns the loops off.
    """
    wanted = njit is not None and os.environ.get("OVNERF_NATIVE", "1") != "0"
    return wanted and all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)


def array(tensor: Tensor) -> Array:
    """The tensor's memory as a C-contiguous array; copied only where the tensor is strided."""
    return tensor.detach().contiguous().numpy()


def zeros_like(tensor: Tensor) -> Tensor:
    """Zeros of a tensor's shape, contiguous, so that loops can add to their memory."""
    return torch.zeros_like(tensor, memory_format=torch.contiguous_format)


def tables(parameters: Tables) -> tuple[Array, ...]:
    """The planes or lines of a grid as arrays."""
    return tuple(array(part) for part in parameters)


def tiles(count: int) -> list[slice]:
    """Slices of `TILE` and fewer that cover 0..count-1; one, empty, where count is 0."""
    return [slice(begin, min(begin + TILE, count)) for begin in range(0, max(count, 1), TILE)]


def differentiated(*tensors: Tensor) -> bool:
    """Whether autograd will go back through what is made of these tensors now."""
    return torch.is_grad_enabled() and any(part.requires_grad for part in tensors)


def density(points: Tensor, size: tuple[int, ...], planes: Tables, lines: Tables) -> Tensor:
    """Densities before the ReLU, f32 (s,), of points f32 (s, 3) in [-1, 1]^3; no gradient."""
    out = np.empty(len(points), np.float32)
    arguments = array(points), size, tables(planes), tables(lines), out
    in_parts(lambda begin, end: density_loop(begin, end, *arguments), len(points))
    return torch.from_numpy(out)


def grid_gradients(
    points: Tensor,
    weight: Tensor,
    ray: Tensor,
    gradient: Tensor,
    size: tuple[int, ...],
    grids: Sequence[Tensor],
) -> list[Tensor]:
    """Backward pass of `composited`: gradients of three planes and three lines, in this order.

    Args:
        points: f32 (s, 3) in [-1, 1]^3.
        weight: f32 (s,), by which each sample's products were multiplied.
        ray: i64 (s,), the row of `gradient` that each sample was added to.
        gradient: f32 (r, r1 + r2 + r3), the gradient of the sums along rays.
        size: resolution (X, Y, Z) of the grid.
        grids: the grid's three planes and three lines.
    """
    out = [zeros_like(part) for part in grids]
    samples = array(points), array(weight), array(ray), array(gradient)
    add_gradients(samples, size, tables(grids), tables(out))
    return out


def add_gradients(
    samples: Sequence[Array], size: tuple[int, ...], grids: Sequence[Array], out: Sequence[Array]
) -> None:
    """Add to `out` the gradients of `grid_gradients`, whose first four arguments are `samples`."""
    *samples, gradient = samples
    firsts = first_columns(grids)

    def add(begin: int, end: int) -> None:
        for mode in range(begin, end):
            grid, to_grid = (part[mode::3] for part in (grids, out))
            gradient_loop(*samples, AXES[mode], size, *grid, gradient, firsts[mode], *to_grid)

    in_parts(add, 3, smallest=1)


def first_columns(grids: Sequence[Any]) -> list[int]:
    """Where each mode's columns begin among those of all modes, and where the last mode's end."""
    return np.cumsum([0, *(part.shape[1] for part in grids[:3])]).tolist()


def add_variation_gradient(
    plane: Tensor, gradient: Tensor, width: int, down: float, right: float
) -> None:
    """Add to `gradient` that of the squared differences of neighbouring rows of a plane.

    Args:
        plane, gradient: f32 (rows x width, rank), changed in place.
        down, right: factor of the differences along either side of the image.
    """
    arguments = array(plane), width, (np.float32(down), np.float32(right)), gradient.numpy()
    in_parts(lambda begin, end: variation_loop(begin, end, *arguments), len(plane) // width, 16)


class RenderingWeights(torch.autograd.Function):
    """Makes the weights that `march` found differentiable in the density's planes and lines.

    `march` computes weights without autograd. `forward` passes them on, f32 (s,), with their sums
    along rays, the opacities f32 (r,); `backward` computes from both the gradients of planes and
    lines. Points get none. `depth_per_density` is delta x distance scale, f32 (s,).
    """

    @staticmethod
    def forward(
        context: Any,
        points: Tensor,
        depth_per_density: Tensor,
        weight: Tensor,
        transmittance: Tensor,
        offset: Tensor,
        size: tuple[int, ...],
        *grids: Tensor,
    ) -> tuple[Tensor, Tensor]:
        context.save_for_backward(points, depth_per_density, weight, transmittance, offset, *grids)
        context.size = size
        order = torch.arange(len(weight))
        opacity = functional.embedding_bag(
            order, weight[:, None], offset, mode="sum", include_last_offset=True
        )
        return weight.view_as(weight), opacity[:, 0]

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        points, *per_sample, offset = context.saved_tensors[:5]
        grids = context.saved_tensors[5:]
        to_density = torch.empty(len(points))
        arguments = [array(part) for part in (offset, *per_sample, *gradients, to_density)]
        in_parts(lambda begin, end: density_gradient_loop(begin, end, *arguments), len(offset) - 1)
        # Density is the sum of all products: as if all samples were one ray with gradient 1.
        one = torch.ones(1, sum(part.shape[1] for part in grids[:3]))
        ray = torch.zeros(len(points), dtype=torch.long)
        out = grid_gradients(points, to_density, ray, one, context.size, grids)
        return None, None, None, None, None, None, *out


class Composited(torch.autograd.Function):
    """`composited` with gradients for planes, lines and (where asked for) weights, none for points.

    Products are added to their ray's sum one sample at a time and never stored.
    """

    @staticmethod
    def forward(
        context: Any,
        points: Tensor,
        weight: Tensor,
        offset: Tensor,
        ray: Tensor,
        size: tuple[int, ...],
        *grids: Tensor,
    ) -> Tensor:
        context.save_for_backward(points, weight, ray, *grids)
        context.size = size
        out = np.zeros((len(offset) - 1, sum(part.shape[1] for part in grids[:3])), np.float32)
        samples = array(points), array(weight), array(offset)
        arguments = *samples, size, tables(grids[:3]), tables(grids[3:]), out
        in_parts(lambda begin, end: composite_loop(begin, end, *arguments), len(out))
        return torch.from_numpy(out)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        points, weight, ray, *grids = context.saved_tensors
        to_grids = grid_gradients(points, weight, ray, gradient, context.size, grids)
        to_weight = None
        if context.needs_input_grad[1]:
            to_weight = torch.empty_like(weight)
            samples = array(points), array(ray), array(gradient)
            arguments = *samples, context.size, tables(grids[:3]), tables(grids[3:])
            out = to_weight.numpy()
            in_parts(lambda b, e: weight_gradient_loop(b, e, *arguments, out), len(weight))
        return None, to_weight, None, None, None, *to_grids


def composited(
    points: Tensor,
    weight: Tensor,
    offset: Tensor,
    ray: Tensor,
    size: tuple[int, ...],
    planes: Tables,
    lines: Tables,
) -> Tensor:
    """Sums along rays of weight x (plane value x line value), f32 (r, r1 + r2 + r3).

    Args:
        points: f32 (s, 3) in [-1, 1]^3.
        weight: f32 (s,).
        offset, ray: as in `Samples`.
        size: resolution (X, Y, Z) of the grid.
        planes, lines: three each, f32 (cells, rank).
    """
    return Composited.apply(points, weight, offset, ray, size, *planes, *lines)


def products(points: Tensor, size: tuple[int, ...], planes: Tables, lines: Tables) -> Tensor:
    """Plane value x line value of every mode and rank, f32 (s, r1 + r2 + r3), at points f32 (s, 3).

    `composited` does it, with every point a ray of its own.
    """
    one = torch.ones(len(points))
    offset = torch.arange(len(points) + 1)
    return composited(points, one, offset, offset[:-1], size, planes, lines)


class Mapped(torch.autograd.Function):
    """`mapped` with gradients for the matrix, planes and lines, none for points.

    Tile by tile, so that products and their gradients are still in the cache when they are used.
    """

    @staticmethod
    def forward(
        context: Any,
        kept: bool,
        points: Tensor,
        size: tuple[int, ...],
        matrix: Tensor,
        *grids: Tensor,
    ) -> Tensor:
        """`kept`: whether a backward pass follows, so that all products are kept."""
        values = torch.empty(len(points) if kept else 0, matrix.shape[1])
        out = torch.empty(len(points), len(matrix))
        at, shared = array(points), (size, tables(grids[:3]), tables(grids[3:]))

        def write(tile: slice) -> None:
            count = tile.stop - tile.start
            part = values[tile] if kept else torch.empty(count, matrix.shape[1])
            product_loop(0, count, at[tile], *shared, part.numpy())
            torch.mm(part, matrix.T, out=out[tile])

        on_each(write, tiles(len(points)))
        if kept:
            context.save_for_backward(points, values, matrix, *grids)
            context.size = size
        return out

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        points, values, matrix, *grids = context.saved_tensors
        to_grids, to_matrix = [zeros_like(part) for part in grids], torch.zeros_like(matrix)
        at, one, row = array(points), np.ones(TILE, np.float32), np.arange(TILE)
        firsts = first_columns(grids)

        def add(mode: int) -> None:
            columns = slice(firsts[mode], firsts[mode + 1])
            grid, to_grid = (tables(part[mode::3]) for part in (grids, to_grids))
            of_mode, to_mode = matrix[:, columns].contiguous(), to_matrix[:, columns]
            for tile in tiles(len(points)):
                count, slope = tile.stop - tile.start, gradient[tile]
                samples = at[tile], one[:count], row[:count], AXES[mode], context.size
                gradient_loop(*samples, *grid, array(slope @ of_mode), 0, *to_grid)
                to_mode += slope.T @ values[tile, columns]

        on_each(add, range(3))
        return None, None, None, to_matrix, *to_grids


def mapped(
    points: Tensor, size: tuple[int, ...], matrix: Tensor, planes: Tables, lines: Tables
) -> Tensor:
    """`products` (s, r1 + r2 + r3) times the transposed `matrix` (d, r1 + r2 + r3): f32 (s, d)."""
    kept = differentiated(matrix, *planes, *lines)
    return Mapped.apply(kept, points, size, matrix, *planes, *lines)


def ray_sums(weight: Tensor, value: Tensor, offset: Tensor) -> Tensor:
    """Sums along r rays of weight x value, f32 (r, d).

    Args:
        weight: f32 (s,). value: f32 (s, d). offset: as in `Samples`.
    """
    out = np.zeros((len(offset) - 1, value.shape[1]), np.float32)
    arguments = array(weight), array(value), array(offset), out
    in_parts(lambda begin, end: ray_sum_loop(begin, end, *arguments), len(out))
    return torch.from_numpy(out)


def ray_sum_gradients(
    gradient: Tensor, weight: Tensor, value: Tensor, offset: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of weight and value, from that of `ray_sums`; 0 for samples of no ray."""
    made = np.zeros(len(weight), np.float32), np.zeros(tuple(value.shape), np.float32)
    arguments = *map(array, (gradient, weight, value, offset)), *made
    in_parts(lambda begin, end: ray_sum_gradient_loop(begin, end, *arguments), len(gradient))
    to_weight, to_value = map(torch.from_numpy, made)
    return to_weight, to_value


def march(
    rays: Rays,
    box: Tensor,
    occupancy: OccupancyGrid,
    grid: GridArrays,
    distance_scale: float,
    min_weight: float,
    early_stop_transmittance: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Samples of r rays whose rendering weight is above `min_weight`; no gradient.

    Args:
        box: f32 (2, 3), scene units.
        grid: the density's.
        distance_scale: optical depth = density x step x distance_scale.
        early_stop_transmittance: a ray ends where its transmittance is not above this.

    Returns:
        samples per ray i64 (r,); distance f32 (s,), scene units; weight f32 (s,); transmittance
        f32 (s,); normalised point f32 (s, 3).
    """
    ray_arrays = RayArrays(*map(array, (rays.origin, rays.direction, rays.first, rays.count)))
    occupied = OccupancyArrays(array(occupancy.cells), array(occupancy.coarse))
    settings = MarchSettings(
        np.float32(rays.step),
        rays.max_samples,
        array(box[0]),
        array(2 / (box[1] - box[0])),
        np.float32(distance_scale),
        np.float32(min_weight),
        np.float32(early_stop_transmittance),
    )
    kept_per_ray = np.empty(len(rays), np.int64)

    def part(begin: int, end: int) -> list[Array]:
        # As if every sample were kept: pages that stay unwritten take no memory.
        size = int(ray_arrays.sample_count[begin:end].sum())
        out = SampleArrays(
            *(np.empty(shape, np.float32) for shape in (size, size, size, (size, 3)))
        )
        shared = ray_arrays, occupied, grid, settings
        kept = march_loop(begin, end, *shared, out, kept_per_ray)
        return [values[:kept] for values in out]

    parts = in_parts(part, len(rays))
    distance, weight, transmittance, point = (
        torch.from_numpy(np.concatenate(values)) for values in zip(*parts, strict=True)
    )
    return torch.from_numpy(kept_per_ray), distance, weight, transmittance, point


def points(
    origin: Tensor, direction: Tensor, offset: Tensor, distance: Tensor, box: Tensor
) -> Tensor:
    """Normalised points f32 (s, 3) of the packed samples of r rays, those that `march` found.

    Args:
        origin, direction: f32 (r, 3), scene units. offset: as in `Samples`.
        distance: f32 (s,), scene units. box: f32 (2, 3), scene units.
    """
    out = np.empty((len(distance), 3), np.float32)
    rays = array(origin), array(direction)
    places = array(offset), array(distance), array(box[0]), array(2 / (box[1] - box[0])), out
    in_parts(lambda begin, end: point_loop(begin, end, rays, *places), len(origin))
    return torch.from_numpy(out)
