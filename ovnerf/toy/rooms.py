"""Furnished rooms, each built from a seed: the same seed gives the same room.

Lengths are in metres, the world's z axis points up, the origin is the centre of the floor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import trimesh
from numpy.random import Generator
from numpy.typing import NDArray
from trimesh.ray.ray_pyembree import RayMeshIntersector

from ovnerf.toy import furniture
from ovnerf.toy.furniture import BUILDERS, CLASSES, Furniture, Part
from ovnerf.toy.meshes import joined

Array = NDArray[np.float64]

FIRST_TRAINING_SEED = 1000
"""Toy models are trained on rooms from this seed on; demo rooms have smaller seeds."""


@dataclass(frozen=True)
class Placed:
    """An object in the room: position of its origin and turn about the vertical, radians."""

    name: str
    parts: tuple[Part, ...]
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    yaw: float = 0.0

    @property
    def rotation(self) -> Array:
        """Object-to-world rotation (3, 3)."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Light:
    """A lamp without shape: position, metres, and brightness at one metre (linear RGB)."""

    position: tuple[float, float, float]
    power: tuple[float, float, float]


@dataclass(frozen=True)
class Room:
    """Objects and lights; `size` is (width, depth, height) and None for hand-made test scenes."""

    seed: int
    size: tuple[float, float, float]
    objects: tuple[Placed, ...]
    lights: tuple[Light, ...]

    @cached_property
    def parts(self) -> tuple[tuple[int, Part], ...]:
        """(object number, part) of every part, in the order of the merged mesh."""
        return tuple((k, part) for k, item in enumerate(self.objects) for part in item.parts)

    @cached_property
    def mesh(self) -> trimesh.Trimesh:
        """All parts in world axes as one mesh."""
        meshes = []
        for number, part in self.parts:
            item = self.objects[number]
            vertices = part.mesh.vertices @ item.rotation.T + np.asarray(item.position)
            meshes.append(trimesh.Trimesh(vertices, part.mesh.faces, process=False))
        return joined(*meshes)

    @cached_property
    def face_part(self) -> NDArray[np.int64]:
        """Part number of every face of `mesh` (f,)."""
        counts = [len(part.mesh.faces) for _, part in self.parts]
        return np.repeat(np.arange(len(counts)), counts)

    @cached_property
    def part_object(self) -> NDArray[np.int64]:
        """Object number of every part (p,)."""
        return np.array([number for number, _ in self.parts])

    @cached_property
    def intersector(self) -> RayMeshIntersector:
        """Embree's search tree over `mesh`."""
        return RayMeshIntersector(self.mesh)

    @cached_property
    def face_planes(self) -> tuple[Array, Array]:
        """A vertex (f, 3) and the unit normal (f, 3) of every face."""
        corners = self.mesh.vertices[self.mesh.faces]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        return corners[:, 0], normal / np.maximum(length, 1e-12)

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """Label of every object, with a last entry 0 for misses (o + 1,)."""
        return np.array([*(CLASSES.index(item.name) + 1 for item in self.objects), 0], np.uint8)


class Rectangle(NamedTuple):
    """Footprint on the floor."""

    left: float
    right: float
    front: float
    back: float

    def overlaps(self, other: Rectangle, margin: float) -> bool:
        """Whether two footprints come closer than `margin` metres."""
        return (
            self.left < other.right + margin
            and other.left < self.right + margin
            and self.front < other.back + margin
            and other.front < self.back + margin
        )


WALL_YAWS = (0.0, np.pi / 2, np.pi, 3 * np.pi / 2)
"""Yaw of an object whose back is at the south, east, north, west wall: its front faces the room."""


def wall_shell(size: tuple[float, float, float], rng: Generator) -> list[Placed]:
    """Floor, ceiling and four walls, each an object of its own."""
    width, depth, height = size
    w, d, thick = width / 2, depth / 2, 0.1
    ground = Part(furniture.box((-w, -d, -thick), (w, d, 0)), furniture.floor_texture(rng))
    lid = Part(
        furniture.box((-w, -d, height), (w, d, height + thick)), furniture.ceiling_texture(rng)
    )
    shell = [Placed("floor", (ground,)), Placed("ceiling", (lid,))]
    common = furniture.wall_texture(rng)
    accent = furniture.wall_texture(rng) if rng.random() < 0.5 else common
    accented = int(rng.integers(4))
    for side, yaw in enumerate(WALL_YAWS):
        half = (w if side % 2 == 0 else d) + thick
        slab = furniture.box((-half, -thick, 0), (half, 0, height))
        position = wall_point(size, side, 0.0, 0.0)
        texture = accent if side == accented else common
        shell.append(Placed("wall", (Part(slab, texture),), (*position, 0.0), yaw))
    return shell


def wall_point(
    size: tuple[float, float, float], side: int, along: float, inward: float
) -> tuple[float, float]:
    """Floor point at `along` metres from the middle of a wall and `inward` metres into the room."""
    yaw = WALL_YAWS[side]
    distance = (size[1] if side % 2 == 0 else size[0]) / 2 - inward
    right = np.array([np.cos(yaw), np.sin(yaw)])
    inwards = np.array([-np.sin(yaw), np.cos(yaw)])
    x, y = along * right - distance * inwards
    return float(x), float(y)


def footprint(item: Furniture, centre: tuple[float, float], side: int) -> Rectangle:
    """Rectangle of an object whose back is to wall `side`."""
    half = np.array(item.size[:2]) / 2
    if side % 2 == 1:
        half = half[::-1]
    return Rectangle(
        centre[0] - half[0], centre[0] + half[0], centre[1] - half[1], centre[1] + half[1]
    )


def against_walls(
    items: Iterable[Furniture],
    size: tuple[float, float, float],
    taken: list[Rectangle],
    rng: Generator,
) -> list[Placed]:
    """Stand objects with their backs to walls; what finds no room in 300 tries is left out."""
    placed = []
    for item in items:
        for _ in range(300):
            side = int(rng.integers(4))
            length = size[side % 2]
            slack = length / 2 - item.size[0] / 2 - 0.06
            along = float(rng.uniform(-slack, slack))
            if item.name in ("bed", "lamp", "plant"):
                along = float(np.sign(along) * slack)
            centre = wall_point(size, side, along, item.size[1] / 2 + 0.05)
            space = footprint(item, centre, side)
            if any(space.overlaps(other, 0.06) for other in taken):
                continue
            taken.append(space)
            placed.append(Placed(item.name, item.parts, (*centre, 0.0), WALL_YAWS[side]))
            break
    return placed


def on_walls(
    items: Iterable[Furniture],
    size: tuple[float, float, float],
    tall: Sequence[Rectangle],
    rng: Generator,
) -> list[Placed]:
    """Hang objects on free stretches of wall above the furniture; what does not fit is left out."""
    placed = []
    taken = list(tall)
    for item in items:
        for _ in range(80):
            side = int(rng.integers(4))
            slack = size[side % 2] / 2 - item.size[0] / 2 - 0.2
            along = float(rng.uniform(-slack, slack))
            height = 1.45 if item.name == "blinds" else float(rng.uniform(1.5, 1.65))
            centre = wall_point(size, side, along, item.size[1] / 2)
            space = footprint(item, centre, side)
            if any(space.overlaps(other, 0.12) for other in taken):
                continue
            taken.append(space)
            placed.append(Placed(item.name, item.parts, (*centre, height), WALL_YAWS[side]))
            break
    return placed


def dining_group(
    size: tuple[float, float, float], taken: list[Rectangle], rng: Generator
) -> list[Placed]:
    """A table near the middle of the room on a rug, with two to four chairs facing it."""
    top = BUILDERS["table"](rng)
    centre = rng.uniform(-0.25, 0.25, 2)
    yaw = float(rng.integers(2)) * np.pi / 2 + float(rng.uniform(-0.15, 0.15))
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    reach = np.abs(turn) @ np.array(top.size[:2]) / 2 + 0.3
    x, y = float(centre[0]), float(centre[1])
    taken.append(Rectangle(x - reach[0], x + reach[0], y - reach[1], y + reach[1]))
    placed = [Placed("table", top.parts, (x, y, 0.02), yaw)]
    carpet = BUILDERS["rug"](rng)
    if rng.random() < 0.85:
        placed.append(Placed("rug", carpet.parts, (x, y, 0.0), yaw))
    seat = BUILDERS["chair"](rng)
    for side in rng.permutation(4)[: int(rng.integers(2, 4))]:
        outwards = np.array([np.sin(side * np.pi / 2), -np.cos(side * np.pi / 2)])
        away = top.size[1 - side % 2] / 2 + float(rng.uniform(0.1, 0.2))
        point = centre + turn @ (outwards * away)
        # Its front (+y) looks at the table, so its back is on the outer side.
        facing = yaw + side * np.pi / 2 + float(rng.uniform(-0.2, 0.2))
        position = (float(point[0]), float(point[1]), 0.02)
        placed.append(Placed("chair", seat.parts, position, facing))
    return placed


def room_lights(size: tuple[float, float, float], rng: Generator) -> tuple[Light, Light]:
    """A warm and a cool light under the ceiling, in different halves of the room."""
    width, depth, height = size
    warm = (float(rng.uniform(0.15, 0.3)) * width, float(rng.uniform(-0.25, 0.25)) * depth)
    cool = (-float(rng.uniform(0.15, 0.3)) * width, float(rng.uniform(-0.25, 0.25)) * depth)
    power = float(rng.uniform(2.1, 2.6))
    return (
        Light((*warm, height - 0.45), (power, 0.93 * power, 0.8 * power)),
        Light((*cool, height - 0.45), (0.75 * power, 0.83 * power, 0.9 * power)),
    )


def build_room(seed: int) -> Room:
    """The furnished room of a seed: layout, shapes, colours and the choice of objects."""
    rng = np.random.default_rng([seed, 20240501])
    size = (
        float(rng.uniform(4.7, 5.4)),
        float(rng.uniform(4.1, 4.7)),
        float(rng.uniform(2.4, 2.6)),
    )
    objects = wall_shell(size, rng)
    taken: list[Rectangle] = []
    group = dining_group(size, taken, rng)
    large = ["bed", "sofa"] if rng.random() < 0.6 else [str(rng.choice(["sofa", "bed"]))]
    names = [*large, "bookshelf", "cabinet", "tv", "plant", "lamp", "bookshelf", "plant"]
    dropped = str(rng.choice(["tv", "cabinet", "none", "none"]))
    names = [name for name in names if name != dropped]
    names += ["cabinet"] if len(large) == 1 else []
    standing = against_walls((BUILDERS[name](rng) for name in names), size, taken, rng)
    tall = [
        space
        for space, item in zip(taken[1:], standing, strict=True)
        if item.name in ("bookshelf", "lamp", "plant", "tv")
    ]
    hung = ["blinds"] * int(rng.integers(1, 3)) + ["picture"] * int(rng.integers(3, 6))
    hanging = on_walls((BUILDERS[name](rng) for name in hung), size, tall, rng)
    lights = room_lights(size, rng)
    return Room(seed, size, (*objects, *group, *standing, *hanging), lights)
