"""The cameras of a run, and its photos, as a scene that nerfstudio and others read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ovnerf.asking.description import Description, require_same_frames
from ovnerf.evaluation.figures import in_file_name
from ovnerf.storage.stores import open_store, read

OPENCV_TO_OPENGL = np.array([1.0, -1.0, -1.0, 1.0])
"""Signs of a pose's columns: OpenGL's camera axes are x right, y up, z back."""


def photo_files(description: Description) -> list[str]:
    """Path of each frame's photo in the folder, from its top."""
    return [f"images/{in_file_name(name)}.png" for name in description.names]


def pinhole_scene(
    files: Sequence[str], poses: np.ndarray, intrinsics: np.ndarray, width: int, height: int
) -> dict[str, Any]:
    """What `transforms.json` says of photos of one camera without lens distortion.

    Args:
        files: path of each photo from the folder of `transforms.json`.
        poses: (n, 4, 4) camera to world, OpenCV's axes (x right, y down, z forward).
        intrinsics: (3, 3), pixels.
    """
    return {
        "camera_model": "PINHOLE",
        "w": width,
        "h": height,
        "fl_x": float(intrinsics[0, 0]),
        "fl_y": float(intrinsics[1, 1]),
        "cx": float(intrinsics[0, 2]),
        "cy": float(intrinsics[1, 2]),
        "frames": [
            {"file_path": file, "transform_matrix": (pose * OPENCV_TO_OPENGL).tolist()}
            for file, pose in zip(files, poses, strict=True)
        ],
    }


def transforms_json(description: Description, cloud: str | None) -> dict[str, Any]:
    """What `transforms.json` of a run holds: its cameras in the world's frame, and its split.

    Args:
        cloud: path of the points from there, where they are written.
    """
    files = photo_files(description)

    def listed(frames: Sequence[int]) -> list[str]:
        return [files[frame] for frame in frames]

    return {
        **pinhole_scene(
            files,
            description.pose,
            description.intrinsics,
            description.width,
            description.height,
        ),
        **({"ply_file_path": cloud} if cloud else {}),
        "train_filenames": listed(description.training_frames),
        "val_filenames": listed(description.held_out_frames),
        "test_filenames": listed(description.held_out_frames),
    }


def write_photos(folder: Path, description: Description, frames: Path) -> None:
    """Write every photo as the field was trained on it: undistorted, at the size of the frames.

    Raises:
        UserError: the `frames` store holds other frames than the run.
    """
    store = open_store(frames, "frames")
    require_same_frames(store, description)
    (folder / "images").mkdir()
    for index, file in enumerate(photo_files(description)):
        Image.fromarray(read(store, "rgb", index)).save(folder / file)
