"""Seeded furnished rooms, ray cast with exact labels, written in the Replica folder layout.

A room is a set of placed objects; every function here is pure, and the same seed gives the same
bytes. Lengths in metres, world z up, the room's floor centre at the origin; cameras have OpenCV
axes and rays through pixel centres (`ovnerf/geometry/rays.py`).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import trimesh
from numpy.random import Generator
from numpy.typing import NDArray
from trimesh.ray.ray_pyembree import RayMeshIntersector

from ovnerf.config.frames import MakeRoom
from ovnerf.runtime.errors import UserError
from ovnerf.storage.provenance import file_digest
from ovnerf.toy import furniture
from ovnerf.toy.furniture import BUILDERS, CLASSES, Furniture, Part

Array = NDArray[np.float64]

FIRST_TRAINING_SEED = 1000
"""Toy models are trained on rooms from this seed on; demo rooms have smaller seeds."""
FOCAL_PER_WIDTH = 0.65
"""Focal length over the image width: a horizontal field of view of 75 degrees."""
WALL_CLEARANCE = 0.75
"""Distance of the camera path from the walls, metres."""
AMBIENT = 0.34
SHADOW_BIAS = 2e-3
"""Shadow rays start this far off the surface, metres."""
LIGHT_SAMPLES = np.array([[1, 1, 0], [-1, 1, 0], [1, -1, 0], [-1, -1, 0]]) * 0.16
"""Points of a square lamp around its centre, metres: shadows get soft edges."""


class View(NamedTuple):
    """One rendered view."""

    rgb: NDArray[np.uint8]  # (H, W, 3)
    label: NDArray[np.uint8]  # (H, W), 0 void, else index in CLASSES + 1
    instance: NDArray[np.uint16]  # (H, W), 0 void, else object number + 1
    depth: NDArray[np.float32]  # (H, W), metres along the optical axis, 0 where nothing is hit


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


class Hits(NamedTuple):
    """First hits of rays; rows of misses hold object -1."""

    distance: Array  # (r,) in units of the ray direction
    point: Array  # (r, 3)
    normal: Array  # (r, 3) unit, facing the ray's origin
    part: NDArray[np.int64]  # (r,)
    thing: NDArray[np.int64]  # (r,) object number, -1 for a miss


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
        return trimesh.util.concatenate(meshes)

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


# --- ray casting ----------------------------------------------------------------------------------


def cast(room: Room, origin: Array, direction: Array) -> Hits:
    """First hits of rays (r, 3) + t (r, 3); the direction's length is the unit of distance."""
    face = room.intersector.intersects_first(origin, direction)
    hit = face >= 0
    anchor, normals = (array[face] for array in room.face_planes)
    slope = np.einsum("ij,ij->i", normals, direction)
    reach = np.einsum("ij,ij->i", normals, anchor - origin)
    usable = hit & (np.abs(slope) > 1e-12)
    distance = np.where(usable, reach / np.where(usable, slope, 1.0), 0.0)
    normal = -normals * np.sign(slope)[:, None]
    part = np.where(usable, room.face_part[face], -1)
    thing = np.where(usable, room.part_object[part], -1)
    return Hits(distance, origin + distance[:, None] * direction, normal, part, thing)


def albedo(room: Room, hits: Hits) -> tuple[Array, Array]:
    """Surface colour (r, 3), linear, and glow (r, 1) at hit points; zero for misses."""
    colour = np.zeros((len(hits.part), 3))
    glow = np.zeros((len(hits.part), 1))
    for number in np.unique(hits.part[hits.part >= 0]):
        owner, part = room.parts[number]
        item = room.objects[owner]
        chosen = hits.part == number
        local = (hits.point[chosen] - np.asarray(item.position)) @ item.rotation
        colour[chosen] = part.texture(local)
        glow[chosen] = part.glow
    return np.clip(colour, 0, 1), glow


def lit_share(room: Room, start: Array, light: Array) -> NDArray[np.bool_]:
    """Whether nothing stands between points (r, 3) and a light position (3,)."""
    towards = light - start
    shadow = cast(room, start, towards)
    return (shadow.thing < 0) | (shadow.distance >= 1.0)


def irradiance(room: Room, hits: Hits) -> Array:
    """Light arriving at hit points (r, 3): ambient plus each lamp with soft shadows."""
    start = hits.point + SHADOW_BIAS * hits.normal
    total = AMBIENT * (0.8 + 0.2 * hits.normal[:, 2:]) * np.ones(3)
    for light in room.lights:
        for offset in LIGHT_SAMPLES:
            position = np.asarray(light.position) + offset
            towards = position - start
            square = np.einsum("ij,ij->i", towards, towards)
            facing = np.einsum("ij,ij->i", towards, hits.normal) / np.sqrt(square)
            bright = np.where(facing > 0, facing, 0) / (0.6 + square)
            seen = np.flatnonzero((bright > 1e-3) & (hits.thing >= 0))
            bright[seen] *= lit_share(room, start[seen], position)
            total += bright[:, None] * np.asarray(light.power) / len(LIGHT_SAMPLES)
    return total


def camera_rays(pose: Array, intrinsics: Array, column: Array, row: Array) -> tuple[Array, Array]:
    """World rays (r, 3), (r, 3) through image points in pixels; distance along them is depth."""
    local = np.stack(
        [
            (column - intrinsics[0, 2]) / intrinsics[0, 0],
            (row - intrinsics[1, 2]) / intrinsics[1, 1],
            np.ones_like(column),
        ],
        axis=1,
    )
    direction = np.einsum("ij,rj->ri", pose[:3, :3], local)
    return np.broadcast_to(pose[:3, 3], direction.shape), direction


def render(
    room: Room,
    pose: Array,
    intrinsics: Array,
    height: int,
    width: int,
    supersampling: int = 2,
) -> View:
    """Ray cast one view.

    Args:
        pose: (4, 4) camera-to-world, OpenCV axes, metres.
        intrinsics: (3, 3) in the pixel-centre convention.
        supersampling: k gives the mean colour of k*k rays per pixel. Label, instance and depth
            always come from the pixel centre.
    """
    row, column = (grid.ravel() + 0.5 for grid in np.mgrid[:height, :width].astype(np.float64))
    centre = cast(room, *camera_rays(pose, intrinsics, column, row))
    total = np.zeros((height * width, 3))
    offsets = (np.arange(supersampling) + 0.5) / supersampling - 0.5
    for down in offsets:
        for right in offsets:
            hits = cast(room, *camera_rays(pose, intrinsics, column + right, row + down))
            colour, glow = albedo(room, hits)
            radiance = np.clip(colour * (irradiance(room, hits) + glow), 0, 1)
            total += radiance ** (1 / 2.2)
    rgb = np.rint(255 * total / supersampling**2).astype(np.uint8)
    shape = (height, width)
    return View(
        rgb.reshape(*shape, 3),
        room.labels[centre.thing].reshape(shape),
        (centre.thing + 1).astype(np.uint16).reshape(shape),
        centre.distance.astype(np.float32).reshape(shape),
    )


# --- cameras --------------------------------------------------------------------------------------


def default_intrinsics(width: int, height: int) -> Array:
    """Pinhole matrix (3, 3) with the principal point at the image centre."""
    focal = FOCAL_PER_WIDTH * width
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])


def look_at(eye: Array, target: Array) -> Array:
    """Camera-to-world (4, 4), OpenCV axes, horizon level."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = eye
    return pose


def camera_path(room: Room, frames: int) -> Array:
    """Closed walk (n, 4, 4) around the room, looking across it from changing heights.

    Every surface is seen from several sides, and the gaze sweeps so that neighbouring views overlap
    without being alike.
    """
    width, depth, _ = room.size
    angle = 2 * np.pi * np.arange(frames) / frames
    reach = 1 + 0.08 * np.sin(4 * angle)
    eye = np.stack(
        [
            (width / 2 - WALL_CLEARANCE) * reach * np.cos(angle),
            (depth / 2 - WALL_CLEARANCE) * reach * np.sin(angle),
            1.62 + 0.2 * np.sin(3 * angle),
        ],
        axis=1,
    )
    gaze = angle + np.pi + 0.55 * np.sin(5 * angle + 0.7)
    target = np.stack(
        [
            0.3 * width * np.cos(gaze),
            0.3 * depth * np.sin(gaze),
            0.7 + 0.3 * np.sin(2 * angle + 1.0),
        ],
        axis=1,
    )
    return np.stack([look_at(a, b) for a, b in zip(eye, target, strict=True)])


# --- building a room ------------------------------------------------------------------------------


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
        placed.append(Placed("chair", seat.parts, (*map(float, point), 0.02), facing))
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


# --- the Replica layout ---------------------------------------------------------------------------


def write_png(path: Path, image: NDArray[np.generic]) -> None:
    """Write u8 or u16 (H, W), or u8 RGB (H, W, 3)."""
    pixels = image[..., ::-1] if image.ndim == 3 else image
    if not cv2.imwrite(str(path), np.ascontiguousarray(pixels)):
        raise UserError(f"{path}: could not be written", "is the disk full?")


def matrix_text(matrix: Array) -> str:
    """One line per row, numbers that read back to the same doubles."""
    return "".join(" ".join(repr(float(value)) for value in row) + "\n" for row in matrix)


def write_frames(folder: Path, room: Room, settings: MakeRoom) -> None:
    """Images, labels, poses, intrinsics and classes of one room."""
    intrinsics = default_intrinsics(settings.width, settings.height)
    for name in ("rgb_300", "semantic_300", "instance_300", "pose_300"):
        (folder / name).mkdir(parents=True)
    (folder / "intrinsics.txt").write_text(matrix_text(intrinsics), encoding="utf-8")
    (folder / "classes.txt").write_text("\n".join(("void", *CLASSES)) + "\n", encoding="utf-8")
    for number, pose in enumerate(camera_path(room, settings.frames)):
        view = render(
            room, pose, intrinsics, settings.height, settings.width, settings.supersampling
        )
        write_png(folder / f"rgb_300/rgb_{number:03d}.png", view.rgb)
        write_png(folder / f"semantic_300/semantic_{number:03d}.png", view.label)
        write_png(folder / f"instance_300/instance_{number:03d}.png", view.instance)
        (folder / f"pose_300/pose_{number:03d}.txt").write_text(matrix_text(pose), encoding="utf-8")


def manifest(folder: Path, settings: MakeRoom) -> dict[str, object]:
    """Settings, classes and the sha256 of every file below `folder`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "settings": settings.model_dump(),
        "classes": list(CLASSES),
        "files": {path.relative_to(folder).as_posix(): file_digest(path) for path in files},
    }


def write_room(folder: Path, settings: MakeRoom) -> Room:
    """Build the room of `settings.seed` and render it into `folder`, which is replaced.

    The folder appears complete: everything is written beside it and renamed, `room.json` last.
    """
    room, folder = build_room(settings.seed), folder.resolve()
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        write_frames(temporary, room, settings)
        summary = manifest(temporary, settings)
        (temporary / "room.json").write_text(
            json.dumps(summary, indent=1, sort_keys=True) + "\n", encoding="utf-8"
        )
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return room
