"""Photos and label maps at another size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ovnerf.runtime.errors import UserError


def check_size(path: Path, found: tuple[int, ...], expected: tuple[int, int], like: Path) -> None:
    """UserError unless an image has the height and width of the scene's first image."""
    if tuple(found[:2]) != expected:
        raise UserError(
            f"{path}: found size {found[1]}x{found[0]}, expected {expected[1]}x{expected[0]} "
            f"as {like.name}",
            "all images of a scene come from one camera at one size",
        )


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
