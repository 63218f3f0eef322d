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
from ovnerf.scenes.nerfstudio.reader import frame_lens
from ovnerf.scenes.transforms import LENS, REFUSED, refuse_keys
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
        matrix: f64 (3, 3), intrinsics in pixels, where the file gives more than an angle.
    """

    pose: NDArray[np.float64]
    fov: float
    matrix: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class CameraPath:
    """The frames of a film: `height` x `width` pixels, `fps` a second."""

    cameras: list[PathCamera]
    height: int
    width: int
    fps: float

    def intrinsics(self, index: int) -> NDArray[np.float64]:
        """f64 (3, 3) of a frame, in pixels; the principal point is in the middle where the file
        does not say."""
        camera = self.cameras[index]
        if camera.matrix is not None:
            return camera.matrix
        focal = self.height / 2 / np.tan(camera.fov / 2)
        return np.array([[focal, 0, self.width / 2], [0, focal, self.height / 2], [0, 0, 1]])


def read_camera_path(path: Path) -> CameraPath:
    """A path from a file.

    Raises:
        UserError: no JSON, neither of the two formats, no frame, numbers that no camera has, or
            lens distortion.
    """
    try:
        content = json.loads(read_text(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as JSON ({error}), {EXPECTED}") from None
    try:
        known = "camera_path" in content
        found = from_camera_path(content) if known else from_transforms(content, str(path))
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


def from_transforms(content: dict[str, Any], where: str) -> CameraPath:
    """The cameras of `transforms.json` in their order, each with its own focal lengths and centre.

    Raises:
        UserError: a camera with lens distortion, or frames of several sizes.
    """
    frames = [{**content, **frame} for frame in content["frames"]]
    sizes = {(int(frame["w"]), int(frame["h"])): None for frame in frames}
    if len(sizes) > 1:
        raise UserError(
            f"{where}: found frames of {', '.join(f'{w} x {h}' for w, h in sizes)} pixels, "
            "expected one size: that of the film",
            "keep the frames of one camera",
        )
    (size,) = sizes or {(int(content["w"]), int(content["h"])): None}
    cameras = [
        transforms_camera(frame, f"{where}, frame {index}", size)
        for index, frame in enumerate(frames)
    ]
    return CameraPath(cameras, size[1], size[0], FPS)


def transforms_camera(values: dict[str, Any], where: str, size: tuple[int, int]) -> PathCamera:
    """One frame of `transforms.json`, of this (width, height), with what the file says of all."""
    if "fl_x" not in values and "camera_angle_x" not in values:
        values = {**values, "fl_x": values["fl_y"]}
    # Masks and the like do not matter to a film.
    refuse_keys(where, {key: one for key, one in values.items() if REFUSED.get(key, LENS) == LENS})
    lens = frame_lens(values, where, size)
    if lens.bent:
        raise UserError(
            f"{where}: found lens distortion {lens.distortion} (k1, k2, p1, p2, k3), expected a "
            "pinhole camera, as every view of a film is",
            "set these to 0, or take the transforms.json that `export` writes",
        )
    pose = np.array(values["transform_matrix"], dtype=np.float64).reshape(4, 4)
    fov = 2 * float(np.arctan(size[1] / 2 / lens.matrix[1, 1]))
    return PathCamera(pose * OPENCV_TO_OPENGL, fov, lens.matrix)


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
        seen = np.isfinite(found.intrinsics(index)).all() and found.intrinsics(index)[0, 0] > 0
        if not (rigid and np.linalg.det(turn) > 0 and 0 < camera.fov < np.pi and seen):
            raise UserError(
                f"{path}: camera {index} is no rotation and place with a field of view between 0 "
                "and 180 degrees",
                "write the path again",
            )


def interpolated(keys: Sequence[PathCamera]) -> list[PathCamera]:
    """`STEPS` frames from each key frame to the next, and the last; turns at an even pace.

    Key frames come from a viewer, so their principal points are in the middle.
    """
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
