"""Labels of LERF-OVS scenes: phrases with outlines and boxes, for some frames.

A folder `label/<scene>` holds `frame_00041.json` for the photo `frame_00041`: `info` with the
photo's width and height, and `objects`, each with `category` (the phrase), `bbox` (x0, y0, x1, y1
in pixels of the photo) and `segmentation` (corners of an outline). A phrase may have several.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ovnerf.geometry.lens import PhotoLens
from ovnerf.runtime.errors import UserError
from ovnerf.storage.documents import read_json
from ovnerf.storage.sizes import resize_labels
from ovnerf.storage.text import clean_name

FORM = "expected LERF-OVS: info.width, info.height and objects with category, bbox, segmentation"
SAME_SHAPE = 0.03
"""Share by which width over height of labels and photos may differ: sizes are rounded."""
BEYOND = 0.02
"""Share of the photo's size by which an outline may leave it: annotators click beside the edge."""


@dataclass(frozen=True)
class LabelledObject:
    """One labelled object of a frame.

    Attributes:
        category: the phrase. mask: bool (H, W). box: x0, y0, x1, y1 in pixels of the mask.
    """

    category: str
    mask: np.ndarray
    box: tuple[float, float, float, float]


def read_lerf_labels(
    folder: Path, size: tuple[int, int], lens: PhotoLens | None = None
) -> dict[str, list[LabelledObject]]:
    """The labelled objects of each frame, by the frame's name.

    Args:
        size: (height, width) that masks and boxes are scaled to.
        lens: of the photos, where the frames are undistorted; masks and boxes are, too.

    Raises:
        UserError: no file is there, or one is not of this form.
    """
    # Names that begin with a dot are notes of a system, like those of macOS beside every file.
    paths = sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))
    if not paths:
        raise UserError(f"{folder}: found no *.json file, expected one for each labelled frame")
    return {path.stem: read_frame(path, size, lens) for path in paths}


def read_frame(path: Path, size: tuple[int, int], lens: PhotoLens | None) -> list[LabelledObject]:
    """The labelled objects of one frame."""
    content = read_json(path)
    try:
        native = int(content["info"]["height"]), int(content["info"]["width"])
        if min(native) < 1:
            raise ValueError(f"size {native[1]}x{native[0]}")
        if abs(native[1] / native[0] / (size[1] / size[0]) - 1) > SAME_SHAPE:
            raise ValueError(
                f"size {native[1]}x{native[0]}, which has not the shape of the photos "
                f"({size[1]}x{size[0]})"
            )
        return [labelled_object(path, entry, native, size, lens) for entry in content["objects"]]
    except (KeyError, TypeError, ValueError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path}: found {problem}, {FORM}") from None


def labelled_object(
    path: Path,
    entry: dict[str, Any],
    native: tuple[int, int],
    size: tuple[int, int],
    lens: PhotoLens | None,
) -> LabelledObject:
    """One object; its outline is filled at the photo's size, undistorted, then scaled."""
    outline = np.asarray(entry["segmentation"], dtype=np.float64).reshape(-1, 2)
    box = np.asarray(entry["bbox"], dtype=np.float64).reshape(4)
    if not (np.isfinite(outline).all() and np.isfinite(box).all() and len(outline) > 2):
        raise ValueError("an outline of fewer than three corners, or numbers that are not finite")
    check_outline(outline, box, native)
    filled = np.zeros(native, dtype=np.uint8)
    cv2.fillPoly(filled, [np.rint(outline).astype(np.int32)], 1)
    if lens is not None:
        filled, box = lens.undistort(filled, outside=0), straight_box(box, native, lens)
    factor = np.array([size[1] / native[1], size[0] / native[0]] * 2)
    return LabelledObject(
        clean_name(str(entry["category"]), str(path)),
        resize_labels(filled, size) > 0,
        tuple(map(float, box * factor)),  # type: ignore[arg-type]
    )


def check_outline(outline: np.ndarray, box: np.ndarray, native: tuple[int, int]) -> None:
    """ValueError for an outline (n, 2) or a box x0, y0, x1, y1 that is not in pixels of the photo.

    Shares of the photo's size and a box of x, y, width, height would be scored as other places.
    """
    side = np.array([native[1], native[0]])
    low, high = outline.min(0), outline.max(0)
    if (low < -BEYOND * side).any() or (high > (1 + BEYOND) * side).any():
        raise ValueError(f"an outline that leaves the photo of {side[0]}x{side[1]}")
    if (high - low < 2).all():
        raise ValueError("an outline smaller than two pixels")
    if (box[:2] >= box[2:]).any():
        raise ValueError(f"bbox {box.tolist()}, which is not x0, y0, x1, y1")
    if (box[:2] >= high).any() or (box[2:] <= low).any():
        raise ValueError(f"bbox {box.tolist()} beside its outline")


def straight_box(box: np.ndarray, native: tuple[int, int], lens: PhotoLens) -> np.ndarray:
    """f64 (4,): the box around what the undistorted photo shows of a box; zeros if nothing."""
    row, column = np.indices(native) + 0.5
    x0, y0, x1, y1 = box
    inside = (x0 <= column) & (column <= x1) & (y0 <= row) & (row <= y1)
    seen = lens.undistort(inside.astype(np.uint8), outside=0)
    if not seen.any():
        return np.zeros(4)
    across, down = (np.flatnonzero(seen.any(axis)) for axis in (0, 1))
    return np.array([across[0], down[0], across[-1] + 1, down[-1] + 1], dtype=np.float64)
