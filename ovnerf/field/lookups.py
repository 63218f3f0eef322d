"""Lookups in a vector-matrix grid and their gradients, as compiled loops (`native` calls them)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ovnerf.field.compiled import INLINE, PLAIN, SUMS, WITHIN, Array, compiled, njit

if njit is not None:
    from ovnerf.field.lanes import LANES, load, store, total, zeros


class GridArrays(NamedTuple):
    """`VectorMatrixGrid` for the loops: resolution (X, Y, Z), three planes, three lines, f32."""

    size: tuple[int, ...]
    planes: tuple[Array, ...]
    lines: tuple[Array, ...]


@compiled(**PLAIN, **WITHIN)
def corner_of(value, size):
    """Lower corner and fraction of a coordinate in [-1, 1] on an axis of `size` corners."""
    position = (value + np.float32(1)) * np.float32(0.5) * np.float32(size - 1)
    position = max(position, np.float32(0))
    low = min(int(position), size - 2)
    return low, position - np.float32(low)


@compiled(**INLINE)
def line_value(line, low, w, r, count):
    """A line's interpolated values in `count` columns from r on, between its rows low, low + 1."""
    one = np.float32(1)
    return (one - w) * load(line, low, r, count) + w * load(line, low + 1, r, count)


@compiled(**INLINE)
def plane_value(plane, row, width, corners, r, count):
    """A plane's interpolated values in `count` columns from r on.

    `row` is the row of the point's lower corner, `row + width` the one above it; `corners` are the
    weights of these and of the next rows.
    """
    a, b, c, d = corners
    lower = a * load(plane, row, r, count) + b * load(plane, row + 1, r, count)
    upper = c * load(plane, row + width, r, count) + d * load(plane, row + width + 1, r, count)
    return lower + upper


@compiled(**INLINE)
def product(plane, line, row, width, corners, low, w, r, count):
    """Plane values x line values of one point in `count` columns of one mode from r on."""
    return plane_value(plane, row, width, corners, r, count) * line_value(line, low, w, r, count)


@compiled(**INLINE)
def corner_weights(u, v):
    """Weights of a cell's four corners in a bilinear interpolation at fractions u and v."""
    one = np.float32(1)
    return (one - u) * (one - v), u * (one - v), (one - u) * v, u * v


@compiled(**INLINE)
def mode_sum(plane, line, row, width, u, v, low, w):
    """Sum over ranks of plane value x line value at one point of one mode.

    Rows as in `product`; (u, v) are the bilinear fractions, w that along the line.
    """
    corners = corner_weights(u, v)
    by_lanes = plane.shape[1] - plane.shape[1] % LANES
    sums = zeros(LANES)
    for r in range(0, by_lanes, LANES):
        sums = sums + product(plane, line, row, width, corners, low, w, r, LANES)
    result = total(sums)
    for r in range(by_lanes, plane.shape[1]):
        result += product(plane, line, row, width, corners, low, w, r, 1)
    return result


@compiled(**INLINE)
def add_products(plane, line, row, width, u, v, low, w, factor, out, ray, first):
    """Add factor x plane value x line value of one point and mode to ``out[ray, first:]``.

    Other arguments as in `mode_sum`.
    """
    corners = corner_weights(u, v)
    by_lanes = plane.shape[1] - plane.shape[1] % LANES
    for r in range(0, by_lanes, LANES):
        value = factor * product(plane, line, row, width, corners, low, w, r, LANES)
        store(out, ray, first + r, load(out, ray, first + r, LANES) + value)
    for r in range(by_lanes, plane.shape[1]):
        value = factor * product(plane, line, row, width, corners, low, w, r, 1)
        store(out, ray, first + r, load(out, ray, first + r, 1) + value)


@compiled(**INLINE)
def put_products(plane, line, row, width, u, v, low, w, out, at, first):
    """Write plane value x line value of one point and mode to ``out[at, first:]``.

    Other arguments as in `mode_sum`.
    """
    corners = corner_weights(u, v)
    by_lanes = plane.shape[1] - plane.shape[1] % LANES
    for r in range(0, by_lanes, LANES):
        value = product(plane, line, row, width, corners, low, w, r, LANES)
        store(out, at, first + r, value)
    for r in range(by_lanes, plane.shape[1]):
        store(out, at, first + r, product(plane, line, row, width, corners, low, w, r, 1))


@compiled(**INLINE)
def weighted_mode_sum(plane, line, row, width, u, v, low, w, factor, ray, first):
    """`mode_sum` with the product of rank r times ``factor[ray, first + r]``."""
    corners = corner_weights(u, v)
    by_lanes = plane.shape[1] - plane.shape[1] % LANES
    sums = zeros(LANES)
    for r in range(0, by_lanes, LANES):
        value = product(plane, line, row, width, corners, low, w, r, LANES)
        sums = sums + load(factor, ray, first + r, LANES) * value
    result = total(sums)
    for r in range(by_lanes, plane.shape[1]):
        value = product(plane, line, row, width, corners, low, w, r, 1)
        result += load(factor, ray, first + r, 1) * value
    return result


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


@compiled(**SUMS)
def product_loop(begin, end, points, size, planes, lines, out):
    """Write the products of points begin..end-1 to `out` (s, r1 + r2 + r3)."""
    plane0, plane1, plane2 = planes
    line0, line1, line2 = lines
    one = plane0.shape[1]
    two = one + plane1.shape[1]
    for s in range(begin, end):
        i, u = corner_of(points[s, 0], size[0])
        j, v = corner_of(points[s, 1], size[1])
        k, w = corner_of(points[s, 2], size[2])
        put_products(plane0, line0, j * size[0] + i, size[0], u, v, k, w, out, s, 0)
        put_products(plane1, line1, k * size[0] + i, size[0], u, w, j, v, out, s, one)
        put_products(plane2, line2, k * size[1] + j, size[1], v, w, i, u, out, s, two)


@compiled(**SUMS)
def composite_loop(begin, end, points, weight, offset, size, planes, lines, out):
    """Add the weighted products of the samples of rays begin..end-1 to `out` (r, r1 + r2 + r3)."""
    plane0, plane1, plane2 = planes
    line0, line1, line2 = lines
    one = plane0.shape[1]
    two = one + plane1.shape[1]
    for ray in range(begin, end):
        for s in range(offset[ray], offset[ray + 1]):
            i, u = corner_of(points[s, 0], size[0])
            j, v = corner_of(points[s, 1], size[1])
            k, w = corner_of(points[s, 2], size[2])
            f = weight[s]
            add_products(plane0, line0, j * size[0] + i, size[0], u, v, k, w, f, out, ray, 0)
            add_products(plane1, line1, k * size[0] + i, size[0], u, w, j, v, f, out, ray, one)
            add_products(plane2, line2, k * size[1] + j, size[1], v, w, i, u, f, out, ray, two)


@compiled(**SUMS)
def weight_gradient_loop(begin, end, points, ray, gradient, size, planes, lines, out):
    """Gradients of the weights of samples begin..end-1: products times the gradient of their ray.

    `gradient` (r, r1 + r2 + r3) is that of the sums along rays, `ray` the row of each sample.
    """
    plane0, plane1, plane2 = planes
    line0, line1, line2 = lines
    one = plane0.shape[1]
    two = one + plane1.shape[1]
    g = gradient
    for s in range(begin, end):
        i, u = corner_of(points[s, 0], size[0])
        j, v = corner_of(points[s, 1], size[1])
        k, w = corner_of(points[s, 2], size[2])
        at = ray[s]
        out[s] = (
            weighted_mode_sum(plane0, line0, j * size[0] + i, size[0], u, v, k, w, g, at, 0)
            + weighted_mode_sum(plane1, line1, k * size[0] + i, size[0], u, w, j, v, g, at, one)
            + weighted_mode_sum(plane2, line2, k * size[1] + j, size[1], v, w, i, u, g, at, two)
        )


@compiled(**INLINE)
def add_to(table, row, r, value, count):
    """Add values to `count` columns of a table's row, from r on."""
    store(table, row, r, load(table, row, r, count) + value)


@compiled(**INLINE)
def add_gradient(grid, gradient, where, ray, first, f, r, count):
    """Add one sample's gradients to `count` columns of one mode's plane and line, from r on.

    `grid` is (plane, line, to_plane, to_line) and `where` (row, width, corners, low, w), as in
    `product`; f is the sample's weight.
    """
    plane, line, to_plane, to_line = grid
    row, width, corners, low, w = where
    a, b, c, d = corners
    g = f * load(gradient, ray, first + r, count)
    on_plane = g * line_value(line, low, w, r, count)
    on_line = g * plane_value(plane, row, width, corners, r, count)
    add_to(to_plane, row, r, a * on_plane, count)
    add_to(to_plane, row + 1, r, b * on_plane, count)
    add_to(to_plane, row + width, r, c * on_plane, count)
    add_to(to_plane, row + width + 1, r, d * on_plane, count)
    add_to(to_line, low, r, (np.float32(1) - w) * on_line, count)
    add_to(to_line, low + 1, r, w * on_line, count)


@compiled(**SUMS)
def gradient_loop(points, weight, ray, axes, size, plane, line, gradient, first, to_plane, to_line):
    """Add the gradients of all samples to one mode, whose ranks begin at column `first`."""
    across, down, along = axes
    width = size[across]
    by_lanes = plane.shape[1] - plane.shape[1] % LANES
    grid = plane, line, to_plane, to_line
    for s in range(len(points)):
        i, u = corner_of(points[s, across], size[across])
        j, v = corner_of(points[s, down], size[down])
        k, w = corner_of(points[s, along], size[along])
        where = j * width + i, width, corner_weights(u, v), k, w
        for r in range(0, by_lanes, LANES):
            add_gradient(grid, gradient, where, ray[s], first, weight[s], r, LANES)
        for r in range(by_lanes, plane.shape[1]):
            add_gradient(grid, gradient, where, ray[s], first, weight[s], r, 1)


@compiled(**INLINE)
def variation_slope(plane, row, around, factors, r, count):
    """Gradient of a plane's total variation in `count` columns from r on of one row.

    `around` are the rows of the corners above, below, left and right, `row` itself where there is
    none; `factors` are of differences down and to the right.
    """
    above, below, left, right = around
    here = load(plane, row, r, count)
    vertical = (here - load(plane, above, r, count)) + (here - load(plane, below, r, count))
    horizontal = (here - load(plane, left, r, count)) + (here - load(plane, right, r, count))
    return factors[0] * vertical + factors[1] * horizontal


@compiled(**SUMS)
def variation_loop(begin, end, plane, width, factors, gradient):
    """Add the gradient of a plane's total variation for its image rows begin..end-1.

    The plane has `width` corners in a row; `factors` as in `variation_slope`.
    """
    height = plane.shape[0] // width
    by_lanes = plane.shape[1] - plane.shape[1] % LANES
    for y in range(begin, end):
        for x in range(width):
            row = y * width + x
            above, below = row - width * (y > 0), row + width * (y < height - 1)
            around = above, below, row - (x > 0), row + (x < width - 1)
            for r in range(0, by_lanes, LANES):
                slope = variation_slope(plane, row, around, factors, r, LANES)
                add_to(gradient, row, r, slope, LANES)
            for r in range(by_lanes, plane.shape[1]):
                slope = variation_slope(plane, row, around, factors, r, 1)
                add_to(gradient, row, r, slope, 1)
