"""Views of toy rooms by ray casting: colour, exact labels, and the cameras that see them.

Lengths are in metres; cameras have OpenCV axes and rays through pixel centres
(`ovnerf/geometry/rays.py`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovnerf.toy.rooms import Room

Array = NDArray[np.float64]

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


class Hits(NamedTuple):
    """First hits of rays; rows of misses hold object -1."""

    distance: Array  # (r,) in units of the ray direction
    point: Array  # (r, 3)
    normal: Array  # (r, 3) unit, facing the ray's origin
    part: NDArray[np.int64]  # (r,)
    thing: NDArray[np.int64]  # (r,) object number, -1 for a miss


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
