"""The loops over samples that numba compiles: marching, grid lookups and their gradients.

`native` calls them with arrays of tensors. A loop keeps a point's corner rows and weights in
registers, ends a ray where it is opaque, and writes only what is used; tensor code would have to
store each of these for all samples.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovnerf.runtime import progress

try:
    from numba import njit
except ImportError:  # The torch path serves then, slower.
    njit = None  # type: ignore[assignment]

PLAIN = {"nogil": True, "cache": True}
SUMS = {**PLAIN, "fastmath": {"reassoc", "contract", "nsz"}}
"""Sums over ranks may be reordered for vector units; positions never are."""
WITHIN = {"forceinline": True}
"""Compiled into the loops that call them. Numba would otherwise compile several versions of such a
function, whose sums differ in the last bit, and which of them a process calls would depend on the
state of its cache."""
INLINE = {"inline": "always"}
"""Passing an array to a function that is not inlined costs more than the lookup."""

Array = NDArray[Any]


class RayArrays(NamedTuple):
    """`Rays` for `march_loop`: f32 (r, 3) twice, f32 (r,), i64 (r,)."""

    origin: Array
    direction: Array
    first: Array
    sample_count: Array


class OccupancyArrays(NamedTuple):
    """`OccupancyGrid` for `march_loop`: two bool arrays, samples a block, cells a coarse cell."""

    cells: Array
    coarse: Array
    block: int
    group: int


class GridArrays(NamedTuple):
    """`VectorMatrixGrid` for the loops: resolution (X, Y, Z), three planes, three lines, f32."""

    size: tuple[int, ...]
    planes: tuple[Array, ...]
    lines: tuple[Array, ...]


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


def compiled(**options: Any) -> Callable[[Any], Any]:
    """`numba.njit`; without numba the function stays as it is and is never called.

    Where numba finds no folder that it may keep compiled code in (a checkout and a home that are
    both read-only), every process compiles anew and says so.
    """
    if njit is None:
        return lambda function: function

    def compile_later(function: Any) -> Any:
        try:
            return njit(**options)(function)
        except RuntimeError as error:
            if "cannot cache function" not in str(error):
                raise
            say_uncached()
            return njit(**{**options, "cache": False})(function)

    return compile_later


@cache
def say_uncached() -> None:
    """One line a process: its start takes longer, and how to change that."""
    progress.log(
        "no folder is writable for numba's compiled loops, so this process compiles its own (half "
        "a minute); set NUMBA_CACHE_DIR to a folder of yours to keep them"
    )


@compiled(**PLAIN, **WITHIN)
def corner_of(value, size):
    """Lower corner and fraction of a coordinate in [-1, 1] on an axis of `size` corners."""
    position = (value + np.float32(1)) * np.float32(0.5) * np.float32(size - 1)
    position = max(position, np.float32(0))
    low = min(int(position), size - 2)
    return low, position - np.float32(low)


@compiled(**PLAIN, **WITHIN)
def cell_of(value, size):
    """Cell of a coordinate in [-1, 1] on an axis of `size` cells."""
    cell = int((value + np.float32(1)) * np.float32(0.5) * np.float32(size))
    return min(max(cell, 0), size - 1)


@compiled(**INLINE)
def mode_sum(plane, line, row, width, u, v, low, w):
    """Sum over ranks of plane value x line value at one point of one mode.

    `row` is the plane's row of the point's lower corner, `row + width` the one above it; (u, v) are
    the bilinear fractions. `low` is the line's lower row and w the fraction along the line.
    """
    one = np.float32(1)
    a, b, c, d = (one - u) * (one - v), u * (one - v), (one - u) * v, u * v
    total = np.float32(0)
    for r in range(plane.shape[1]):
        on_plane = a * plane[row, r] + b * plane[row + 1, r]
        on_plane += c * plane[row + width, r] + d * plane[row + width + 1, r]
        total += on_plane * ((one - w) * line[low, r] + w * line[low + 1, r])
    return total


@compiled(**INLINE)
def mode_products(plane, line, row, width, u, v, low, w, out, first):
    """Plane value x line value at one point of one mode, into ``out[first:]``; see `mode_sum`."""
    one = np.float32(1)
    a, b, c, d = (one - u) * (one - v), u * (one - v), (one - u) * v, u * v
    for r in range(plane.shape[1]):
        on_plane = a * plane[row, r] + b * plane[row + 1, r]
        on_plane += c * plane[row + width, r] + d * plane[row + width + 1, r]
        out[first + r] = on_plane * ((one - w) * line[low, r] + w * line[low + 1, r])


@compiled(**SUMS, **WITHIN)
def density_at(x, y, z, size, plane0, plane1, plane2, line0, line1, line2):
    """Density before the ReLU at one point: all products of all modes, summed."""
    i, u = corner_of(x, size[0])
    j, v = corner_of(y, size[1])
    k, w = corner_of(z, size[2])
    return (
        mode_sum(plane0, line0, j * size[0] + i, size[0], u, v, k, w)
        + mode_sum(plane1, line1, k * size[0] + i, size[0], u, w, j, v)
        + mode_sum(plane2, line2, k * size[1] + j, size[1], v, w, i, u)
    )


@compiled(**SUMS)
def density_loop(begin, end, points, size, planes, lines, out):
    """Densities before the ReLU of points begin..end-1."""
    plane0, plane1, plane2 = planes
    line0, line1, line2 = lines
    for s in range(begin, end):
        x, y, z = points[s, 0], points[s, 1], points[s, 2]
        out[s] = density_at(x, y, z, size, plane0, plane1, plane2, line0, line1, line2)


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
def composite_loop(begin, end, points, weight, offset, size, planes, lines, out):
    """Add the weighted products of the samples of rays begin..end-1 to `out` (r, r1 + r2 + r3)."""
    plane0, plane1, plane2 = planes
    line0, line1, line2 = lines
    one = plane0.shape[1]
    two = one + plane1.shape[1]
    product = np.empty(out.shape[1], np.float32)
    for ray in range(begin, end):
        for s in range(offset[ray], offset[ray + 1]):
            i, u = corner_of(points[s, 0], size[0])
            j, v = corner_of(points[s, 1], size[1])
            k, w = corner_of(points[s, 2], size[2])
            mode_products(plane0, line0, j * size[0] + i, size[0], u, v, k, w, product, 0)
            mode_products(plane1, line1, k * size[0] + i, size[0], u, w, j, v, product, one)
            mode_products(plane2, line2, k * size[1] + j, size[1], v, w, i, u, product, two)
            f = weight[s]
            for r in range(out.shape[1]):
                out[ray, r] += f * product[r]


@compiled(**SUMS)
def weight_gradient_loop(begin, end, points, ray, gradient, size, planes, lines, out):
    """Gradients of the weights of samples begin..end-1: products times the gradient of their ray.

    `gradient` (r, r1 + r2 + r3) is that of the sums along rays, `ray` the row of each sample.
    """
    plane0, plane1, plane2 = planes
    line0, line1, line2 = lines
    one = plane0.shape[1]
    two = one + plane1.shape[1]
    product = np.empty(gradient.shape[1], np.float32)
    for s in range(begin, end):
        i, u = corner_of(points[s, 0], size[0])
        j, v = corner_of(points[s, 1], size[1])
        k, w = corner_of(points[s, 2], size[2])
        mode_products(plane0, line0, j * size[0] + i, size[0], u, v, k, w, product, 0)
        mode_products(plane1, line1, k * size[0] + i, size[0], u, w, j, v, product, one)
        mode_products(plane2, line2, k * size[1] + j, size[1], v, w, i, u, product, two)
        source = ray[s]
        total = np.float32(0)
        for r in range(gradient.shape[1]):
            total += gradient[source, r] * product[r]
        out[s] = total


@compiled(**INLINE)
def line_value(line, low, w, r):
    """A line's interpolated value in column r."""
    return (np.float32(1) - w) * line[low, r] + w * line[low + 1, r]


@compiled(**INLINE)
def plane_value(plane, row, width, weights, r):
    """A plane's interpolated value in column r; `weights` are those of its four corners."""
    a, b, c, d = weights
    lower = a * plane[row, r] + b * plane[row + 1, r]
    return lower + c * plane[row + width, r] + d * plane[row + width + 1, r]


@compiled(**INLINE)
def add_four(table, row, r, f, v0, v1, v2, v3):
    """Add f x four values to columns r..r+3 of a table's row."""
    table[row, r] += f * v0
    table[row, r + 1] += f * v1
    table[row, r + 2] += f * v2
    table[row, r + 3] += f * v3


@compiled(**SUMS)
def gradient_loop(points, weight, ray, axes, size, plane, line, gradient, first, to_plane, to_line):
    """Add the gradients of all samples to one mode, whose ranks begin at column `first`.

    Four columns at a time, written out: compilers do not vectorise loops that read one table and
    write to several rows of another, and loops over scratch rows cost twice as much.
    """
    across, down, along = axes
    width = size[across]
    one = np.float32(1)
    ranks = plane.shape[1]
    by_four = ranks - ranks % 4
    for s in range(len(points)):
        i, u = corner_of(points[s, across], size[across])
        j, v = corner_of(points[s, down], size[down])
        k, w = corner_of(points[s, along], size[along])
        row = j * width + i
        corners = (one - u) * (one - v), u * (one - v), (one - u) * v, u * v
        a, b, c, d = corners
        source, f = ray[s], weight[s]
        for r in range(0, by_four, 4):
            g0 = f * gradient[source, first + r]
            g1 = f * gradient[source, first + r + 1]
            g2 = f * gradient[source, first + r + 2]
            g3 = f * gradient[source, first + r + 3]
            p0 = g0 * line_value(line, k, w, r)
            p1 = g1 * line_value(line, k, w, r + 1)
            p2 = g2 * line_value(line, k, w, r + 2)
            p3 = g3 * line_value(line, k, w, r + 3)
            l0 = g0 * plane_value(plane, row, width, corners, r)
            l1 = g1 * plane_value(plane, row, width, corners, r + 1)
            l2 = g2 * plane_value(plane, row, width, corners, r + 2)
            l3 = g3 * plane_value(plane, row, width, corners, r + 3)
            add_four(to_plane, row, r, a, p0, p1, p2, p3)
            add_four(to_plane, row + 1, r, b, p0, p1, p2, p3)
            add_four(to_plane, row + width, r, c, p0, p1, p2, p3)
            add_four(to_plane, row + width + 1, r, d, p0, p1, p2, p3)
            add_four(to_line, k, r, one - w, l0, l1, l2, l3)
            add_four(to_line, k + 1, r, w, l0, l1, l2, l3)
        for r in range(by_four, ranks):
            g = f * gradient[source, first + r]
            p = g * line_value(line, k, w, r)
            q = g * plane_value(plane, row, width, corners, r)
            to_plane[row, r] += a * p
            to_plane[row + 1, r] += b * p
            to_plane[row + width, r] += c * p
            to_plane[row + width + 1, r] += d * p
            to_line[k, r] += (one - w) * q
            to_line[k + 1, r] += w * q


# Arguments: RayArrays, OccupancyArrays, GridArrays, MarchSettings, SampleArrays, an array.
@compiled(**PLAIN)
def march_loop(begin, end, rays, occupancy, grid, settings, out, kept_per_ray):
    """March rays begin..end-1 and write their samples of weight above `min_weight` to `out`.

    A ray ends where its transmittance is `early_stop_transmittance` or less. Look-ups of cells are
    written out: as functions, even inlined ones, they cost an eighth of the loop's time.

    Returns how many samples were written to `out`; `kept_per_ray` i64 (r,) gets them ray by ray.
    """
    origin, direction, first, count = rays
    cells, coarse, block, group = occupancy
    size, (plane0, plane1, plane2), (line0, line1, line2) = grid
    step, max_samples, low, scale, factor, min_weight, early_stop_transmittance = settings
    distance, weight, reached, point = out
    one = np.float32(1)
    half_block = np.float32((block - 1) / 2)
    kept = 0
    for r in range(begin, end):
        ox, oy, oz = origin[r, 0], origin[r, 1], origin[r, 2]
        dx, dy, dz = direction[r, 0], direction[r, 1], direction[r, 2]
        kept_before = kept
        depth_before = 0.0
        transmittance = one
        tested_block = -1
        occupied = False
        # The last sample of a full-length ray has no length, hence no weight.
        for n in range(min(count[r], max_samples - 1)):
            if n // block != tested_block:
                tested_block = n // block
                t = first[r] + (np.float32(tested_block * block) + half_block) * step
                occupied = coarse[
                    cell_of((ox + dx * t - low[0]) * scale[0] - one, cells.shape[0]) // group,
                    cell_of((oy + dy * t - low[1]) * scale[1] - one, cells.shape[1]) // group,
                    cell_of((oz + dz * t - low[2]) * scale[2] - one, cells.shape[2]) // group,
                ]
            if not occupied:
                continue
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
        kept_per_ray[r] = kept - kept_before
    return kept
