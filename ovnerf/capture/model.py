"""A reconstruction turned upright, moved to its floor and scaled."""

from __future__ import annotations

import numpy as np
import pycolmap

from ovnerf.capture.scale import scale_of
from ovnerf.capture.upright import Upright, floor_centre, stand_up
from ovnerf.config.capture import KnownDistance

LEAST_SEEN = 3
"""Points that fewer photos see are left out where directions are estimated."""


def camera_poses(model: pycolmap.Reconstruction) -> np.ndarray:
    """f64 (n, 4, 4) camera-to-world of the photos with a pose, in the order of their names."""
    photos = sorted(
        (image for image in model.images.values() if image.has_pose), key=lambda image: image.name
    )
    pose = np.tile(np.eye(4), (len(photos), 1, 1))
    for place, image in zip(pose, photos, strict=True):
        place[:3] = image.cam_from_world().inverse().matrix()
    return pose


def model_points(model: pycolmap.Reconstruction, seen: int = 0) -> np.ndarray:
    """f64 (p, 3) of the points that at least `seen` photos see."""
    chosen = [point.xyz for point in model.points3D.values() if point.track.length() >= seen]
    return np.array(chosen).reshape(-1, 3)


def place_in_world(model: pycolmap.Reconstruction, distance: KnownDistance | None) -> Upright:
    """Turn, move and scale a model: z up, walls along x and y, the origin on the floor."""
    points = model_points(model, LEAST_SEEN)
    upright = stand_up(camera_poses(model), points if len(points) else model_points(model))
    scale = scale_of(model, distance)
    turned = model_points(model) @ upright.rotation.T
    moved = -scale * floor_centre(turned)
    model.transform(pycolmap.Sim3d(scale, pycolmap.Rotation3d(upright.rotation), moved))
    return upright


def rescale(model: pycolmap.Reconstruction, distance: KnownDistance | None) -> None:
    """Scale a model that stands already."""
    scale = scale_of(model, distance)
    model.transform(pycolmap.Sim3d(scale, pycolmap.Rotation3d(np.eye(3)), np.zeros(3)))
