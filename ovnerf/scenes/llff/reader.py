"""Reader of the `llff` layout: 3DOVS scenes and other LLFF captures.

    scene/
      images/             photos; row N of the poses belongs to the N-th by name
      poses_bounds.npy    (n, 17): 3x5 matrix [rotation | centre | height, width, focal], two bounds
      segmentations/      optional
        classes.txt       one class per line, no void; used in alphabetical order
        00/banana.png     masks of view 0: white is inside; they may overlap

LLFF camera axes are down, right, back; they become right, down, forward. Poses are used as they
are: the usual recentring by an average pose whose frame is left-handed mirrors the world
(docs/method.md#ndc); `box: ndc` recentres by a right-handed one (forward.py). Units are those of
the reconstruction, not metres.
"""

from __future__ import annotations

import numpy as np

from ovnerf.runtime.errors import UserError
from ovnerf.scenes.listing import Listing, label_files
from ovnerf.scenes.poses import pose_matrix
from ovnerf.scenes.reader import SceneReader
from ovnerf.storage.documents import check_classes, read_names
from ovnerf.storage.photos import read_mask
from ovnerf.storage.sizes import check_size
from ovnerf.storage.text import clean_name, same_form

SAME_CAMERA = 1e-6
"""Relative tolerance of numbers that are one: a thousandth of a pixel."""


def table(listing: Listing) -> np.ndarray:
    """f64 (all images, 17); UserError unless there is one row per image of the folder."""
    path = listing.poses[0]
    try:
        rows = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{path}: not a readable array ({error})") from None
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "fiu":
        raise UserError(
            f"{path}: found "
            + (f"numbers of type {rows.dtype}" if isinstance(rows, np.ndarray) else "an archive")
            + ", expected one array of real numbers",
            "write it with numpy.save",
        )
    if rows.ndim != 2 or rows.shape[1] != 17:
        raise UserError(f"{path}: found shape {rows.shape}, expected (images, 17)")
    count = len(listing.all_photos)
    if len(rows) != count:
        raise UserError(
            f"{path}: found {len(rows)} poses for {count} photos in {listing.folder / 'images'}, "
            "expected one for each",
            "rows belong to the photos in order of their names: bring back the photo that is "
            "missing, or move the one that is too many elsewhere",
        )
    return rows.astype(np.float64)


def matrices(listing: Listing) -> np.ndarray:
    """f64 (all images, 3, 5): rotation, centre, and height, width, focal length."""
    return table(listing)[:, :15].reshape(-1, 3, 5)


def poses(listing: Listing) -> np.ndarray:
    """f64 (n, 4, 4) camera-to-world, OpenCV axes, units of the reconstruction."""
    found = []
    for number, row in enumerate(matrices(listing)):
        pose = np.eye(4)
        down, right, back = row[:, 0], row[:, 1], row[:, 2]
        pose[:3] = np.stack([right, down, -back, row[:, 3]], axis=1)
        found.append(pose_matrix(pose.ravel(), f"{listing.poses[0]}, row {number}"))
    return np.stack([found[number] for number in listing.rows()])


def bounds(listing: Listing) -> np.ndarray:
    """f64 (n, 2): distances of the nearest and the farthest thing each view sees."""
    found = table(listing)[listing.rows(), 15:]
    good = np.isfinite(found).all(1) & (found[:, 0] > 0) & (found[:, 0] < found[:, 1])
    if not good.all():
        row = listing.rows()[int(good.argmin())]
        raise UserError(
            f"{listing.poses[0]}, row {row}: found bounds {table(listing)[row, 15:].tolist()}, "
            "expected 0 < near < far"
        )
    return found


def intrinsics(listing: Listing, width: int, height: int) -> np.ndarray:
    """f64 (3, 3) of the images: the focal length of the rows, the centre in the middle.

    The rows of all listed images must agree, and may be of another size than the images.
    """
    numbers = listing.rows()
    rows = matrices(listing)[numbers, :, 4]
    for number, row in zip(numbers, rows, strict=True):
        if not np.isfinite(row).all() or row.min() <= 0:
            raise UserError(
                f"{listing.poses[0]}, row {number}: found height, width, focal {list_of(row)}, "
                "expected positive numbers"
            )
        if not np.allclose(row, rows[0], rtol=SAME_CAMERA, atol=0):
            raise UserError(
                f"{listing.poses[0]}: found height, width, focal {list_of(rows[0])} in row "
                f"{numbers[0]} and {list_of(row)} in row {number}, expected one camera",
                "keep the photos of one camera and one zoom",
            )
    native_height, native_width, focal = rows[0]
    if abs(native_width / native_height - width / height) > 0.01:
        raise UserError(
            f"{listing.poses[0]}: found cameras of {native_width:.0f}x{native_height:.0f}, "
            f"expected the aspect ratio of the {width}x{height} images"
        )
    focal_here = focal * width / native_width
    return np.array([[focal_here, 0, width / 2], [0, focal_here, height / 2], [0, 0, 1]])


def list_of(row: np.ndarray) -> str:
    """Numbers of a row, for messages."""
    return ", ".join(f"{value:g}" for value in row)


def classes(listing: Listing) -> dict[int, str]:
    """Label id (from 1) -> name, alphabetical."""
    assert listing.classes is not None
    names = sorted(read_names(listing.classes))
    return check_classes(dict(enumerate(names, start=1)), listing.classes)


def label_masks(listing: Listing, index: int) -> dict[str, np.ndarray]:
    """Class name -> bool (H, W), alphabetical; a class without a file is left out."""
    folder = listing.labels[index]
    assert folder is not None
    names = set(classes(listing).values())
    files = label_files(folder)
    if not files:
        raise UserError(f"{folder}: found no masks, expected <class>.png")
    found: dict[str, np.ndarray] = {}
    for path in sorted(files, key=lambda path: same_form(path.stem)):
        name = clean_name(path.stem, str(path))
        if name not in names:
            raise UserError(
                f"{path}: found a mask of {name!r}, expected a class of {listing.classes}"
            )
        if name in found:
            raise UserError(f"{path}: found a second mask of {name!r} in one view, expected one")
        mask = read_mask(path)
        first = next(iter(found.values()), mask)
        check_size(path, mask.shape, (first.shape[0], first.shape[1]), files[0])
        found[name] = mask
    return found


def label_ids(listing: Listing, index: int) -> np.ndarray:
    """i64 (H, W): id of the first class whose mask covers the pixel, 0 where none does."""
    ids = {name: identity for identity, name in classes(listing).items()}
    masks = label_masks(listing, index)
    found = np.zeros(next(iter(masks.values())).shape, np.int64)
    for name in reversed(masks):
        found[masks[name]] = ids[name]
    return found


READER = SceneReader(
    poses,
    intrinsics,
    classes,
    void_ids=(0,),
    label_ids=label_ids,
    label_masks=label_masks,
    bounds=bounds,
    labels_of_any_size=True,
)
