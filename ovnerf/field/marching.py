"""Marching along rays through occupied cells, and sums along rays, as compiled loops.

`native` calls them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ovnerf.field.compiled import PLAIN, SUMS, WITHIN, Array, compiled
from ovnerf.field.lookups import density_at
from ovnerf.field.occupancy import BLOCK, COARSE


class RayArrays(NamedTuple):
    """`Rays` for `march_loop`: f32 (r, 3) twice, f32 (r,), i64 (r,)."""

    origin: Array
    direction: Array
    first: Array
    sample_count: Array


class OccupancyArrays(NamedTuple):
    """`OccupancyGrid` for `march_loop`: two bool arrays."""

    cells: Array
    coarse: Array


class MarchSettings(NamedTuple):
    """What all rays of a march share.

    A point in scene units is normalised to [-1, 1]^3 as (point - low) x scale - 1.
    """

    step: np.float32
    max_samples: int
    low: Array
    scale: Array
    distance_scale: np.float32
    min_weight: np.float32
    early_stop_transmittance: np.float32


class SampleArrays(NamedTuple):
    """What `march_loop` writes, as in `WeightedSamples`: f32 (s,) three times, then f32 (s, 3)."""

    distance: Array
    weight: Array
    transmittance: Array
    point: Array


@compiled(**PLAIN, **WITHIN)
def cell_of(value, size):
    """Cell of a coordinate in [-1, 1] on an axis of `size` cells."""
    cell = int((value + np.float32(1)) * np.float32(0.5) * np.float32(size))
    return min(max(cell, 0), size - 1)


@compiled(**PLAIN)
def density_gradient_loop(
    begin, end, offset, scale, weight, transmittance, to_weight, to_opacity, out
):
    """Gradients of the densities of rays begin..end-1, from those of weights and opacities.

    d w_j / d depth_k is T_k exp(-depth_k) = T_k - w_k for j = k, and -w_j for every j behind k.
    """
    for ray in range(begin, end):
        behind = 0.0
        for s in range(offset[ray + 1] - 1, offset[ray] - 1, -1):
            g = to_weight[s] + to_opacity[ray]
            out[s] = scale[s] * (g * (transmittance[s] - weight[s]) - behind)
            behind += g * weight[s]


@compiled(**SUMS)
def ray_sum_loop(begin, end, weight, value, offset, out):
    """Add weight x value of the samples of rays begin..end-1 to `out` (r, d); value (s, d)."""
    for ray in range(begin, end):
        for s in range(offset[ray], offset[ray + 1]):
            for c in range(value.shape[1]):
                out[ray, c] += weight[s] * value[s, c]


@compiled(**SUMS)
def ray_sum_gradient_loop(begin, end, gradient, weight, value, offset, to_weight, to_value):
    """Gradients (s,) and (s, d) of weights and values, from those (r, d) of `ray_sum_loop`."""
    for ray in range(begin, end):
        for s in range(offset[ray], offset[ray + 1]):
            total = np.float32(0)
            for c in range(value.shape[1]):
                total += gradient[ray, c] * value[s, c]
                to_value[s, c] = gradient[ray, c] * weight[s]
            to_weight[s] = total


@compiled(**PLAIN)
def point_loop(begin, end, rays, offset, distance, low, scale, out):
    """Write the normalised points of the samples of rays begin..end-1 to `out` (s, 3).

    `rays` are origins and directions f32 (r, 3); other arguments as in `MarchSettings`.
    """
    origin, direction = rays
    for r in range(begin, end):
        for s in range(offset[r], offset[r + 1]):
            for axis in range(3):
                position = origin[r, axis] + direction[r, axis] * distance[s]
                out[s, axis] = (position - low[axis]) * scale[axis] - np.float32(1)


# Arguments: RayArrays, OccupancyArrays, GridArrays, MarchSettings, SampleArrays, an array.
@compiled(**PLAIN)
def march_loop(begin, end, rays, occupancy, grid, settings, out, kept_per_ray):
    """March rays begin..end-1 and write their samples of weight above `min_weight` to `out`.

    A ray ends where its transmittance is `early_stop_transmittance` or less. Look-ups of cells are
    written out: as functions, even inlined ones, they cost an eighth of the loop's time.

    Returns how many samples were written to `out`; `kept_per_ray` i64 (r,) gets them ray by ray.
    """
    origin, direction, first, count = rays
    cells, coarse = occupancy
    size, (plane0, plane1, plane2), (line0, line1, line2) = grid
    step, max_samples, low, scale, factor, min_weight, early_stop_transmittance = settings
    distance, weight, reached, point = out
    one = np.float32(1)
    half_block = np.float32((BLOCK - 1) / 2)
    kept = 0
    for r in range(begin, end):
        ox, oy, oz = origin[r, 0], origin[r, 1], origin[r, 2]
        dx, dy, dz = direction[r, 0], direction[r, 1], direction[r, 2]
        kept_before = kept
        depth_before = 0.0
        transmittance = one
        # The last sample of a full-length ray has no length, hence no weight.
        samples = min(count[r], max_samples - 1)
        for block_start in range(0, samples, BLOCK):
            t = first[r] + (np.float32(block_start) + half_block) * step
            if not coarse[
                cell_of((ox + dx * t - low[0]) * scale[0] - one, cells.shape[0]) // COARSE,
                cell_of((oy + dy * t - low[1]) * scale[1] - one, cells.shape[1]) // COARSE,
                cell_of((oz + dz * t - low[2]) * scale[2] - one, cells.shape[2]) // COARSE,
            ]:
                continue
            for n in range(block_start, min(block_start + BLOCK, samples)):
                t = first[r] + np.float32(n) * step
                x = (ox + dx * t - low[0]) * scale[0] - one
                y = (oy + dy * t - low[1]) * scale[1] - one
                z = (oz + dz * t - low[2]) * scale[2] - one
                if abs(x) > one or abs(y) > one or abs(z) > one:
                    continue
                i, j = cell_of(x, cells.shape[0]), cell_of(y, cells.shape[1])
                if not cells[i, j, cell_of(z, cells.shape[2])]:
                    continue
                sigma = density_at(x, y, z, size, plane0, plane1, plane2, line0, line1, line2)
                if sigma <= 0:
                    continue
                depth = sigma * step * factor
                value = -np.expm1(-depth) * transmittance
                if value > min_weight:
                    distance[kept], weight[kept], reached[kept] = t, value, transmittance
                    point[kept, 0], point[kept, 1], point[kept, 2] = x, y, z
                    kept += 1
                depth_before += depth
                transmittance = np.float32(np.exp(-depth_before))
                if transmittance <= early_stop_transmittance:
                    break
            if transmittance <= early_stop_transmittance:
                break
        kept_per_ray[r] = kept - kept_before
    return kept
