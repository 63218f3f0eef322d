"""Procedural solid textures: functions of object-local points, so that no surface needs UVs.

A texture maps points (n, 3), metres in the object's own axes, to linear RGB (n, 3) in [0, 1]. The
finest period is about 10 cm, because one pixel of a 160x120 view covers 4 cm at 4 m.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Colour = tuple[float, float, float]
Texture = Callable[[Array], Array]


def hashed(cells: NDArray[np.int64], seed: int) -> Array:
    """Uniform [0, 1) value per integer cell (n, k), the same on every machine."""
    with np.errstate(over="ignore"):
        state = np.full(cells.shape[0], np.uint32(seed * 2654435761 % 2**32), np.uint32)
        for axis in range(cells.shape[1]):
            state ^= cells[:, axis].astype(np.uint32) * np.uint32(0x9E3779B1)
            state = (state ^ (state >> np.uint32(15))) * np.uint32(0x85EBCA6B)
            state = (state ^ (state >> np.uint32(13))) * np.uint32(0xC2B2AE35)
            state ^= state >> np.uint32(16)
    return state.astype(np.float64) / 2.0**32


def value_noise(points: Array, size: float, seed: int) -> Array:
    """Smooth noise in [0, 1] (n,) with cells of `size` metres."""
    scaled = points / size
    base = np.floor(scaled).astype(np.int64)
    blend = scaled - base
    blend = blend * blend * (3 - 2 * blend)
    total = np.zeros(len(points))
    for corner in np.ndindex(2, 2, 2):
        offset = np.array(corner)
        weight = np.prod(np.where(offset == 1, blend, 1 - blend), axis=1)
        total += weight * hashed(base + offset, seed)
    return total


def mix(first: Colour, second: Colour, share: Array) -> Array:
    """Blend of two colours (n, 3): `share` (n,) of the second."""
    return np.asarray(first) * (1 - share[:, None]) + np.asarray(second) * share[:, None]


def soft_square(phase: Array, edge: float = 0.08) -> Array:
    """0/1 square wave of period 1 whose edges are `edge` wide, so that it does not alias."""
    distance = np.abs((phase % 1.0) - 0.5) - 0.25
    return np.clip(0.5 + distance / edge, 0, 1)


def plain(colour: Colour, mottle: float = 0.06, seed: int = 0) -> Texture:
    """One colour with faint large spots."""

    def texture(points: Array) -> Array:
        factor = 1 + mottle * (2 * value_noise(points, 0.25, seed) - 1)
        return np.asarray(colour) * factor[:, None]

    return texture


def stripes(first: Colour, second: Colour, period: float, axis: int) -> Texture:
    """Stripes across `axis`."""
    return lambda points: mix(first, second, soft_square(points[:, axis] / period))


def checker(first: Colour, second: Colour, size: float, axes: tuple[int, int]) -> Texture:
    """Checker board of squares `size` metres wide in the plane of two axes."""

    def texture(points: Array) -> Array:
        a = 2 * soft_square(points[:, axes[0]] / (2 * size)) - 1
        b = 2 * soft_square(points[:, axes[1]] / (2 * size)) - 1
        return mix(first, second, 0.5 + 0.5 * a * b)

    return texture


def marbled(first: Colour, second: Colour, size: float, seed: int) -> Texture:
    """Clouds of two colours."""

    def texture(points: Array) -> Array:
        cloud = value_noise(points, size, seed) + 0.5 * value_noise(points, size / 2, seed + 1)
        return mix(first, second, np.clip(2.2 * (cloud / 1.5 - 0.5) + 0.5, 0, 1))

    return texture


def wood(light: Colour, dark: Colour, axis: int, seed: int) -> Texture:
    """Grain running along `axis`."""

    def texture(points: Array) -> Array:
        stretched = points.copy()
        stretched[:, axis] *= 0.15
        warp = value_noise(stretched, 0.12, seed)
        rings = 0.5 + 0.5 * np.sin(2 * np.pi * (3.0 * warp + value_noise(stretched, 0.3, seed + 7)))
        return mix(light, dark, 0.75 * rings)

    return texture


def planks(light: Colour, dark: Colour, width: float, axis: int, seed: int) -> Texture:
    """Floor boards along `axis` (0 or 1), each with its own tone, with dark joints."""

    def texture(points: Array) -> Array:
        row = np.floor(points[:, 1 - axis] / width).astype(np.int64)
        shift = 1.7 * hashed(row[:, None], seed)
        board = np.floor((points[:, axis] + shift) / 1.2).astype(np.int64)
        tone = hashed(np.stack([row, board], 1), seed + 1)
        stretched = points.copy()
        stretched[:, axis] *= 0.15
        grain = value_noise(stretched, 0.08, seed + 2)
        joint = np.abs((points[:, 1 - axis] / width) % 1.0 - 0.5) > 0.46
        colour = mix(light, dark, 0.65 * tone + 0.35 * grain)
        return colour * np.where(joint, 0.7, 1.0)[:, None]

    return texture


def bricks(stone: Colour, mortar: Colour, height: float, seed: int) -> Texture:
    """Running bond on vertical faces; brick length is 2.4 heights."""

    def texture(points: Array) -> Array:
        row = np.floor(points[:, 2] / height)
        along = (points[:, 0] + points[:, 1]) / (2.4 * height) + 0.5 * (row % 2)
        cells = np.stack([row, np.floor(along)], 1).astype(np.int64)
        shade = 0.8 + 0.4 * hashed(cells, seed)
        rise = np.abs((points[:, 2] / height) % 1.0 - 0.5)
        run = np.abs(along % 1.0 - 0.5)
        joint = np.clip((rise - 0.36) / 0.08, 0, 1)
        joint = np.maximum(joint, np.clip((run - 0.43) / 0.04, 0, 1))
        body = np.clip(np.asarray(stone) * shade[:, None], 0, 1)
        return body * (1 - joint[:, None]) + np.asarray(mortar) * joint[:, None]

    return texture


def book_spines(palette: tuple[Colour, ...], width: float, seed: int) -> Texture:
    """Books side by side along x, one colour each, with a pale band."""

    def texture(points: Array) -> Array:
        spine = np.floor(points[:, 0] / width).astype(np.int64)
        shelf = np.floor(points[:, 2] / 0.36).astype(np.int64)
        cells = np.stack([spine, shelf], 1)
        chosen = np.asarray(palette)[(hashed(cells, seed) * len(palette)).astype(np.int64)]
        tone = 0.75 + 0.5 * hashed(cells, seed + 1)
        edge = np.abs((points[:, 0] / width) % 1.0 - 0.5) > 0.44
        return np.clip(chosen * (tone * np.where(edge, 0.55, 1.0))[:, None], 0, 1)

    return texture


def slats(light: Colour, gap: Colour, period: float) -> Texture:
    """Horizontal slats of a blind, shaded from the upper to the lower edge of each."""

    def texture(points: Array) -> Array:
        phase = (points[:, 2] / period) % 1.0
        shade = np.where(phase < 0.22, 1.0, 0.75 * (phase - 0.22) / 0.78 * 0.35)
        return mix(light, gap, np.clip(shade, 0, 1))

    return texture


def dots(ground: Colour, spot: Colour, spacing: float, axes: tuple[int, int]) -> Texture:
    """Round spots on a square grid."""

    def texture(points: Array) -> Array:
        u = points[:, axes[0]] / spacing % 1.0 - 0.5
        v = points[:, axes[1]] / spacing % 1.0 - 0.5
        return mix(ground, spot, np.clip((0.32 - np.sqrt(u * u + v * v)) / 0.08 + 0.5, 0, 1))

    return texture


def border(inner: Texture, edge: Colour, half: tuple[float, float], width: float) -> Texture:
    """`inner` with a band of one colour along the rim of the rectangle |x|, |y| <= half."""

    def texture(points: Array) -> Array:
        rim = np.minimum(half[0] - np.abs(points[:, 0]), half[1] - np.abs(points[:, 1]))
        return np.where((rim < width)[:, None], np.asarray(edge), inner(points))

    return texture


def painting(palette: tuple[Colour, ...], size: float, seed: int) -> Texture:
    """A small landscape in x and z: sky over ground, a round thing and a few blots."""

    def texture(points: Array) -> Array:
        flat = np.stack([points[:, 0], np.zeros(len(points)), points[:, 2]], 1)
        horizon = size * (0.25 * value_noise(flat * [1, 1, 0], 0.35 * size, seed) - 0.15)
        share = np.clip((flat[:, 2] - horizon) / (0.06 * size) + 0.5, 0, 1)
        colour = mix(palette[0], palette[1], share)
        blot = np.clip(8 * (value_noise(flat, 0.3 * size, seed + 1) - 0.62), 0, 1)[:, None]
        colour = colour * (1 - blot) + np.asarray(palette[2]) * blot
        centre = size * (hashed(np.arange(2)[:, None], seed + 2) - 0.5) * 0.5
        away = np.hypot(flat[:, 0] - centre[0], flat[:, 2] - abs(centre[1]))
        disc = np.clip((0.16 * size - away) / (0.05 * size) + 0.5, 0, 1)[:, None]
        return colour * (1 - disc) + np.asarray(palette[3]) * disc

    return texture
