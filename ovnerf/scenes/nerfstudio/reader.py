"""Reader of the `nerfstudio` layout: one `transforms.json`.

    scene/
      transforms.json  {"fl_x", "fl_y", "cx", "cy", "w", "h", "k1" ..., "frames": [
                         {"file_path": "images/1.png", "transform_matrix": 4x4}, ...]}
      images/          photos, wherever `file_path` says
      classes.txt      optional, one class name per line, no void

Poses are camera-to-world with OpenGL camera axes (x right, y up, z back) and are flipped to
OpenCV's. Camera values may stand in each frame instead; they must agree. Distorted photos are
undistorted when read. The file's units are kept. `transforms.py` lists which keys are ignored and
which are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from ovnerf.geometry.lens import Lens
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.lens import COEFFICIENTS, checked_lens, one_lens, undistorted
from ovnerf.scenes.listing import Listing
from ovnerf.scenes.pinhole import check_camera_size
from ovnerf.scenes.poses import pose_matrix
from ovnerf.scenes.reader import SceneReader, listed_classes
from ovnerf.scenes.transforms import MODELS
from ovnerf.storage.documents import read_json

OPENGL_TO_OPENCV = (1.0, -1.0, -1.0, 1.0)
"""Signs of a pose's columns: OpenGL's camera axes are x right, y up, z back."""
NUMBERS = ("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x", "camera_angle_y", *COEFFICIENTS)
SAME_FOCAL = 0.01
"""Relative difference of a focal length and the angle beside it that rounding explains."""


def entries(listing: Listing) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The whole file and the listed frames' entries."""
    content = read_json(listing.poses[0])
    return content, [content["frames"][entry] for entry in listing.rows()]


def poses(listing: Listing) -> np.ndarray:
    """f64 (n, 4, 4) camera-to-world, OpenCV axes."""
    found = []
    for name, entry in zip(listing.names, entries(listing)[1], strict=True):
        where = f"{listing.poses[0]}, frame {name}"
        try:
            values = np.array(entry["transform_matrix"], dtype=np.float64).ravel()
        except (KeyError, ValueError, TypeError):
            raise UserError(f"{where}: no transform_matrix of numbers, expected 4x4") from None
        found.append(pose_matrix(values, where))
    return np.stack(found) * OPENGL_TO_OPENCV


def lens(listing: Listing, width: int, height: int) -> Lens:
    """The one camera of the listed frames."""
    path = str(listing.poses[0])
    content, frames = entries(listing)
    named = [
        (f"frame {name}", frame_lens({**content, **frame}, path, (width, height)))
        for name, frame in zip(listing.names, frames, strict=True)
    ]
    found = one_lens(path, named, "keep the frames of one camera and one zoom")
    return checked_lens(found, path, width, height)


def frame_lens(values: dict[str, Any], where: str, size: tuple[int, int]) -> Lens:
    """The camera of one frame, whose photo has this (width, height).

    The centre is the middle of the photo, and the other focal length the same, where they are
    missing; the focal lengths may be given as angles.
    """
    numbers = camera_values(values, where)
    check_camera_size(where, (numbers.get("w", size[0]), numbers.get("h", size[1])), size)
    of_angles = focal_of_angles(numbers, where, size)
    for key, meant in of_angles.items():
        if abs(numbers.get(key, meant) / meant - 1) > SAME_FOCAL:
            raise UserError(
                f"{where}: found {key} {numbers[key]:g} and an angle that means {meant:g}, "
                "expected one focal length",
                f"remove {key.replace('fl_', 'camera_angle_')} or {key}, whichever is wrong",
            )
    focal = {**of_angles, **numbers}
    if "fl_x" not in focal:
        raise UserError(f"{where}: found neither fl_x nor camera_angle_x, expected one")
    fx, cx, cy = focal["fl_x"], numbers.get("cx", size[0] / 2), numbers.get("cy", size[1] / 2)
    matrix = np.array([[fx, 0, cx], [0, focal.get("fl_y", fx), cy], [0, 0, 1]])
    k1, k2, p1, p2, k3 = (numbers.get(key, 0.0) for key in COEFFICIENTS)
    return Lens(matrix, (k1, k2, p1, p2, k3))


def focal_of_angles(
    numbers: dict[str, float], where: str, size: tuple[int, int]
) -> dict[str, float]:
    """`fl_x` and `fl_y` in pixels, each where its angle is given, for photos of (width, height)."""
    found = {}
    for axis, side in zip("xy", size, strict=True):
        angle = numbers.get(f"camera_angle_{axis}")
        if angle is None:
            continue
        if not 0 < angle < np.pi:
            raise UserError(
                f"{where}: found camera_angle_{axis} {angle:g}, expected more than 0 and less than "
                "3.1416",
                "angles are in radians, not in degrees",
            )
        found[f"fl_{axis}"] = float(side / 2 / np.tan(angle / 2))
    return found


def camera_values(values: dict[str, Any], where: str) -> dict[str, float]:
    """The camera's numbers of one frame; UserError for distortion that its model does not have."""
    try:
        found = {key: float(values[key]) for key in NUMBERS if values.get(key) is not None}
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: a camera value is not a number ({error})") from None
    model = str(values.get("camera_model") or "OPENCV")
    for key in COEFFICIENTS:
        if found.get(key) and key not in MODELS[model]:
            raise UserError(
                f"{where}: found camera_model {model} with {key} {found[key]:g}, expected "
                f"{', '.join(MODELS[model]) or 'no distortion'}",
                "OPENCV has them all; remove those that the photos do not have",
            )
    return found


def intrinsics(listing: Listing, width: int, height: int) -> np.ndarray:
    """f64 (3, 3) of the undistorted photos, pixel centres at +0.5."""
    return lens(listing, width, height).pinhole(width, height)


def photos(listing: Listing) -> Iterator[np.ndarray]:
    """u8 (H, W, 3) of each photo, undistorted."""
    return undistorted(listing.images, partial(lens, listing))


READER = SceneReader(poses, intrinsics, listed_classes, photos=photos, lens=lens)
