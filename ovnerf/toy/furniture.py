"""Furniture made from a random generator: shapes and textures vary, the class stays recognisable.

Every builder takes a generator and returns `Furniture` in its own axes: x along the width, y to the
front (the back stands at the smallest y, against a wall), z up from the floor; metres.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import trimesh
from numpy.random import Generator

from ovnerf.toy import textures
from ovnerf.toy.meshes import box, cushion, frustum, joined, rod
from ovnerf.toy.textures import Colour, Texture


@dataclass(frozen=True)
class Part:
    """A mesh in object axes with one texture; `glow` is added light (a lamp shade, a screen)."""

    mesh: trimesh.Trimesh
    texture: Texture
    glow: float = 0.0


@dataclass(frozen=True)
class Furniture:
    """One instance of a class before it is placed: parts, and its size (width, depth, height)."""

    name: str
    parts: tuple[Part, ...]
    size: tuple[float, float, float]


def hue(
    rng: Generator,
    hues: tuple[float, float],
    saturation: tuple[float, float],
    value: tuple[float, float],
) -> Colour:
    """Random linear RGB colour; hues on a circle of 1 (0 red, 1/3 green, 2/3 blue)."""
    colour = colorsys.hsv_to_rgb(
        rng.uniform(*hues) % 1.0, rng.uniform(*saturation), rng.uniform(*value)
    )
    return (colour[0] ** 2.2, colour[1] ** 2.2, colour[2] ** 2.2)


def shade(colour: Colour, factor: float) -> Colour:
    """A darker or lighter version of a colour."""
    red, green, blue = (float(np.clip(channel * factor, 0, 1)) for channel in colour)
    return red, green, blue


def any_seed(rng: Generator) -> int:
    """Seed of a texture's noise."""
    return int(rng.integers(1 << 30))


def timber(rng: Generator, axis: int) -> Texture:
    """Wood grain of a random tone along an axis."""
    tone = hue(rng, (0.05, 0.10), (0.45, 0.75), (0.35, 0.85))
    return textures.wood(tone, shade(tone, 0.45), axis, any_seed(rng))


def fabric(rng: Generator, tone: Colour) -> Texture:
    """Cloth: plain, clouded, striped or dotted."""
    kind = rng.integers(4)
    second = shade(tone, rng.uniform(0.35, 0.6))
    if kind == 0:
        return textures.plain(tone, 0.2, any_seed(rng))
    if kind == 1:
        return textures.marbled(tone, second, 0.18, any_seed(rng))
    if kind == 2:
        return textures.stripes(tone, second, rng.uniform(0.2, 0.3), 0)
    return textures.dots(tone, shade(tone, 2.0), rng.uniform(0.16, 0.24), (0, 2))


def sofa(rng: Generator) -> Furniture:
    """Two or three seats, arms and a back in one fabric."""
    width, depth, height = rng.uniform(1.5, 2.1), rng.uniform(0.8, 0.95), rng.uniform(0.75, 0.9)
    cloth = fabric(rng, hue(rng, (0.0, 1.0), (0.35, 0.8), (0.45, 0.85)))
    w, d = width / 2, depth / 2
    seats = 3 if width > 1.8 else 2
    step = (width - 0.36) / seats
    shapes = [
        cushion((-w, -d, 0.08), (w, d, 0.32), 0.05),
        cushion((-w, -d, 0.1), (w, -d + 0.24, height), 0.08),
        cushion((-w, -d, 0.1), (-w + 0.2, d, 0.58), 0.08),
        cushion((w - 0.2, -d, 0.1), (w, d, 0.58), 0.08),
    ]
    for seat in range(seats):
        left = -w + 0.18 + seat * step
        shapes.append(cushion((left, -d + 0.2, 0.3), (left + step - 0.02, d, 0.47), 0.07))
    return Furniture("sofa", (Part(joined(*shapes), cloth),), (width, depth, height))


def legs(width: float, depth: float, height: float, radius: float) -> trimesh.Trimesh:
    """Four upright legs just inside a rectangle."""
    x, y = width / 2 - 0.06, depth / 2 - 0.06
    return joined(*(rod(a * x, b * y, 0, height, radius) for a in (-1, 1) for b in (-1, 1)))


def table(rng: Generator) -> Furniture:
    """Rectangular or round table."""
    width, depth, height = rng.uniform(1.0, 1.35), rng.uniform(0.7, 0.85), rng.uniform(0.62, 0.7)
    white = rng.random() < 0.25
    top_texture = textures.plain((0.75, 0.74, 0.7), 0.1, 3) if white else timber(rng, 0)
    if rng.random() < 0.3:
        width = depth = rng.uniform(0.9, 1.05)
        top = frustum(height - 0.06, height, width / 2, width / 2)
        base = joined(rod(0, 0, 0.04, height - 0.03, 0.07), frustum(0, 0.05, 0.32, 0.26))
    else:
        top = box((-width / 2, -depth / 2, height - 0.06), (width / 2, depth / 2, height))
        base = legs(width, depth, height - 0.03, 0.04)
    parts = (Part(top, top_texture), Part(base, timber(rng, 2)))
    return Furniture("table", parts, (width, depth, height))


def chair(rng: Generator) -> Furniture:
    """Four legs, a coloured seat and a back with a coloured panel."""
    width, height = rng.uniform(0.42, 0.5), rng.uniform(0.8, 0.92)
    w = width / 2
    wood = timber(rng, 2)
    seat = hue(rng, (0.0, 1.0), (0.55, 0.95), (0.5, 0.9))
    posts = joined(
        rod(-w + 0.03, -w + 0.03, 0.4, height, 0.025), rod(w - 0.03, -w + 0.03, 0.4, height, 0.025)
    )
    frame = joined(legs(width, width, 0.44, 0.025), posts)
    pads = joined(
        cushion((-w, -w, 0.42), (w, w, 0.5), 0.035),
        cushion((-w, -w, 0.62), (w, -w + 0.06, height), 0.03),
    )
    cloth = textures.plain(seat, 0.15, any_seed(rng))
    return Furniture("chair", (Part(frame, wood), Part(pads, cloth)), (width, width, height))


BOOKS: tuple[Colour, ...] = (
    (0.45, 0.05, 0.05),
    (0.05, 0.12, 0.4),
    (0.05, 0.25, 0.1),
    (0.6, 0.42, 0.08),
    (0.6, 0.55, 0.45),
    (0.25, 0.08, 0.3),
    (0.1, 0.3, 0.35),
    (0.5, 0.2, 0.08),
)


def bookshelf(rng: Generator) -> Furniture:
    """Tall case with rows of books of many colours."""
    width, depth, rows = rng.uniform(0.9, 1.4), rng.uniform(0.3, 0.36), int(rng.integers(4, 6))
    height = 0.36 * rows + 0.06
    w, d = width / 2, depth / 2
    boards = [box((-w, -d, 0), (-w + 0.05, d, height)), box((w - 0.05, -d, 0), (w, d, height))]
    boards.append(box((-w, -d, 0), (w, -d + 0.03, height)))
    boards += [box((-w, -d, 0.36 * k), (w, d, 0.36 * k + 0.06)) for k in range(rows + 1)]
    books = []
    for row in range(rows):
        cut = rng.uniform(0.55, 1.0) if rng.random() < 0.4 else 1.0
        right = -w + 0.05 + (width - 0.1) * cut
        low, high = 0.36 * row + 0.06, 0.36 * row + 0.06 + rng.uniform(0.2, 0.27)
        books.append(box((-w + 0.05, -d + 0.03, low), (right, d - 0.07, high)))
    order = rng.permutation(len(BOOKS))[: int(rng.integers(4, 8))]
    spines = textures.book_spines(
        tuple(BOOKS[k] for k in order), rng.uniform(0.08, 0.11), any_seed(rng)
    )
    parts = (Part(joined(*boards), timber(rng, 2)), Part(joined(*books), spines))
    return Furniture("bookshelf", parts, (width, depth, height))


def cabinet(rng: Generator) -> Furniture:
    """Low chest with doors or drawers and knobs."""
    width, depth, height = rng.uniform(0.9, 1.5), rng.uniform(0.4, 0.5), rng.uniform(0.65, 0.95)
    w, d = width / 2, depth / 2
    paint = hue(rng, (0.0, 1.0), (0.05, 0.45), (0.55, 0.85))
    painted = rng.random() < 0.5
    body = textures.plain(paint, 0.1, any_seed(rng)) if painted else timber(rng, 0)
    columns, rows = int(rng.integers(2, 4)), int(rng.integers(1, 4))
    fronts, knobs = [], []
    for column in range(columns):
        for row in range(rows):
            x = -w + 0.04 + column * (width - 0.04) / columns
            z = 0.12 + row * (height - 0.16) / rows
            right, top = x + (width - 0.04) / columns - 0.04, z + (height - 0.16) / rows - 0.04
            fronts.append(box((x, d - 0.02, z), (right, d + 0.02, top)))
            centre = ((x + right) / 2, d + 0.03, (z + top) / 2)
            knob = trimesh.creation.icosphere(subdivisions=1, radius=0.035)
            knob.apply_translation(centre)
            knobs.append(knob)
    shell = joined(box((-w, -d, 0.08), (w, d, height)), legs(width, depth, 0.1, 0.03))
    dark = textures.plain(shade(paint, 0.35) if painted else (0.12, 0.06, 0.03))
    brass = textures.plain((0.6, 0.45, 0.15))
    parts = (Part(shell, dark), Part(joined(*fronts), body), Part(joined(*knobs), brass))
    lid = Part(box((-w, -d, height - 0.03), (w, d + 0.02, height + 0.02)), body)
    return Furniture("cabinet", (*parts, lid), (width, depth, height))


def bed(rng: Generator) -> Furniture:
    """Mattress, patterned blanket, pillows and a headboard against the wall."""
    width, depth = rng.uniform(1.1, 1.5), 1.95
    w, d = width / 2, depth / 2
    first = hue(rng, (0.0, 1.0), (0.2, 0.6), (0.6, 0.95))
    second = hue(rng, (0.0, 1.0), (0.1, 0.5), (0.7, 1.0))
    pattern = (
        textures.checker(first, second, rng.uniform(0.14, 0.22), (0, 1))
        if rng.random() < 0.6
        else textures.stripes(first, second, rng.uniform(0.25, 0.4), 1)
    )
    sheet = textures.plain((0.8, 0.8, 0.78), 0.05, 1)
    pillows = [cushion((-w + 0.08, -d + 0.08, 0.48), (-0.03, -d + 0.5, 0.62), 0.07)]
    pillows.append(cushion((0.03, -d + 0.08, 0.48), (w - 0.08, -d + 0.5, 0.62), 0.07))
    mattress = cushion((-w + 0.02, -d + 0.06, 0.22), (w - 0.02, d, 0.5), 0.07)
    frame = joined(
        box((-w, -d, 0.06), (w, d, 0.26)),
        box((-w, -d, 0.0), (w, -d + 0.06, rng.uniform(0.85, 1.1))),
    )
    parts = (
        Part(frame, timber(rng, 0)),
        Part(joined(mattress, *pillows), sheet),
        Part(cushion((-w, -d + 0.65, 0.26), (w, d + 0.01, 0.54), 0.06), pattern),
    )
    return Furniture("bed", parts, (width, depth, 1.0))


def lamp(rng: Generator) -> Furniture:
    """Standing lamp: foot, pole and a glowing shade."""
    height, radius = rng.uniform(1.4, 1.7), rng.uniform(0.2, 0.27)
    metal = textures.plain(hue(rng, (0.05, 0.15), (0.0, 0.6), (0.25, 0.6)))
    paper = hue(rng, (0.05, 0.16), (0.15, 0.55), (0.85, 1.0))
    drum = frustum(height - 0.34, height, radius, radius * rng.uniform(0.55, 0.9))
    pole = joined(rod(0, 0, 0.02, height - 0.3, 0.035), frustum(0, 0.05, 0.18, 0.14))
    parts = (Part(pole, metal), Part(drum, textures.plain(paper, 0.05, 2), glow=0.55))
    return Furniture("lamp", parts, (2 * radius, 2 * radius, height))


def leaf(length: float, tilt: float, turn: float, base: float) -> trimesh.Trimesh:
    """A flat ellipsoid blade rising from (0, 0, base)."""
    mesh = trimesh.creation.icosphere(subdivisions=2)
    mesh.apply_scale((0.09, 0.02, length / 2))
    mesh.apply_translation((0, 0, length / 2))
    mesh.apply_transform(trimesh.transformations.rotation_matrix(tilt, (1, 0, 0)))
    mesh.apply_transform(trimesh.transformations.rotation_matrix(turn, (0, 0, 1)))
    mesh.apply_translation((0, 0, base))
    return mesh


def plant(rng: Generator) -> Furniture:
    """A pot and a crown of leaves or a round bush."""
    pot_height, radius = rng.uniform(0.3, 0.45), rng.uniform(0.16, 0.22)
    clay = hue(rng, (0.0, 0.12), (0.3, 0.75), (0.4, 0.9))
    green = hue(rng, (0.25, 0.4), (0.5, 0.9), (0.35, 0.65))
    height = rng.uniform(1.0, 1.45)
    count = int(rng.integers(12, 18))
    if rng.random() < 0.65:
        crown = joined(
            *(
                leaf(
                    (height - pot_height) * rng.uniform(0.75, 1.0),
                    rng.uniform(0.1, 0.75),
                    2 * np.pi * k / count * 5 + rng.uniform(-0.3, 0.3),
                    pot_height - 0.05,
                )
                for k in range(count)
            )
        )
    else:
        balls = [rod(0, 0, pot_height - 0.05, height - 0.3, 0.03)]
        for _ in range(count):
            ball = trimesh.creation.icosphere(subdivisions=2, radius=rng.uniform(0.1, 0.17))
            away = rng.normal(size=3) * (0.13, 0.13, 0.17)
            ball.apply_translation((away[0], away[1], away[2] + height - 0.35))
            balls.append(ball)
        crown = joined(*balls)
    leaves = textures.marbled(green, shade(green, 0.4), 0.12, any_seed(rng))
    pot = Part(frustum(0, pot_height, radius * 0.75, radius), textures.plain(clay, 0.1, 5))
    return Furniture("plant", (pot, Part(crown, leaves)), (0.7, 0.7, height))


def tv(rng: Generator) -> Furniture:
    """Flat screen on a foot, standing on the floor like a display; dark, with a faint picture."""
    width = rng.uniform(1.0, 1.35)
    w, height = width / 2, 0.56 * width
    low = rng.uniform(0.45, 0.6)
    tone = hue(rng, (0.5, 0.75), (0.5, 0.9), (0.1, 0.35))
    screen = textures.marbled(tone, shade(tone, 3.0), 0.3, any_seed(rng))
    case = joined(
        box((-w, -0.04, low), (w, 0.04, low + height)),
        box((-0.06, -0.05, 0.02), (0.06, 0.02, low + 0.1)),
        box((-0.35, -0.18, 0), (0.35, 0.18, 0.05)),
    )
    glass = box((-w + 0.05, 0.03, low + 0.05), (w - 0.05, 0.05, low + height - 0.05))
    parts = (Part(case, textures.plain((0.015, 0.015, 0.02))), Part(glass, screen, glow=0.08))
    return Furniture("tv", parts, (width, 0.36, low + height))


def rug(rng: Generator) -> Furniture:
    """Flat rectangle with a bordered pattern."""
    width, depth = rng.uniform(2.1, 2.7), rng.uniform(1.6, 2.0)
    first = hue(rng, (0.0, 1.0), (0.5, 0.9), (0.4, 0.8))
    second = hue(rng, (0.0, 1.0), (0.2, 0.7), (0.6, 0.95))
    kind = rng.integers(4)
    inner = (
        textures.stripes(first, second, rng.uniform(0.25, 0.4), 0),
        textures.checker(first, second, rng.uniform(0.2, 0.3), (0, 1)),
        textures.dots(first, second, rng.uniform(0.25, 0.35), (0, 1)),
        textures.marbled(first, second, 0.3, any_seed(rng)),
    )[kind]
    half = (width / 2, depth / 2)
    texture = textures.border(inner, shade(first, 0.5), half, 0.14)
    slab = box((-half[0], -half[1], 0), (half[0], half[1], 0.02))
    return Furniture("rug", (Part(slab, texture),), (width, depth, 0.02))


def picture(rng: Generator) -> Furniture:
    """Framed painting; its back hangs on the wall, z is measured from its centre."""
    width, height = rng.uniform(0.7, 1.2), rng.uniform(0.55, 0.85)
    w, h = width / 2, height / 2
    palette = (
        hue(rng, (0.05, 0.45), (0.4, 0.9), (0.3, 0.7)),
        hue(rng, (0.5, 0.7), (0.3, 0.8), (0.6, 1.0)),
        hue(rng, (0.0, 1.0), (0.6, 0.95), (0.4, 0.9)),
        hue(rng, (0.95, 1.17), (0.5, 0.95), (0.8, 1.0)),
    )
    frame = textures.plain(hue(rng, (0.06, 0.14), (0.2, 0.8), (0.1, 0.7)))
    canvas = textures.painting(palette, min(width, height), any_seed(rng))
    parts = (
        Part(box((-w, -0.02, -h), (w, 0.02, h)), frame),
        Part(box((-w + 0.06, 0.01, -h + 0.06), (w - 0.06, 0.03, h - 0.06)), canvas),
    )
    return Furniture("picture", parts, (width, 0.05, height))


def blinds(rng: Generator) -> Furniture:
    """Window covered by horizontal slats; z is measured from its centre."""
    width, height = rng.uniform(1.1, 1.6), rng.uniform(1.0, 1.3)
    w, h = width / 2, height / 2
    tone = hue(rng, (0.05, 0.6), (0.0, 0.35), (0.75, 1.0))
    cloth = textures.slats(tone, shade(tone, 0.3), rng.uniform(0.11, 0.15))
    parts = (
        Part(box((-w, -0.03, -h), (w, 0.03, h)), cloth, glow=0.12),
        Part(box((-w - 0.04, -0.03, h), (w + 0.04, 0.06, h + 0.08)), textures.plain(tone)),
    )
    return Furniture("blinds", parts, (width, 0.09, height))


def wall_texture(rng: Generator) -> Texture:
    """Paint, wallpaper stripes or bricks."""
    tone = hue(rng, (0.0, 1.0), (0.03, 0.35), (0.7, 0.95))
    kind = rng.random()
    if kind < 0.55:
        return textures.plain(tone, 0.06, any_seed(rng))
    if kind < 0.8:
        pale = textures.stripes(tone, shade(tone, 0.82), rng.uniform(0.3, 0.5), 0)
        return pale
    stone = hue(rng, (0.0, 0.06), (0.3, 0.6), (0.5, 0.75))
    return textures.bricks(stone, (0.5, 0.47, 0.42), rng.uniform(0.14, 0.18), any_seed(rng))


def floor_texture(rng: Generator) -> Texture:
    """Boards, tiles or carpet."""
    kind = rng.random()
    if kind < 0.55:
        tone = hue(rng, (0.05, 0.1), (0.4, 0.7), (0.45, 0.8))
        width = rng.uniform(0.2, 0.3)
        axis = int(rng.integers(2))
        return textures.planks(tone, shade(tone, 0.5), width, axis, any_seed(rng))
    if kind < 0.8:
        tone = hue(rng, (0.0, 1.0), (0.05, 0.3), (0.55, 0.85))
        return textures.checker(tone, shade(tone, 0.5), rng.uniform(0.35, 0.5), (0, 1))
    tone = hue(rng, (0.0, 1.0), (0.1, 0.4), (0.4, 0.65))
    return textures.marbled(tone, shade(tone, 0.7), 0.2, any_seed(rng))


def ceiling_texture(rng: Generator) -> Texture:
    """Nearly white paint."""
    return textures.plain(hue(rng, (0.0, 1.0), (0.0, 0.08), (0.85, 1.0)), 0.03, any_seed(rng))


BUILDERS: dict[str, Callable[[Generator], Furniture]] = {
    "bed": bed,
    "blinds": blinds,
    "bookshelf": bookshelf,
    "cabinet": cabinet,
    "chair": chair,
    "lamp": lamp,
    "picture": picture,
    "plant": plant,
    "rug": rug,
    "sofa": sofa,
    "table": table,
    "tv": tv,
}

CLASSES: tuple[str, ...] = tuple(sorted([*BUILDERS, "ceiling", "floor", "wall"]))
"""The toy vocabulary, the same for every room. Label k of an image is CLASSES[k - 1]; 0 is void."""
