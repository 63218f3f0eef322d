"""Reader of the `colmap` layout: a COLMAP sparse model and its photos (Mip-NeRF360, own captures).

    scene/
      images/      photos, folders allowed; names as in the model
      sparse/0/    cameras images points3D (rigs frames), all .bin or all .txt
      classes.txt  optional, one class name per line, no void

Photos that the model does not hold are dropped. Distorted cameras are undistorted when read. The
model's units are kept: a reconstruction from photos alone is not in metres.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ovnerf.errors import UserError
from ovnerf.scenes.files import check_classes, checked_camera, pose_matrix, read_names, read_rgb
from ovnerf.scenes.layouts import Listing
from ovnerf.scenes.lens import Lens

VOID_IDS: tuple[int, ...] = ()
NO_POSE = "not in the COLMAP model"
PARAMETERS = {
    "SIMPLE_PINHOLE": ("f", "cx", "cy"),
    "PINHOLE": ("fx", "fy", "cx", "cy"),
    "SIMPLE_RADIAL": ("f", "cx", "cy", "k1"),
    "RADIAL": ("f", "cx", "cy", "k1", "k2"),
    "OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2"),
}
"""COLMAP's camera models that are read, and the order of their parameters."""


def model(listing: Listing) -> Any:
    """The model through pycolmap; UserError when it is unreadable."""
    # Importing it takes half a second, which scenes of other layouts need not wait for.
    import pycolmap

    folder = listing.poses[0].parent
    try:
        return pycolmap.Reconstruction(str(folder))
    except Exception as error:  # pycolmap raises many kinds for damaged files
        first = str(error).strip().splitlines()
        raise UserError(
            f"{folder}: not a readable COLMAP model ({first[-1] if first else type(error)})",
            "cameras, images and points3D must all come from one model",
        ) from None


def registered(listing: Listing) -> dict[str, Any]:
    """Images of the model that have a pose, by name."""
    return {image.name: image for image in model(listing).images.values() if image.has_pose}


def poses(listing: Listing) -> np.ndarray:
    """f64 (n, 4, 4) camera-to-world, OpenCV axes; NaN for photos that the model does not hold."""
    images = registered(listing)
    found = np.full((len(listing.numbers), 4, 4), np.nan)
    for index, name in enumerate(listing.numbers):
        if name in images:
            pose = np.eye(4)
            pose[:3] = images[name].cam_from_world().inverse().matrix()
            found[index] = pose_matrix(pose.ravel(), f"{listing.poses[0]}, {name}")
    return found


def lens(listing: Listing) -> tuple[Lens, int, int]:
    """The one camera of the listed photos, its width and height."""
    scene = model(listing)
    used = [image for image in scene.images.values() if image.name in set(listing.numbers)]
    cameras = {image.camera_id: scene.cameras[image.camera_id] for image in used}
    if not cameras:
        raise UserError(f"{listing.poses[0]}: found none of the photos of {listing.folder}/images")
    first, *rest = (parameters(listing, camera) for camera in cameras.values())
    if any(other != first for other in rest):
        raise UserError(
            f"{listing.intrinsics}: found {len(cameras)} different cameras, expected one",
            "reconstruct with one shared camera (--ImageReader.single_camera 1)",
        )
    named, width, height = first
    values = dict(named)
    fx, fy = values.get("fx", values.get("f")), values.get("fy", values.get("f"))
    matrix = np.array([[fx, 0, values["cx"]], [0, fy, values["cy"]], [0, 0, 1]])
    bent = tuple(values.get(key, 0.0) for key in ("k1", "k2", "p1", "p2"))
    return Lens(matrix, bent), width, height


def parameters(listing: Listing, camera: Any) -> tuple[tuple[tuple[str, float], ...], int, int]:
    """A camera's named parameters, its width and height; UserError for other models."""
    name = camera.model.name
    if name not in PARAMETERS:
        raise UserError(
            f"{listing.intrinsics}: found camera model {name}, expected one of "
            f"{', '.join(PARAMETERS)}",
            "undistort the photos with COLMAP's image_undistorter first",
        )
    values = map(float, camera.params)
    return tuple(zip(PARAMETERS[name], values, strict=True)), camera.width, camera.height


def intrinsics(listing: Listing, width: int, height: int) -> np.ndarray:
    """f64 (3, 3) of the undistorted photos; COLMAP's pixel centres are ours, at +0.5."""
    camera, model_width, model_height = lens(listing)
    if (model_width, model_height) != (width, height):
        raise UserError(
            f"{listing.intrinsics}: found a camera of {model_width}x{model_height}, expected "
            f"{width}x{height} as the photos",
            "use the photos that COLMAP saw; `width` and `height` make them smaller",
        )
    where = str(listing.intrinsics)
    return (
        camera.pinhole(width, height)
        if camera.bent
        else checked_camera(camera.matrix, where, width, height)
    )


def photos(listing: Listing) -> Iterator[np.ndarray]:
    """u8 (H, W, 3) of each photo, undistorted."""
    camera, _, _ = lens(listing)
    for path in listing.images:
        yield camera.undistort(read_rgb(path))


def classes(listing: Listing) -> dict[int, str]:
    """Position -> name of the class list."""
    assert listing.classes is not None
    return check_classes(dict(enumerate(read_names(listing.classes))), listing.classes)
