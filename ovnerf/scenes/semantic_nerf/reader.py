"""Reader of the `semantic_nerf` layout: one trajectory file, classes in info_semantic.json."""

from __future__ import annotations

import json

import numpy as np

from ovnerf.runtime.errors import UserError
from ovnerf.scenes.listing import Listing
from ovnerf.scenes.pairing import shown
from ovnerf.scenes.pinhole import camera_matrix
from ovnerf.scenes.poses import pose_matrix
from ovnerf.scenes.reader import SceneReader
from ovnerf.storage.documents import check_classes, read_numbers
from ovnerf.storage.text import read_text

VOID_IDS = (0,)
DEFAULT_SIZE = (640, 480)
"""Width and height of the public Replica renderings, whose camera has a 90 degree field of view."""


def poses(listing: Listing) -> np.ndarray:
    """f64 (n, 4, 4) camera-to-world, OpenCV axes, metres: line N (from 0) belongs to image N."""
    path = listing.poses[0]
    rows = read_numbers(path)
    check_lines(listing, len(rows))
    return np.stack(
        [pose_matrix(rows[number], f"{path}, line {number + 1}") for number in listing.rows()]
    )


def check_lines(listing: Listing, lines: int) -> None:
    """UserError unless it is certain which line of the trajectory each photo of the folder has.

    Photos whose numbers leave some out (0, 10, 20 ...) point at their lines. Numbers without a gap
    and another count of lines can mean the first lines, or photos that were numbered anew.
    """
    path = listing.poses[0]
    blank = [not line.strip() for line in read_text(path).strip().splitlines()]
    if any(blank):
        raise UserError(
            f"{path}, line {blank.index(True) + 1}: found an empty line between poses",
            "lines are counted: remove it, or write the pose that is missing",
        )
    for number, name in listing.all_photos:
        if not isinstance(number, int) or number >= lines:
            raise UserError(
                f"{path}: no pose for image {name}, found {lines} lines, "
                f"expected line {shown(number)} (counted from 0)",
                "image N needs line N of the trajectory",
            )
    count = len(listing.all_photos)
    numbers = [number for number, _ in listing.all_photos]
    if lines != count and numbers in ([*range(count)], [*range(1, count + 1)]):
        raise UserError(
            f"{path}: found {lines} lines for {count} photos numbered {numbers[0]} to "
            f"{numbers[-1]}, expected one line for each photo",
            "line N (counted from 0) belongs to photo N: remove the lines of photos that are not "
            "there, or name each photo by its line",
        )


def intrinsics(listing: Listing, width: int, height: int) -> np.ndarray:
    """f64 (3, 3) of the native size, pixel centres at +0.5.

    Without a file: the public 640x480 renderings, 90 degrees across (fx = fy = 320).
    """
    if listing.intrinsics is not None:
        return camera_matrix(listing.intrinsics, width, height)
    if (width, height) != DEFAULT_SIZE:
        raise UserError(
            f"{listing.folder}: no intrinsics.txt, and images are {width}x{height}; the default "
            "camera is known for 640x480 only",
            "add intrinsics.txt (3x3)",
        )
    return np.array([[320.0, 0.0, 320.0], [0.0, 320.0, 240.0], [0.0, 0.0, 1.0]])


def classes(listing: Listing) -> dict[int, str]:
    """Label id -> name by ascending id, from the `classes` list; id 0 is void."""
    path = listing.classes
    assert path is not None
    try:
        rows = json.loads(read_text(path))["classes"]
        pairs = sorted((class_id(row["id"]), class_name(row["name"])) for row in rows)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not a class list ({type(error).__name__}: {error})",
            'expected {"classes": [{"id": 1, "name": "wall"}, ...]}',
        ) from None
    names: dict[int, str] = {}
    for identity, name in pairs:
        if identity in names:
            raise UserError(f"{path}: class id {identity} appears twice, expected once")
        if identity not in VOID_IDS:
            names[identity] = name
    return check_classes(names, path)


def class_id(value: object) -> int:
    """An id of `classes`; ValueError where it is no whole number from 0."""
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()):
        raise ValueError(f"id {value!r} is no whole number from 0")
    return int(text)


def class_name(value: object) -> str:
    """A name of `classes`; ValueError where it is no text."""
    if not isinstance(value, str):
        raise ValueError(f"name {value!r} is no text")
    return value


READER = SceneReader(poses, intrinsics, classes, void_ids=VOID_IDS)
