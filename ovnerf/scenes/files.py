"""Single files of a scene -> arrays, each checked where it is read: matrices, sizes, names."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ovnerf.errors import UserError
from ovnerf.text import clean_name, read_lines, read_text

ROTATION_TOLERANCE = 1e-2


def check_size(path: Path, found: tuple[int, ...], expected: tuple[int, int], like: Path) -> None:
    """UserError unless an image has the height and width of the scene's first image."""
    if tuple(found[:2]) != expected:
        raise UserError(
            f"{path}: found size {found[1]}x{found[0]}, expected {expected[1]}x{expected[0]} "
            f"as {like.name}",
            "all images of a scene come from one camera at one size",
        )


def read_numbers(path: Path) -> list[list[float]]:
    """Rows of whitespace- or comma-separated numbers; UserError naming a line that is not."""
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            row = [float(part) for part in line.replace(",", " ").split()]
        except ValueError:
            raise UserError(
                f"{path}, line {number}: found {line.strip()!r}, expected numbers"
            ) from None
        if row:
            rows.append(row)
    return rows


def pose_matrix(values: Iterable[float], where: str) -> np.ndarray:
    """f64 (4, 4) camera-to-world, checked: 16 finite numbers, rotation, last row 0 0 0 1."""
    flat = np.asarray(list(values), dtype=np.float64)
    if flat.size != 16:
        raise UserError(
            f"{where}: found {flat.size} numbers, expected 16 (4x4 camera-to-world)",
            "write the matrix row by row",
        )
    pose = flat.reshape(4, 4)
    if not np.isfinite(pose).all():
        raise UserError(
            f"{where}: found a non-finite pose, expected 16 finite numbers",
            "the tracker lost this frame: remove its image and pose",
        )
    rotation = pose[:3, :3]
    off = np.abs(rotation @ rotation.T - np.eye(3)).max()
    if off > ROTATION_TOLERANCE or np.linalg.det(rotation) < 0:
        raise UserError(
            f"{where}: the 3x3 block is not a rotation (determinant "
            f"{np.linalg.det(rotation):.3f}), expected camera-to-world without scale or mirror"
        )
    if np.abs(pose[3] - (0, 0, 0, 1)).max() > ROTATION_TOLERANCE:
        raise UserError(f"{where}: found last row {pose[3].tolist()}, expected 0 0 0 1")
    return pose


def scale_camera(matrix: np.ndarray, native: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Intrinsics of the same camera at another (height, width).

    With pixel centres at +0.5 a resize is a plain scaling of both rows.
    """
    scaled = matrix.copy()
    scaled[0] *= size[1] / native[1]
    scaled[1] *= size[0] / native[0]
    return scaled


def resize_rgb(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """u8 (H, W, 3) at another (height, width): area mean when shrinking, Lanczos when growing."""
    if image.shape[:2] == size:
        return image
    shrinks = size[0] <= image.shape[0] and size[1] <= image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4
    return cv2.resize(image, (size[1], size[0]), interpolation=how)


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) at another (height, width): the label under each new pixel's centre, never a mix."""
    row = pixel_under_centre(labels.shape[0], size[0])
    column = pixel_under_centre(labels.shape[1], size[1])
    return labels[row[:, None], column[None, :]]


def pixel_under_centre(native: int, wanted: int) -> np.ndarray:
    """Native pixel index below the centre of each of `wanted` pixels: floor((i + 0.5) s)."""
    return ((np.arange(wanted) * 2 + 1) * native) // (2 * wanted)


def target_size(native: tuple[int, int], width: int | None, height: int | None) -> tuple[int, int]:
    """(height, width) asked for; a missing side follows the aspect ratio."""
    if width and height:
        return height, width
    if width:
        return round(native[0] * width / native[1]), width
    if height:
        return height, round(native[1] * height / native[0])
    return native


def check_classes(names: dict[int, str], path: Path) -> dict[int, str]:
    """File id -> class name, in the form they are compared in (`clean_name`).

    Raises:
        UserError: there is none, one has no name or a name with unseen characters, or two have the
            same name.
    """
    names = {
        identity: clean_name(name, f"{path}, class {identity}") for identity, name in names.items()
    }
    if not names:
        raise UserError(
            f"{path}: the class list is empty, expected at least one class besides void"
        )
    seen: dict[str, int] = {}
    for identity, name in names.items():
        if not name:
            raise UserError(f"{path}: class {identity} has no name, expected text")
        if name in seen:
            raise UserError(
                f"{path}: class {name!r} appears twice (ids {seen[name]} and {identity}), "
                "expected once",
                "rename or merge one of the two",
            )
        seen[name] = identity
    return names


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; UserError when it is anything else."""
    try:
        found = json.loads(read_text(path), object_pairs_hook=without_repeats)
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: found a {type(found).__name__}, expected a JSON object")
    return found


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The keys and values of a JSON object; ValueError for a key that is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} twice")
    return found


def read_names(path: Path) -> list[str]:
    """Class names, one per line; UserError when there is none or one is there twice."""
    lines = read_lines(path)
    names = {number: line for number, line in enumerate(lines, start=1) if line.strip()}
    return list(check_classes(names, path).values())
