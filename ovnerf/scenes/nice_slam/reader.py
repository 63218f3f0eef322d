"""Reader of the `nice_slam` layout: Replica as rendered for SLAM, labels where someone added them.

scene/
  results/         frame000000.jpg ... depth000000.png ...
  traj.txt         line N (from 0) is the pose of frame N: 16 numbers, camera-to-world, OpenCV
  cam_params.json  {"camera": {"w", "h", "fx", "fy", "cx", "cy"}}, or one folder above
  semantic_class/  semantic_class_0.png ..., optional; ids of info_semantic.json
"""

from __future__ import annotations

import numpy as np

from ovnerf.runtime.errors import UserError
from ovnerf.scenes.listing import Listing
from ovnerf.scenes.pinhole import camera_matrix, check_camera_size, half_pixel_centres
from ovnerf.scenes.reader import SceneReader
from ovnerf.scenes.semantic_nerf.reader import VOID_IDS, classes, poses
from ovnerf.scenes.transforms import DISTORTION, is_set
from ovnerf.storage.documents import read_json

DEFAULT_SIZE = (1200, 680)
DEFAULT_FOCAL = 600.0
"""Of the public renderings; their centre is the middle of the image."""
REFUSED = ("crop_edge", "crop_size", "distortion", *DISTORTION, "k4", "k5", "k6")
"""Keys of the camera in SLAM configs that would change the photos. Others (`scale` and
`png_depth_scale` of the depth images) may be ignored."""


def intrinsics(listing: Listing, width: int, height: int) -> np.ndarray:
    """f64 (3, 3) of the native size, pixel centres at +0.5."""
    path = listing.intrinsics
    if path is None:
        if (width, height) != DEFAULT_SIZE:
            raise UserError(
                f"{listing.folder}: no cam_params.json, and images are {width}x{height}; the "
                "default camera is known for 1200x680 only",
                "add intrinsics.txt (3x3) or cam_params.json",
            )
        return np.array([[DEFAULT_FOCAL, 0, width / 2], [0, DEFAULT_FOCAL, height / 2], [0, 0, 1]])
    if path.suffix == ".txt":
        return camera_matrix(path, width, height)
    camera = read_json(path).get("camera", {})
    try:
        size = (float(camera["w"]), float(camera["h"]))
        fx, fy, cx, cy = (float(camera[key]) for key in ("fx", "fy", "cx", "cy"))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: not a camera ({type(error).__name__}: {error})",
            'expected {"camera": {"w", "h", "fx", "fy", "cx", "cy"}}',
        ) from None
    for key in REFUSED:
        if is_set(camera.get(key)):
            raise UserError(
                f"{path}: found {key} {camera[key]}, which would change the photos and is not "
                "read, expected none",
                "undistort, crop or resize the photos first, then remove the key",
            )
    check_camera_size(str(path), size, (width, height))
    return half_pixel_centres(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), width, height)


# Poses and classes are files of the same form as in `semantic_nerf`.
READER = SceneReader(poses, intrinsics, classes, void_ids=VOID_IDS)
