"""Reader of the `colmap` layout: a COLMAP sparse model and its photos (Mip-NeRF360, own captures).

    scene/
      images/      photos, folders allowed; names as in the model
      sparse/0/    cameras images points3D (rigs frames), all .bin or all .txt; of several models
                   (sparse/1 ...) the one with the most photos
      classes.txt  optional, one class name per line, no void

Photos that the model does not hold are dropped; photos that it holds and the folder lacks are named
among the dropped. Distorted cameras are undistorted when read. The
model's units are kept: a reconstruction from photos alone is not in metres.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from ovnerf.geometry.lens import Lens
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.lens import COEFFICIENTS, checked_lens, one_lens, undistorted
from ovnerf.scenes.listing import Listing
from ovnerf.scenes.pairing import photos_by_name
from ovnerf.scenes.pinhole import check_camera_size
from ovnerf.scenes.poses import pose_matrix
from ovnerf.scenes.reader import SceneReader, listed_classes
from ovnerf.scenes.sparse import text_names

NO_POSE = "not in the COLMAP model"
NO_PHOTO = "in the COLMAP model, but not among the photos"
PARAMETERS = {
    "SIMPLE_PINHOLE": ("f", "cx", "cy"),
    "PINHOLE": ("fx", "fy", "cx", "cy"),
    "SIMPLE_RADIAL": ("f", "cx", "cy", "k1"),
    "RADIAL": ("f", "cx", "cy", "k1", "k2"),
    "OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2"),
}
"""COLMAP's camera models that are read, and the order of their parameters."""


@dataclass(frozen=True)
class Camera:
    """A camera of a model: COLMAP's name of its kind, (width, height), and its parameters."""

    kind: str
    size: tuple[int, int]
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class Photo:
    """A photo of a model: f64 (3, 4) camera-to-world, and the id of its camera."""

    pose: np.ndarray
    camera: int


@dataclass(frozen=True)
class Content:
    """What is read of a model: the photos that have a pose, by name, and the cameras by id."""

    photos: dict[str, Photo]
    cameras: dict[int, Camera]


def content(listing: Listing) -> Content:
    """The content of the scene's model; UserError when it is unreadable."""
    files = [path for path in (listing.intrinsics, *listing.poses, *listing.others) if path]
    states = [path.stat() for path in files]
    return read_content(
        listing.poses[0], tuple((state.st_mtime_ns, state.st_size) for state in states)
    )


@lru_cache(maxsize=1)
def read_content(path: Path, version: tuple[tuple[int, int], ...]) -> Content:
    """The content of the model with this file of images, which takes long: kept for later calls.

    Args:
        version: times and sizes of the model's files. When they change it is read again.

    Raises:
        UserError: the model is unreadable.
    """
    # Importing it takes half a second, which scenes of other layouts need not wait for.
    import pycolmap

    try:
        model = pycolmap.Reconstruction(str(path.parent))
    except Exception as error:  # pycolmap raises many kinds for damaged files
        first = str(error).strip().splitlines()
        raise UserError(
            f"{path.parent}: not a readable COLMAP model ({first[-1] if first else type(error)})",
            "cameras, images and points3D must all come from one model",
        ) from None
    # pycolmap ends the names of a text model at their first space.
    names = dict(text_names(path)) if path.suffix == ".txt" else {}
    photos: dict[str, Photo] = {}
    for image in model.images.values():
        if not image.has_pose:
            continue
        name = names.get(image.image_id, image.name)
        if name in photos:
            raise UserError(
                f"{path}: found photo {name!r} twice, expected each once",
                "remove one of the two from the model: which pose is right is not certain",
            )
        photos[name] = Photo(image.cam_from_world().inverse().matrix(), image.camera_id)
    cameras = {
        number: Camera(
            camera.model.name, (camera.width, camera.height), tuple(map(float, camera.params))
        )
        for number, camera in model.cameras.items()
    }
    return Content(photos, cameras)


def partners(listing: Listing) -> dict[str, str]:
    """Name in the model -> the photo's number in the listing, for those that have both.

    Raises:
        UserError: no photo of the folder is in the model.
    """
    found, path = content(listing).photos, listing.poses[0]
    files = [str(number) for number, _ in listing.all_photos]
    numbers = photos_by_name(files, found, path)
    if found and not numbers:
        raise UserError(
            f"{path}: found none of the photos of {listing.folder / 'images'}: the model names "
            f"{min(found)!r}, the folder holds {files[0]!r}",
            "put the photos there under the names that COLMAP saw",
        )
    return numbers


def registered(listing: Listing) -> dict[str, Photo]:
    """The scene's photos that have a pose in the model, by the photo's number in the listing."""
    found = content(listing).photos
    return {number: found[name] for name, number in partners(listing).items()}


def absent(listing: Listing) -> tuple[tuple[str, str], ...]:
    """(name, reason) of each photo that has a pose in the model and is not in the folder."""
    lacking = content(listing).photos.keys() - partners(listing).keys()
    return tuple((name, NO_PHOTO) for name in sorted(lacking))


def poses(listing: Listing) -> np.ndarray:
    """f64 (n, 4, 4) camera-to-world, OpenCV axes; NaN for photos that the model does not hold."""
    posed = registered(listing)
    found = np.full((len(listing.numbers), 4, 4), np.nan)
    for index, name in enumerate(listing.numbers):
        if name in posed:
            pose = np.eye(4)
            pose[:3] = posed[name].pose
            found[index] = pose_matrix(pose.ravel(), f"{listing.poses[0]}, {name}")
    return found


def lens(listing: Listing, width: int, height: int) -> Lens:
    """The one camera of the listed photos, whose size this is."""
    posed, cameras = registered(listing), content(listing).cameras
    used = {posed[name].camera: name for name in listing.numbers if name in posed}
    if not used:
        raise UserError(f"{listing.poses[0]}: found none of the photos of {listing.folder}/images")
    where = str(listing.intrinsics)
    named = [(f"photo {used[key]}", lens_of(where, cameras[key])) for key in sorted(used)]
    found = one_lens(
        where, named, "reconstruct with one shared camera (--ImageReader.single_camera 1)"
    )
    for key in sorted(used):
        check_camera_size(where, cameras[key].size, (width, height))
    return checked_lens(found, where, width, height)


def lens_of(where: str, camera: Camera) -> Lens:
    """A camera of the model, whose pixel centres are ours, at +0.5; UserError for other kinds."""
    if camera.kind not in PARAMETERS:
        raise UserError(
            f"{where}: found camera model {camera.kind}, expected one of {', '.join(PARAMETERS)}",
            "undistort the photos with COLMAP's image_undistorter first",
        )
    values = dict(zip(PARAMETERS[camera.kind], camera.parameters, strict=True))
    fx, fy = values.get("fx", values.get("f")), values.get("fy", values.get("f"))
    matrix = np.array([[fx, 0, values["cx"]], [0, fy, values["cy"]], [0, 0, 1]])
    k1, k2, p1, p2, k3 = (values.get(key, 0.0) for key in COEFFICIENTS)
    return Lens(matrix, (k1, k2, p1, p2, k3))


def intrinsics(listing: Listing, width: int, height: int) -> np.ndarray:
    """f64 (3, 3) of the undistorted photos."""
    return lens(listing, width, height).pinhole(width, height)


def photos(listing: Listing) -> Iterator[np.ndarray]:
    """u8 (H, W, 3) of each photo, undistorted."""
    return undistorted(listing.images, partial(lens, listing))


READER = SceneReader(
    poses, intrinsics, listed_classes, photos=photos, lens=lens, no_pose=NO_POSE, absent=absent
)
