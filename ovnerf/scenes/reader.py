"""What reads the files of a scene: one `SceneReader` per layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ovnerf.geometry.lens import Lens
from ovnerf.scenes.listing import Listing
from ovnerf.storage.documents import read_names
from ovnerf.storage.photos import read_label_ids, read_rgb


def plain_photos(listing: Listing) -> Iterator[np.ndarray]:
    """u8 (H, W, 3) of each frame, where every frame is one image file."""
    return map(read_rgb, listing.images)


def plain_label_ids(listing: Listing, index: int) -> np.ndarray:
    """Ids as in the file (H, W) of listed frame `index`, where its labels are one image file."""
    path = listing.labels[index]
    assert path is not None
    return read_label_ids(path)


def listed_classes(listing: Listing) -> dict[int, str]:
    """Position in the scene's class list -> name, for layouts whose labels are not read."""
    assert listing.classes is not None
    return dict(enumerate(read_names(listing.classes)))


def no_unusable_ids(listing: Listing) -> dict[int, str]:
    """Nothing: every label id has a usable class."""
    return {}


@dataclass(frozen=True)
class SceneReader:
    """How the files of a layout are read. Each function takes the listing of the frames to read.

    Attributes:
        poses: f64 (n, 4, 4) camera-to-world, OpenCV axes; NaN for frames without a pose, where
            `no_pose` says why there may be some.
        intrinsics: called with the (width, height) of the photos; f64 (3, 3) of what `photos`
            gives, pixel centres at +0.5.
        classes: id in the label files -> class name, without void.
        void_ids: ids in the label files that mean "no class".
        photos: u8 (H, W, 3) of each frame in order, undistorted.
        lens: called as `intrinsics`; the lens of the image files, which `photos` undistorts. None
            for layouts whose photos are never undistorted.
        label_ids: called with the position of a listed frame that has labels; whole numbers (H, W).
        unusable_ids: id -> what is wrong with its class; an error only where the id occurs.
        label_masks: called as `label_ids`; class name -> bool (H, W), which may overlap. None for
            layouts with one label per pixel.
        bounds: f64 (n, 2), distances of the nearest and farthest thing that each frame sees. None
            for layouts that do not say.
        no_pose: why a frame may have no pose; empty where each has one.
        absent: (name, reason) of photos that the file of poses names and the folder lacks. None for
            layouts whose poses name no photos, or which refuse such files.
        labels_of_any_size: whether label images may be of another size than the photos.
    """

    poses: Callable[[Listing], np.ndarray]
    intrinsics: Callable[[Listing, int, int], np.ndarray]
    classes: Callable[[Listing], dict[int, str]]
    void_ids: tuple[int, ...] = ()
    photos: Callable[[Listing], Iterator[np.ndarray]] = plain_photos
    lens: Callable[[Listing, int, int], Lens] | None = None
    label_ids: Callable[[Listing, int], np.ndarray] = plain_label_ids
    unusable_ids: Callable[[Listing], dict[int, str]] = no_unusable_ids
    label_masks: Callable[[Listing, int], dict[str, np.ndarray]] | None = None
    bounds: Callable[[Listing], np.ndarray] | None = None
    no_pose: str = ""
    absent: Callable[[Listing], tuple[tuple[str, str], ...]] | None = None
    labels_of_any_size: bool = False
