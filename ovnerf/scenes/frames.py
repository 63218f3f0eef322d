"""The one contract of all readers: sampled, resized, checked frames and their labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ovnerf.geometry.lens import PhotoLens
from ovnerf.labels.void import VOID
from ovnerf.runtime.errors import UserError
from ovnerf.runtime.progress import warn
from ovnerf.scenes.layouts import LAYOUTS, check_count
from ovnerf.scenes.listing import Listing
from ovnerf.scenes.pinhole import camera_warnings, checked_camera
from ovnerf.scenes.poses import scale_camera
from ovnerf.scenes.reader import SceneReader
from ovnerf.storage.documents import read_names
from ovnerf.storage.sizes import check_size, resize_labels, resize_rgb, target_size
from ovnerf.storage.splits import BOTH, TEST, TRAIN
from ovnerf.storage.text import word_form

HeldOut = Literal["every_nth", "labelled", "none"]
"""As in `config.SampleFrames`."""
ASPECT_TOLERANCE = 0.01
"""Label images of another size must have the photos' aspect ratio within this."""


@dataclass(frozen=True)
class Frames:
    """Posed photos of a scene, in world coordinates, in the unit of the input.

    Attributes:
        names: frame names.
        rgb: u8 (n, H, W, 3).
        pose: f64 (n, 4, 4) camera-to-world, OpenCV axes.
        intrinsics: f64 (3, 3) at (H, W), pixel centres at +0.5.
        native_size: (height, width) of the image files.
        native_intrinsics: f64 (3, 3) at that size.
        split: u8 (n), `splits.TRAIN`, `TEST` or `BOTH`.
        classes: names without void; a label is an index into them.
        lens: of the image files, where they were undistorted.
    """

    names: tuple[str, ...]
    rgb: np.ndarray
    pose: np.ndarray
    intrinsics: np.ndarray
    native_size: tuple[int, int]
    native_intrinsics: np.ndarray
    split: np.ndarray
    classes: tuple[str, ...]
    lens: PhotoLens | None = None


def reader_of(listing: Listing) -> SceneReader:
    """The reader of the listing's layout."""
    return LAYOUTS[listing.layout].reader()


def read_frames(
    listing: Listing,
    width: int | None,
    height: int | None,
    test_every: int,
    held_out: HeldOut = "every_nth",
) -> Frames:
    """Read, check and resize the listed frames. UserError for anything a person can mend.

    Every listed frame must have a pose: see `without_lost_frames`.
    """
    names = class_names(listing)
    pose = reader_of(listing).poses(listing)
    native, camera = native_camera(listing)
    size = target_size(native, width, height)
    rgb = np.empty((len(listing.names), *size, 3), dtype=np.uint8)
    for index, image in enumerate(native_images(listing)):
        rgb[index] = resize_rgb(image, size)
    return Frames(
        names=listing.names,
        rgb=rgb,
        pose=pose,
        intrinsics=scale_camera(camera, native, size),
        native_size=native,
        native_intrinsics=camera,
        split=split_frames(listing, test_every, held_out),
        classes=tuple(names),
        lens=native_lens(listing, native),
    )


def native_camera(listing: Listing) -> tuple[tuple[int, int], np.ndarray]:
    """(height, width) of the listed photos and f64 (3, 3) of them, undistorted and checked.

    Opens the first photo only.
    """
    first = listing.only(listing.names[:1])
    height, width = next(native_images(first)).shape[:2]
    camera = reader_of(listing).intrinsics(listing, width, height)
    where = str(listing.intrinsics or listing.poses[0])
    return (height, width), checked_camera(camera, where, width, height)


def native_lens(listing: Listing, size: tuple[int, int]) -> PhotoLens | None:
    """The lens of the listed photos of this (height, width); None where nothing is undistorted."""
    lens_of = reader_of(listing).lens
    lens = lens_of(listing, size[1], size[0]) if lens_of else None
    return PhotoLens(lens, size) if lens and lens.bent else None


def scene_warnings(listing: Listing) -> list[str]:
    """What a person should know about the files and the camera of a scene; opens one photo.

    Raises:
        UserError: the camera cannot be that of the photos.
    """
    (height, width), camera = native_camera(without_lost_frames(listing))
    return [*listing.notes, *camera_warnings(camera, width, height)]


def without_lost_frames(listing: Listing) -> Listing:
    """The listing without frames that have no pose; they are added to its `dropped`.

    So are photos that have a pose and are not there.
    """
    reader = reader_of(listing)
    if reader.absent:
        listing = replace(listing, dropped=(*listing.dropped, *reader.absent(listing)))
    if not reader.no_pose:
        return listing
    posed = np.isfinite(reader.poses(listing)).all((1, 2))
    if posed.all():
        return listing
    kept = [name for name, good in zip(listing.names, posed, strict=True) if good]
    lost = [
        (name, reader.no_pose) for name, good in zip(listing.names, posed, strict=True) if not good
    ]
    check_count(listing.folder, len(kept), None)
    return replace(listing.only(kept), dropped=(*listing.dropped, *lost))


def class_names(listing: Listing) -> list[str]:
    """The scene's class list, without void; UserError when it has none and none is asked for."""
    if listing.class_list is not None:
        return read_names(listing.class_list)
    listing.require_classes()
    return list(reader_of(listing).classes(listing).values())


def split_frames(listing: Listing, test_every: int, held_out: HeldOut) -> np.ndarray:
    """u8 (n,): which frames are trained on and which are scored (`splits.TRAIN`, `TEST`, `BOTH`).

    Raises:
        UserError: labelled frames are to be scored, and there is none, or nothing else to train on.
    """
    if held_out == "every_nth":
        # Frame i of the sampled order: the published split (docs/method.md#data).
        return np.where(np.arange(len(listing.names)) % test_every == 0, TEST, TRAIN).astype("u1")
    labelled = np.array([label is not None for label in listing.labels])
    if not labelled.any() or (held_out == "labelled" and labelled.all()):
        raise UserError(
            f"{listing.folder}: found labels on {int(labelled.sum())} of {len(labelled)} frames, "
            "which leaves nothing to train on or nothing to test",
            "set `held_out: every_nth`",
        )
    return np.where(labelled, TEST if held_out == "labelled" else BOTH, TRAIN).astype("u1")


def native_images(listing: Listing) -> Iterator[np.ndarray]:
    """u8 (H, W, 3) of each listed image at its own size; all must agree with the first."""
    size: tuple[int, int] | None = None
    photos = reader_of(listing).photos(listing)
    for image, path in zip(photos, photo_paths(listing), strict=True):
        size = size or image.shape[:2]
        check_size(path, image.shape, size, photo_paths(listing)[0])
        yield image


def photo_paths(listing: Listing) -> Sequence[Path]:
    """One path per frame, for messages; a frame inside a file is named after the file."""
    if len(listing.images) == len(listing.names):
        return listing.images
    return [Path(f"{listing.images[0]}, frame {name}") for name in listing.names]


def positions(names: Sequence[str]) -> dict[str, int]:
    """Class name in `word_form` -> its index in the class list.

    The class list that is asked for and the scene's own may differ in case and blanks: a class must
    not become void for that. No list holds two names of one form (`check_classes`).
    """
    return {word_form(name): index for index, name in enumerate(names)}


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
    reader = reader_of(listing)
    listing.label_inputs()  # refuses missing ones
    names = class_names(listing)
    position = positions(names)
    ids = {
        identity: position.get(word_form(name), VOID)
        for identity, name in reader.classes(listing).items()
    }
    unusable = reader.unusable_ids(listing)
    labels = np.full((len(listing.names), *size), VOID, dtype=np.uint16)
    for index, path in enumerate(listing.labels):
        if path is None:
            continue
        found = reader.label_ids(listing, index)
        check_label_size(listing, path, found.shape, native)
        refuse_unusable(path, found, unusable)
        table = index_table(found, ids, reader.void_ids, f"{path}", str(listing.classes))
        labels[index] = resize_labels(table[found], size)
    return labels, names


def read_masks(
    listing: Listing, native: tuple[int, int], size: tuple[int, int]
) -> np.ndarray | None:
    """Which classes each pixel belongs to, none or several: u8 (n, H, W, ceil(C / 8)), bits packed
    along the last axis. None for layouts whose ground truth has one label per pixel.
    """
    reader = reader_of(listing)
    if reader.label_masks is None:
        return None
    position = positions(class_names(listing))
    packed = np.zeros((len(listing.names), *size, (len(position) + 7) // 8), dtype=np.uint8)
    for index, path in enumerate(listing.labels):
        if path is None:
            continue
        belongs = np.zeros((*size, len(position)), dtype=bool)
        for name, mask in reader.label_masks(listing, index).items():
            check_label_size(listing, path, mask.shape, native)
            if word_form(name) in position:
                belongs[..., position[word_form(name)]] = resize_labels(mask, size)
        packed[index] = np.packbits(belongs, axis=-1)
    return packed


def check_label_size(
    listing: Listing, path: Path, found: tuple[int, ...], native: tuple[int, int]
) -> None:
    """UserError unless a label image has its photo's size, or its aspect where that is usual."""
    if not reader_of(listing).labels_of_any_size:
        check_size(path, found, native, photo_paths(listing)[0])
    elif abs(found[1] / found[0] * native[0] / native[1] - 1) > ASPECT_TOLERANCE:
        raise UserError(
            f"{path}: found size {found[1]}x{found[0]}, expected the aspect ratio of the photos, "
            f"{native[1]}x{native[0]}"
        )


def index_table(
    found: np.ndarray, ids: dict[int, int], void: tuple[int, ...], where: str, classes: str
) -> np.ndarray:
    """u16 lookup table from file id to class index; UserError for ids without a class.

    Args:
        ids: file id -> class index, VOID for classes that are not in the list.
    """
    unknown = sorted(set(np.unique(found).tolist()) - set(ids) - set(void))
    if unknown:
        span = f"{min(ids)} to {max(ids)}" if ids else "it has none"
        raise UserError(
            f"{where}: found label id {unknown[0]}, expected ids of {classes} "
            f"({span}) or {', '.join(map(str, void))} for void",
            "add the class to the list or mend the label image",
        )
    highest = int(found.max())
    table = np.full(highest + 1, VOID, dtype=np.uint16)
    for identity, index in ids.items():
        # A list may name ids that no image holds, of any size.
        if 0 <= identity <= highest:
            table[identity] = index
    return table


def refuse_unusable(path: Path, found: np.ndarray, unusable: dict[int, str]) -> None:
    """UserError where a label image holds an id whose row in the table of ids is bad."""
    bad = sorted(set(np.unique(found).tolist()) & set(unusable))
    if bad:
        raise UserError(
            f"{path}: found label id {bad[0]}, which the table of ids does not explain: "
            f"{unusable[bad[0]]}",
            "mend that row of the table",
        )


def warn_of_void(label: np.ndarray, labelled: Sequence[bool]) -> None:
    """Warnings where label files leave every pixel void, in all frames or in some.

    Args:
        label: u16 (n, H, W), VOID where unlabelled.
        labelled: which of the n frames have a label file.
    """
    known = label[np.asarray(labelled, dtype=bool)] != VOID
    if not known.any():
        warn("every labelled pixel is void: nothing of the class list occurs in the label files")
        return
    empty = int((~known.any((1, 2))).sum())
    if empty:
        warn(f"the label files of {empty} of {len(known)} frames are void all over")


def absent_classes(label: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Names of the classes that no pixel of the labels has."""
    count = np.bincount(label[label != VOID], minlength=len(classes))
    return [name for name, pixels in zip(classes, count.tolist(), strict=True) if not pixels]
