"""Reader of the `nerfstudio` layout: one `transforms.json`.

    scene/
      transforms.json  {"fl_x", "fl_y", "cx", "cy", "w", "h", "k1" ..., "frames": [
                         {"file_path": "images/1.png", "transform_matrix": 4x4}, ...]}
      images/          photos, wherever `file_path` says
      classes.txt      optional, one class name per line, no void

Poses are camera-to-world with OpenGL camera axes (x right, y up, z back) and are flipped to
OpenCV's. Camera values may stand in each frame instead; they must agree. Distorted photos are
undistorted when read. The file's units are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ovnerf.errors import UserError
from ovnerf.scenes.colmap import VOID_IDS, classes
from ovnerf.scenes.files import checked_camera, pose_matrix, read_json, read_rgb
from ovnerf.scenes.layouts import Listing
from ovnerf.scenes.lens import Lens

__all__ = ["VOID_IDS", "classes", "intrinsics", "photos", "poses"]

OPENGL_TO_OPENCV = (1.0, -1.0, -1.0, 1.0)
"""Signs of a pose's columns: OpenGL's camera axes are x right, y up, z back."""
MODELS = ("PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV")
BENT = ("k1", "k2", "p1", "p2", "k3")


def entries(listing: Listing) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The whole file and the listed frames' entries."""
    content = read_json(listing.poses[0])
    return content, [content["frames"][place] for place in listing.places()]


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
    path = listing.poses[0]
    content, frames = entries(listing)
    first, *rest = (camera_values({**content, **frame}, str(path), width) for frame in frames)
    if any(other != first for other in rest):
        raise UserError(
            f"{path}: found frames with different cameras, expected one camera",
            "keep the frames of one camera and one zoom",
        )
    size = (int(first.get("w", width)), int(first.get("h", height)))
    if size != (width, height):
        raise UserError(
            f"{path}: found a camera of {size[0]}x{size[1]}, expected {width}x{height} (photos)"
        )
    fx = first["fl_x"]
    centre = (first.get("cx", width / 2), first.get("cy", height / 2))
    matrix = np.array([[fx, 0, centre[0]], [0, first.get("fl_y", fx), centre[1]], [0, 0, 1]])
    bent = tuple(first.get(key, 0.0) for key in BENT)
    return Lens(checked_camera(matrix, str(path), width, height), bent)


def camera_values(values: dict[str, Any], where: str, width: int) -> dict[str, float]:
    """The camera's numbers of one frame; `fl_x` from `camera_angle_x` where it is missing."""
    kind = str(values.get("camera_model", "OPENCV"))
    if kind not in MODELS:
        raise UserError(
            f"{where}: found camera_model {kind}, expected one of {', '.join(MODELS)}",
            "undistort the photos first",
        )
    if values.get("k4"):
        raise UserError(f"{where}: found k4, expected at most k3", "undistort the photos first")
    keys = ("fl_x", "fl_y", "cx", "cy", "w", "h", *BENT)
    try:
        found = {key: float(values[key]) for key in keys if key in values}
        if "fl_x" not in found:
            found["fl_x"] = width / 2 / np.tan(float(values["camera_angle_x"]) / 2)
    except KeyError:
        raise UserError(f"{where}: found neither fl_x nor camera_angle_x, expected one") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: a camera value is not a number ({error})") from None
    return found


def intrinsics(listing: Listing, width: int, height: int) -> np.ndarray:
    """f64 (3, 3) of the undistorted photos, pixel centres at +0.5."""
    return lens(listing, width, height).pinhole(width, height)


def photos(listing: Listing) -> Iterator[np.ndarray]:
    """u8 (H, W, 3) of each photo, undistorted."""
    camera = None
    for path in listing.images:
        photo = read_rgb(path)
        camera = camera or lens(listing, photo.shape[1], photo.shape[0])
        yield camera.undistort(photo)
