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

from ovnerf.labels.vocabulary import CLASS_LISTS
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.listing import Listing
from ovnerf.scenes.pinhole import camera_matrix, check_camera_size, half_pixel_centres
from ovnerf.scenes.poses import pose_matrix
from ovnerf.scenes.reader import SceneReader
from ovnerf.scenes.scannet.listing import SCANNET_TABLE
from ovnerf.scenes.sens import read_frames, read_header
from ovnerf.storage.documents import read_names, read_numbers
from ovnerf.storage.photos import read_rgb
from ovnerf.storage.text import clean_name, read_lines

NO_POSE = "the tracker lost this frame (pose is not finite)"
TABLE_COLUMNS = ("id", "raw_category", "nyu40id")
UNLABELLED = ""
"""Name of ids whose NYU40 id is 0: they belong to no class."""
NYU_LISTS = ("scannet_20", "nyu_40")
"""Lists whose names stand for NYU40 ids; any other list is matched with raw categories."""


def is_recording(listing: Listing) -> bool:
    """Whether the scene is one `.sens` file."""
    return listing.poses[0].suffix == ".sens"


def poses(listing: Listing) -> np.ndarray:
    """f64 (n, 4, 4) camera-to-world, OpenCV axes, metres; NaN where the tracker was lost."""
    if is_recording(listing):
        path = listing.poses[0]
        wanted = listing.rows()
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
    for frame in read_frames(path, set(listing.rows())):
        yield read_rgb(io.BytesIO(frame.colour), f"{path}, frame {frame.number}")


def classes(listing: Listing) -> dict[int, str]:
    """Raw label id -> class name in the terms of the class list; several ids share a name.

    Rows that cannot be used are left out: see `unusable_ids`.
    """
    return read_table(listing)[0]


def unusable_ids(listing: Listing) -> dict[int, str]:
    """Raw label id -> what is wrong with its row. It matters only where the id occurs."""
    return read_table(listing)[1]


def read_table(listing: Listing) -> tuple[dict[int, str], dict[int, str]]:
    """Names of the raw label ids, and what is wrong with the rows of others.

    Raises:
        UserError: no table, or one without the columns that are read.
    """
    path = listing.classes
    if path is None:
        raise UserError(
            f"{listing.folder}: no {SCANNET_TABLE}, which explains the label ids",
            "it comes with ScanNet; put it in the scene folder or up to two folders above",
        )
    # Raw categories are typed by hand: a quotation mark (inches) is a plain character.
    rows = csv.DictReader(read_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    found = rows.fieldnames or []
    if not set(TABLE_COLUMNS) <= set(found):
        raise UserError(
            f"{path}, line 1: found the columns {', '.join(found)}, expected among them "
            f"{', '.join(TABLE_COLUMNS)}, one tab between"
        )
    nyu = listing.class_list is not None and listing.class_list.stem in NYU_LISTS
    nyu_names = [UNLABELLED, *read_names(CLASS_LISTS / "nyu_40.txt")] if nyu else None
    names: dict[int, str] = {}
    unusable: dict[int, str] = {}
    for row in rows:
        identity = whole_number(row["id"])
        if identity is None:
            continue  # no label image can hold it
        try:
            name = row_name(row, nyu_names, f"{path}, line {rows.line_num}")
            if names.setdefault(identity, name) != name:
                raise UserError(
                    f"{path}, line {rows.line_num}: found id {identity} for {name!r}, "
                    f"which an earlier line gives to {names[identity]!r}"
                )
        except UserError as error:
            unusable[identity] = error.message
    return {key: name for key, name in names.items() if key not in unusable}, unusable


def row_name(row: dict[str, str | None], nyu_names: list[str] | None, where: str) -> str:
    """The class name of one row of the table: by its NYU40 id, else its raw category."""
    if nyu_names is None:
        name = clean_name(row["raw_category"] or "", where)
        if not name:
            raise UserError(f"{where}: found no raw_category, expected a name")
        return name
    of_nyu = whole_number(row["nyu40id"])
    if of_nyu is None or of_nyu >= len(nyu_names):
        raise UserError(
            f"{where}: found nyu40id {row['nyu40id']!r}, expected 0 to {len(nyu_names) - 1}"
        )
    return nyu_names[of_nyu]


def whole_number(cell: str | None) -> int | None:
    """The number in a cell; None where there is anything but digits."""
    text = (cell or "").strip()
    return int(text) if text.isascii() and text.isdigit() else None


READER = SceneReader(
    poses,
    intrinsics,
    classes,
    void_ids=(0,),
    photos=photos,
    unusable_ids=unusable_ids,
    no_pose=NO_POSE,
    labels_of_any_size=True,
)
