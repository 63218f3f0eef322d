"""Tiny scene folders in both layouts, and a textured room whose bounds are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("chair", "floor", "wall")
HEIGHT, WIDTH = 24, 32


def camera_at(x: float, y: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    """A level camera (z up) at (x, y, 1.2) whose optical axis has this yaw (radians)."""
    forward = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, (0, 0, -1), forward], axis=1)
    pose[:3, 3] = (x, y, 1.2)
    return pose


def hand_held(count: int) -> np.ndarray:
    """Cameras (count, 4, 4) that walk and turn through a room of 5 x 4 m, nodding and swaying.

    Cameras that stay level on one height would fit mirrored points, too.
    """
    poses = []
    for index in range(count):
        angle = 0.15 * np.sin(index)
        nod = np.eye(4)
        nod[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        pose = camera_at(1.5 + 0.15 * index, 1.2 + 0.1 * (index % 4), 1.2 + 0.07 * index) @ nod
        pose[2, 3] += 0.2 * np.cos(2 * index)
        poses.append(pose)
    return np.stack(poses)


def photo(index: int) -> np.ndarray:
    """A smooth u8 picture that differs per frame."""
    row, column = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([row * 10, column * 7, np.full_like(row, 20 * index % 256)], -1).astype(
        np.uint8
    )


def label(index: int) -> np.ndarray:
    """u8 ids: floor (2) below, wall (3) above, a chair (1), one void column."""
    ids = np.full((HEIGHT, WIDTH), 3, dtype=np.uint8)
    ids[HEIGHT // 2 :] = 2
    ids[10:14, 4 + index % 8 : 8 + index % 8] = 1
    ids[:, -1] = 0
    return ids


def matrix_text(matrix: np.ndarray) -> str:
    return "\n".join(" ".join(f"{value:.9f}" for value in row) for row in matrix) + "\n"


def intrinsics() -> np.ndarray:
    return np.array([[30.0, 0, WIDTH / 2], [0, 30.0, HEIGHT / 2], [0, 0, 1]])


def write_replica(folder: Path, frames: int = 12) -> Path:
    """A scene folder in the `replica` layout."""
    for name in ("rgb_300", "semantic_300", "pose_300"):
        (folder / name).mkdir(parents=True)
    for index in range(frames):
        Image.fromarray(photo(index)).save(folder / f"rgb_300/rgb_{index:03d}.png")
        Image.fromarray(label(index)).save(folder / f"semantic_300/semantic_class_{index:03d}.png")
        pose = camera_at(0.1 * index)
        (folder / f"pose_300/pose_{index:03d}.txt").write_text(matrix_text(pose))
    (folder / "intrinsics.txt").write_text(matrix_text(intrinsics()))
    (folder / "classes.txt").write_text("void\n" + "\n".join(CLASSES) + "\n")
    return folder


def write_semantic_nerf(folder: Path, frames: int = 12) -> Path:
    """The same scene in the `semantic_nerf` layout, names without zero padding."""
    for name in ("rgb", "semantic_class"):
        (folder / name).mkdir(parents=True)
    rows = []
    for index in range(frames):
        Image.fromarray(photo(index)).save(folder / f"rgb/rgb_{index}.png")
        Image.fromarray(label(index)).save(folder / f"semantic_class/semantic_class_{index}.png")
        rows.append(" ".join(f"{value:.9f}" for value in camera_at(0.1 * index).ravel()))
    (folder / "traj_w_c.txt").write_text("\n".join(rows) + "\n")
    (folder / "intrinsics.txt").write_text(matrix_text(intrinsics()))
    items = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    (folder / "info_semantic.json").write_text(json.dumps({"classes": items}))
    return folder


def textured_room(
    size: tuple[float, float, float], poses: np.ndarray, camera: np.ndarray, shape: tuple[int, int]
) -> list[np.ndarray]:
    """Photos u8 (H, W, 3) of the inside of the box (0, 0, 0) - size, noise on every wall."""
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (6, 64, 64, 3))
    row, column = np.mgrid[: shape[0], : shape[1]] + 0.5
    local = np.stack(
        [(column - camera[0, 2]) / camera[0, 0], (row - camera[1, 2]) / camera[1, 1]], axis=-1
    )
    local = np.concatenate([local, np.ones((*shape, 1))], axis=-1)
    photos = []
    for pose in poses:
        ray = local @ pose[:3, :3].T
        ray = np.where(np.abs(ray) < 1e-9, 1e-9, ray)
        reach = np.where(ray > 0, (np.array(size) - pose[:3, 3]) / ray, -pose[:3, 3] / ray)
        axis = reach.argmin(-1)
        hit = pose[:3, 3] + reach.min(-1, keepdims=True) * ray
        wall = 2 * axis + (np.take_along_axis(ray, axis[..., None], -1)[..., 0] > 0)
        others = np.array([[1, 2], [0, 2], [0, 1]])[axis]
        cell = np.floor(np.take_along_axis(hit, others, -1) * 12).astype(int) % 64
        photos.append(noise[wall, cell[..., 0], cell[..., 1]].astype(np.uint8))
    return photos
