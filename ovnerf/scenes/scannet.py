"""Reader of the `scannet` layout: scenes exported by the dataset's tool, or `.sens` files as such.

    scene0004_00/                     scene0004_00/
      color/      0.jpg 1.jpg ...       scene0004_00.sens
      pose/       0.txt 1.txt ...       label-filt/   optional, 0.png 1.png ...
      intrinsic/  intrinsic_color.txt
      label-filt/ 0.png 1.png ...     optional, 16-bit ids of scannetv2-labels.combined.tsv

The table lies in the scene folder or up to two folders above. Frames that the tracker lost have
poses of -inf: they are dropped. Depth is not read. Colour and label images may differ in size.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import chain

import numpy as np

from ovnerf.errors import UserError
from ovnerf.scenes.files import (
    pose_matrix,
    read_names,
    read_numbers,
    read_rgb,
    read_text,
)
from ovnerf.scenes.layouts import CLASS_LISTS, SCANNET_TABLE, Listing
from ovnerf.scenes.pinhole import camera_matrix, check_camera_size, half_pixel_centres
from ovnerf.scenes.sens import read_frames, read_header

VOID_IDS = (0,)
NO_POSE = "the tracker lost this frame (pose is not finite)"
LABELS_OF_ANY_SIZE = True
NYU_LISTS = ("scannet_20", "nyu_40")
"""Lists whose names stand for NYU40 ids; any other list is matched with raw categories."""


def is_recording(listing: Listing) -> bool:
    """Whether the scene is one `.sens` file."""
    return listing.poses[0].suffix == ".sens"


def poses(listing: Listing) -> np.ndarray:
    """f64 (n, 4, 4) camera-to-world, OpenCV axes, metres; NaN where the tracker was lost."""
    if is_recording(listing):
        path = listing.poses[0]
        wanted = listing.places()
        found = {
            frame.number: (frame.pose, f"{path}, frame {frame.number}")
            for frame in read_frames(path, set(wanted), images=False)
        }
        rows = [found[number] for number in wanted]
    else:
        rows = [(tuple(chain(*read_numbers(path))), str(path)) for path in listing.poses]
    return np.stack([pose_or_nan(values, where) for values, where in rows])


def pose_or_nan(values: tuple[float, ...], where: str) -> np.ndarray:
    """One pose, checked; all NaN when a number is not finite."""
    if len(values) == 16 and not np.isfinite(values).all():
        return np.full((4, 4), np.nan)
    return pose_matrix(values, where)


def intrinsics(listing: Listing, width: int, height: int) -> np.ndarray:
    """f64 (3, 3) of the colour images, pixel centres at +0.5."""
    assert listing.intrinsics is not None
    if not is_recording(listing):
        return camera_matrix(listing.intrinsics, width, height)
    header = read_header(listing.intrinsics)
    matrix = np.array(header.colour_camera).reshape(4, 4)[:3, :3]
    check_camera_size(str(listing.intrinsics), header.colour_size, (width, height))
    return half_pixel_centres(matrix, width, height)


def photos(listing: Listing) -> Iterator[np.ndarray]:
    """u8 (H, W, 3) of each frame, in order."""
    if not is_recording(listing):
        yield from map(read_rgb, listing.images)
        return
    path = listing.images[0]
    kind = read_header(path).colour_format
    if kind not in ("jpeg", "png"):
        raise UserError(f"{path}: found {kind} colour images, expected jpeg or png")
    for frame in read_frames(path, set(listing.places())):
        yield read_rgb(io.BytesIO(frame.colour), f"{path}, frame {frame.number}")


def classes(listing: Listing) -> dict[int, str]:
    """Raw label id -> class name in the terms of the class list; several ids share a name."""
    if listing.classes is None:
        raise UserError(
            f"{listing.folder}: no {SCANNET_TABLE}, which explains the label ids",
            "it comes with ScanNet; put it in the scene folder or up to two folders above",
        )
    nyu = listing.class_list is not None and listing.class_list.stem in NYU_LISTS
    nyu_names = read_names(CLASS_LISTS / "nyu_40.txt")
    found = {}
    lines = read_text(listing.classes).splitlines()
    for number, row in enumerate(csv.DictReader(lines, delimiter="\t"), start=2):
        try:
            identity, raw, of_nyu = int(row["id"]), row["raw_category"], int(row["nyu40id"])
            found[identity] = nyu_names[of_nyu - 1] if nyu else raw
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise UserError(
                f"{listing.classes}, line {number}: not a label ({type(error).__name__}: {error})",
                "expected the columns id, raw_category and nyu40id",
            ) from None
    return found
