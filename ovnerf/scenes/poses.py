"""Single files of a scene -> arrays, each checked where it is read: matrices, sizes, names."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ovnerf.runtime.errors import UserError

ROTATION_TOLERANCE = 1e-2


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
