"""The one contract of all readers: sampled, resized, checked frames and their labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from ovnerf.errors import UserError
from ovnerf.scenes import replica, semantic_nerf
from ovnerf.scenes.files import (
    check_size,
    read_label_ids,
    read_rgb,
    resize_labels,
    resize_rgb,
    scale_camera,
    target_size,
)
from ovnerf.scenes.layouts import Listing
from ovnerf.stores import VOID

READERS: dict[str, ModuleType] = {"replica": replica, "semantic_nerf": semantic_nerf}
"""Per layout a module with `VOID_IDS`, `poses`, `intrinsics` and `classes`."""


@dataclass(frozen=True)
class Frames:
    """Posed photos of a scene, in world coordinates (metres).

    Attributes:
        names: frame names.
        rgb: u8 (n, H, W, 3).
        pose: f64 (n, 4, 4) camera-to-world, OpenCV axes.
        intrinsics: f64 (3, 3) at (H, W), pixel centres at +0.5.
        native_size: (height, width) of the image files.
        native_intrinsics: f64 (3, 3) at that size.
        split: u8 (n), 0 train, 1 test.
        classes: names without void; a label is an index into them.
    """

    names: tuple[str, ...]
    rgb: np.ndarray
    pose: np.ndarray
    intrinsics: np.ndarray
    native_size: tuple[int, int]
    native_intrinsics: np.ndarray
    split: np.ndarray
    classes: tuple[str, ...]


def read_frames(listing: Listing, width: int | None, height: int | None, test_every: int) -> Frames:
    """Read, check and resize the listed frames. UserError for anything a person can mend."""
    reader = READERS[listing.layout]
    names = reader.classes(listing)
    pose = reader.poses(listing)
    native = read_rgb(listing.images[0]).shape[:2]
    camera = reader.intrinsics(listing, native[1], native[0])
    size = target_size(native, width, height)
    rgb = np.empty((len(listing.images), *size, 3), dtype=np.uint8)
    for index, image in enumerate(native_images(listing)):
        rgb[index] = resize_rgb(image, size)
    return Frames(
        names=listing.names,
        rgb=rgb,
        pose=pose,
        intrinsics=scale_camera(camera, native, size),
        native_size=native,
        native_intrinsics=camera,
        split=split_frames(len(listing.images), test_every),
        classes=tuple(names.values()),
    )


def split_frames(count: int, test_every: int) -> np.ndarray:
    """u8 (count,): frame i of the sampled order is held out when i mod test_every == 0."""
    return (np.arange(count) % test_every == 0).astype(np.uint8)


def native_images(listing: Listing) -> Iterator[np.ndarray]:
    """u8 (H, W, 3) of each listed image at its own size; all must agree with the first."""
    size: tuple[int, int] | None = None
    for path in listing.images:
        image = read_rgb(path)
        size = size or image.shape[:2]
        check_size(path, image.shape, size, listing.images[0])
        yield image


def read_labels(
    listing: Listing, native: tuple[int, int], size: tuple[int, int]
) -> tuple[np.ndarray, list[str]]:
    """u16 (n, H, W) indices into the class list, VOID where unlabelled, and that list.

    Args:
        native: (height, width) of the image files, which label files must share.
        size: (height, width) of the result.

    Raises:
        UserError: missing or unreadable file, another size, an id outside the class list.
    """
    reader = READERS[listing.layout]
    names = reader.classes(listing)
    paths = listing.label_inputs()[: len(listing.images)]  # the class list comes last
    labels = np.empty((len(paths), *size), dtype=np.uint16)
    for index, path in enumerate(paths):
        found = read_label_ids(path)
        check_size(path, found.shape, native, listing.images[index])
        table = index_table(found, list(names), reader.VOID_IDS, f"{path}", str(listing.classes))
        labels[index] = resize_labels(table[found], size)
    return labels, list(names.values())


def index_table(
    found: np.ndarray, ids: list[int], void: tuple[int, ...], where: str, classes: str
) -> np.ndarray:
    """u16 lookup table from file id to class index; UserError for ids without a class."""
    unknown = sorted(set(np.unique(found).tolist()) - set(ids) - set(void))
    if unknown:
        raise UserError(
            f"{where}: found label id {unknown[0]}, expected ids of {classes} "
            f"({min(ids)} to {max(ids)}) or {', '.join(map(str, void))} for void",
            "add the class to the list or mend the label image",
        )
    table = np.full(max([*ids, *void]) + 1, VOID, dtype=np.uint16)
    table[ids] = np.arange(len(ids), dtype=np.uint16)
    return table
