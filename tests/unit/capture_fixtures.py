"""Pictures of a box-shaped room with textured walls, as quick to make as they are to match."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT, FOCAL = 240, 180, 190.0
SIZE = np.array([4.0, 3.0, 2.4])
"""Width, depth and height of the room in metres; its floor is z = 0 and (0, 0) its middle."""
TEXELS = 90
"""Texture pixels a metre."""


@lru_cache
def texture(seed: int) -> np.ndarray:
    """Blobs and corners of several sizes, u8 (s, s, 3)."""
    random = np.random.default_rng(seed)
    side = int(TEXELS * SIZE.max())
    total = np.zeros((side, side, 3), np.float32)
    for cells, weight in ((6, 0.6), (24, 1.0), (70, 1.0)):
        noise = random.random((cells, cells, 3)).astype(np.float32)
        total += weight * cv2.resize(noise, (side, side), interpolation=cv2.INTER_NEAREST)
    total -= total.min()
    return (255 * total / total.max()).astype(np.uint8)


def look(eye: Sequence[float], target: Sequence[float]) -> np.ndarray:
    """Camera-to-world (4, 4), OpenCV axes, horizon level."""
    forward = np.subtract(target, eye) / np.linalg.norm(np.subtract(target, eye))
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.column_stack([right, np.cross(forward, right), forward, eye])
    return pose


def picture(pose: np.ndarray, room: int = 0) -> np.ndarray:
    """What a camera in the room sees, u8 RGB (HEIGHT, WIDTH, 3).

    Args:
        room: rooms of other numbers have other walls.
    """
    row, column = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    local = np.stack([(column - WIDTH / 2) / FOCAL, (row - HEIGHT / 2) / FOCAL, 1 + 0 * row], -1)
    direction = local @ pose[:3, :3].T
    low, high = np.array([-0.5, -0.5, 0]) * SIZE, np.array([0.5, 0.5, 1]) * SIZE
    with np.errstate(divide="ignore"):
        reach = np.where(direction > 0, high - pose[:3, 3], low - pose[:3, 3]) / direction
    axis = reach.argmin(-1)
    hit = pose[:3, 3] + direction * reach.min(-1, keepdims=True) - low
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for number in range(6):
        chosen = (axis == number // 2) & ((direction[..., number // 2] > 0) == number % 2)
        across, along = (hit[..., other] for other in range(3) if other != number // 2)
        place = [(TEXELS * part).astype(np.float32) for part in (across, along)]
        seen = cv2.remap(texture(10 * room + number), *place, cv2.INTER_LINEAR)
        image[chosen] = seen[chosen]
    return image


def walk(count: int) -> list[np.ndarray]:
    """Cameras along an arc before a corner of the room, all looking into it."""
    angle = np.linspace(-0.6, 0.6, count)
    eyes = np.column_stack(
        [0.9 * np.sin(angle) - 0.6, 0.3 * np.cos(angle) - 0.3, 1.3 + 0.2 * np.sin(3 * angle)]
    )
    return [look(eye, (0.9, 0.9, 1)) for eye in eyes]


def turn(count: int) -> list[np.ndarray]:
    """Cameras that look around from one place."""
    return [look((0, 0, 1.3), (np.sin(a), np.cos(a), 1.1)) for a in np.linspace(0, 1.5, count)]


def write_photos(folder: Path, pictures: Sequence[np.ndarray]) -> Path:
    """A folder of PNG photos."""
    folder.mkdir(parents=True)
    for number, image in enumerate(pictures):
        cv2.imwrite(str(folder / f"photo_{number:02d}.png"), image[..., ::-1])
    return folder


def write_video(path: Path, pictures: Sequence[np.ndarray], rate: float = 10.0) -> Path:
    """An MPEG-4 video in an MP4 file."""
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (width, height))
    for image in pictures:
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()
    return path
