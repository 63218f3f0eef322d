"""A film along a camera path: quantities of each view beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from ovnerf.asking.camera_path import CameraPath
from ovnerf.asking.looks import Look, picture
from ovnerf.asking.run import Run
from ovnerf.asking.views import render_camera
from ovnerf.geometry.camera import Camera
from ovnerf.runtime import progress
from ovnerf.runtime.errors import Stopped, UserError

PROBE = 16
"""Rays along each side of a camera that is asked whether it sees the scene."""


def require_views(run: Run, path: CameraPath, source: Path) -> None:
    """UserError when a camera of the path sees nothing of the box that the field fills."""
    for index in range(len(path.cameras)):
        if not sees_box(run, path, index):
            raise UserError(
                f"{source}: camera {index} sees nothing of the scene, whose field ends before it",
                f"its poses are in the world of {run.description.source}; keep cameras inside, or "
                "looking at, the room",
            )


def sees_box(run: Run, path: CameraPath, index: int) -> bool:
    """Whether a ray of a camera meets the field's box; the warped box of a forward-facing scene is
    met by all that look forward."""
    camera = path_camera(run, path, index)
    if camera.ndc is not None:
        return True
    few = torch.tensor([[PROBE / path.width], [PROBE / path.height], [1.0]])
    origin, direction = Camera(camera.pose, camera.intrinsics * few, PROBE, PROBE).rays()
    box = run.field.radiance.box.to(origin.device)
    step = torch.where(direction.abs() < 1e-9, torch.full_like(direction, 1e-9), direction)
    first, second = (box[0] - origin) / step, (box[1] - origin) / step
    enter = torch.minimum(first, second).amax(-1)
    leave = torch.maximum(first, second).amin(-1)
    return bool(((leave > 0) & (leave >= enter)).any())


def path_camera(run: Run, path: CameraPath, index: int) -> Camera:
    """A frame's camera in scene units."""
    description, device = run.description, run.field.radiance.box.device
    scene = description.camera(path.cameras[index].pose, device)
    intrinsics = torch.from_numpy(path.intrinsics(index)).float().to(device)
    return Camera(scene.pose, intrinsics, path.height, path.width, scene.ndc)


def write_video(out: Path, run: Run, path: CameraPath, looks: Sequence[Look]) -> int:
    """Render a path into an MP4 file (codec mp4v); returns how many frames it has.

    Height and width are made even (`of_even_size`).

    Raises:
        UserError: OpenCV cannot write such a file here.
        Stopped: the stage was asked to end.
    """
    width, height = path.width * len(looks), path.height
    size = width + width % 2, height + height % 2
    film = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*"mp4v"), path.fps, size)
    if not film.isOpened():
        raise UserError(f"{out}: OpenCV cannot write a film of {size[0]} x {size[1]} pixels")
    try:
        progress.begin("video", "frames", len(path.cameras), 0)
        for index in tqdm(range(len(path.cameras)), "video", disable=None, unit="frame"):
            view = render_camera(run.field, run.description, path_camera(run, path, index))
            row = np.concatenate([picture(view, look, run.asker) for look in looks], 1)
            film.write(np.ascontiguousarray(of_even_size(row)[..., ::-1]))
            progress.advance()
            if progress.stop_wanted():
                raise Stopped("video: stopped as asked; run it again to begin anew")
    finally:
        film.release()
    return len(path.cameras)


def of_even_size(picture: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) whose last row and column are there twice where their number is odd.

    The codec stores even numbers of both, and OpenCV would leave one out without a word.
    """
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
