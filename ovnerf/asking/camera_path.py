"""Camera paths as files: nerfstudio's `camera_path.json`, and `transforms.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from ovnerf.asking.camera_files import OPENCV_TO_OPENGL
from ovnerf.runtime.errors import UserError
from ovnerf.storage.text import read_text

FPS = 24
STEPS = 2 * FPS
"""Frames from one key frame to the next."""
EXPECTED = "expected a nerfstudio camera_path.json or transforms.json"


@dataclass(frozen=True)
class PathCamera:
    """One frame of a path.

    Attributes:
        pose: f64 (4, 4), camera to world, OpenCV axes.
        fov: vertical field of view, radians.
    """

    pose: NDArray[np.float64]
    fov: float


@dataclass(frozen=True)
class CameraPath:
    """The frames of a film: `height` x `width` pixels, `fps` a second."""

    cameras: list[PathCamera]
    height: int
    width: int
    fps: float

    def intrinsics(self, index: int) -> NDArray[np.float64]:
        """f64 (3, 3) of a frame, in pixels; the principal point is in the middle."""
        focal = self.height / 2 / np.tan(self.cameras[index].fov / 2)
        return np.array([[focal, 0, self.width / 2], [0, focal, self.height / 2], [0, 0, 1]])


def read_camera_path(path: Path) -> CameraPath:
    """A path from a file.

    Raises:
        UserError: no JSON, neither of the two formats, no frame, or numbers that no camera has.
    """
    try:
        content = json.loads(read_text(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as JSON ({error}), {EXPECTED}") from None
    try:
        found = from_camera_path(content) if "camera_path" in content else from_transforms(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path}: found no camera path in it ({type(error).__name__}: {error}), {EXPECTED}"
        ) from None
    check(found, path)
    return found


def from_camera_path(content: dict[str, Any]) -> CameraPath:
    """What `camera_path.json` holds; each of its cameras is a frame."""
    if content.get("camera_type", "perspective") != "perspective":
        raise ValueError(f"camera_type {content['camera_type']!r} is not perspective")
    cameras = [
        PathCamera(
            np.array(one["camera_to_world"], dtype=np.float64).reshape(4, 4) * OPENCV_TO_OPENGL,
            float(np.radians(one["fov"])),
        )
        for one in content["camera_path"]
    ]
    height, width = int(content["render_height"]), int(content["render_width"])
    return CameraPath(cameras, height, width, float(content.get("fps", FPS)))


def from_transforms(content: dict[str, Any]) -> CameraPath:
    """The cameras of `transforms.json` in their order; with one focal length for all."""
    height, width = int(content["h"]), int(content["w"])
    fov = 2 * float(np.arctan(height / 2 / float(content["fl_y"])))
    poses = [np.array(one["transform_matrix"], dtype=np.float64) for one in content["frames"]]
    cameras = [PathCamera(pose.reshape(4, 4) * OPENCV_TO_OPENGL, fov) for pose in poses]
    return CameraPath(cameras, height, width, FPS)


def check(found: CameraPath, path: Path) -> None:
    """UserError for an empty path, or for a camera that cannot be."""
    if not found.cameras:
        raise UserError(f"{path}: found a path without cameras, expected at least one")
    if min(found.height, found.width) < 2 or not 0 < found.fps < 1000:
        raise UserError(
            f"{path}: found {found.width} x {found.height} pixels and {found.fps:g} frames a "
            "second, expected at least 2 x 2 and more than 0"
        )
    for index, camera in enumerate(found.cameras):
        turn = camera.pose[:3, :3]
        rigid = np.isfinite(camera.pose).all() and np.allclose(turn.T @ turn, np.eye(3), atol=1e-3)
        if not (rigid and np.linalg.det(turn) > 0 and 0 < camera.fov < np.pi):
            raise UserError(
                f"{path}: camera {index} is no rotation and place with a field of view between 0 "
                "and 180 degrees",
                "write the path again",
            )


def interpolated(keys: Sequence[PathCamera]) -> list[PathCamera]:
    """`STEPS` frames from each key frame to the next, and the last; turns at an even pace."""
    if len(keys) == 1:
        return list(keys)
    turn = Slerp(range(len(keys)), Rotation.from_matrix([key.pose[:3, :3] for key in keys]))
    times = np.arange((len(keys) - 1) * STEPS + 1) / STEPS
    numbers = range(len(keys))
    places = [np.interp(times, numbers, [key.pose[axis, 3] for key in keys]) for axis in range(3)]
    fovs = np.interp(times, numbers, [key.fov for key in keys])
    poses = np.tile(np.eye(4), (len(times), 1, 1))
    poses[:, :3, :3] = turn(times).as_matrix()
    poses[:, :3, 3] = np.stack(places, -1)
    return [PathCamera(pose, float(fov)) for pose, fov in zip(poses, fovs, strict=True)]


def camera_path_json(path: CameraPath) -> dict[str, Any]:
    """What `camera_path.json` holds of a path: OpenGL axes, degrees, world of the input."""
    return {
        "camera_type": "perspective",
        "render_height": path.height,
        "render_width": path.width,
        "fps": path.fps,
        "seconds": len(path.cameras) / path.fps,
        "camera_path": [
            {
                "camera_to_world": (camera.pose * OPENCV_TO_OPENGL).flatten().tolist(),
                "fov": float(np.degrees(camera.fov)),
                "aspect": path.width / path.height,
            }
            for camera in path.cameras
        ],
    }
