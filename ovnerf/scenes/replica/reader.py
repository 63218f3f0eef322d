"""Reader of the `replica` layout (docs/conventions.md#layouts): one pose file per image."""

from __future__ import annotations

from itertools import chain

import numpy as np

from ovnerf.scenes.listing import Listing
from ovnerf.scenes.pinhole import camera_matrix
from ovnerf.scenes.poses import pose_matrix
from ovnerf.scenes.reader import SceneReader
from ovnerf.storage.documents import check_classes, check_plain_name, read_numbers
from ovnerf.storage.text import read_lines


def poses(listing: Listing) -> np.ndarray:
    """f64 (n, 4, 4) camera-to-world, OpenCV axes, metres."""
    return np.stack([pose_matrix(chain(*read_numbers(path)), str(path)) for path in listing.poses])


def intrinsics(listing: Listing, width: int, height: int) -> np.ndarray:
    """f64 (3, 3) of the native size, pixel centres at +0.5."""
    assert listing.intrinsics is not None
    return camera_matrix(listing.intrinsics, width, height)


def classes(listing: Listing) -> dict[int, str]:
    """Label id -> name. Id = line number; line 0 is the void placeholder whatever it says."""
    assert listing.classes is not None
    lines = read_lines(listing.classes)
    while lines and not lines[-1].strip():
        lines.pop()
    for number, line in enumerate(lines[1:], start=2):
        check_plain_name(line.strip(), f"{listing.classes}, line {number}")
    return check_classes(dict(enumerate(lines[1:], start=1)), listing.classes)


# Line 0 of classes.txt is a placeholder for void.
READER = SceneReader(poses, intrinsics, classes, void_ids=(0,))
