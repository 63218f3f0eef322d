"""Reader of the `llff` layout: 3DOVS scenes and other LLFF captures.

    scene/
      images/             photos; row N of the poses belongs to the N-th by name
      poses_bounds.npy    (n, 17): 3x5 matrix [rotation | centre | height, width, focal], two bounds
      segmentations/      optional
        classes.txt       one class per line, no void; used in alphabetical order
        00/banana.png     masks of view 0: white (255) is inside

LLFF camera axes are down, right, back; they become right, down, forward. Poses are used as they
are: the usual recentring by an average pose whose frame is left-handed mirrors the world (method
1.3), and the scene box does what recentring is for. Units are those of the reconstruction, not
metres. Rays are not warped into normalised device coordinates.
"""

from __future__ import annotations

import numpy as np

from ovnerf.errors import UserError
from ovnerf.scenes.files import check_classes, check_size, open_image, pose_matrix, read_names
from ovnerf.scenes.layouts import Listing, label_files

VOID_IDS = (0,)
LABELS_OF_ANY_SIZE = True
INSIDE = 255


def table(listing: Listing) -> np.ndarray:
    """f64 (all images, 3, 5); UserError unless there is one row per image."""
    path = listing.poses[0]
    try:
        rows = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{path}: not a readable array ({error})") from None
    if rows.ndim != 2 or rows.shape[1] != 17:
        raise UserError(f"{path}: found shape {rows.shape}, expected (images, 17)")
    if len(rows) <= max(int(number) for number in listing.numbers):
        raise UserError(
            f"{path}: found {len(rows)} poses, expected one for each image",
            "rows belong to the images in order of their names; is an image too many?",
        )
    return rows[:, :15].reshape(-1, 3, 5).astype(np.float64)


def poses(listing: Listing) -> np.ndarray:
    """f64 (n, 4, 4) camera-to-world, OpenCV axes, units of the reconstruction."""
    found = []
    for number, row in enumerate(table(listing)):
        pose = np.eye(4)
        down, right, back = row[:, 0], row[:, 1], row[:, 2]
        pose[:3] = np.stack([right, down, -back, row[:, 3]], axis=1)
        found.append(pose_matrix(pose.ravel(), f"{listing.poses[0]}, row {number}"))
    return np.stack([found[int(number)] for number in listing.numbers])


def intrinsics(listing: Listing, width: int, height: int) -> np.ndarray:
    """f64 (3, 3) of the images: the focal length of the first row, the centre in the middle."""
    native_height, native_width, focal = table(listing)[0, :, 4]
    if min(native_height, native_width, focal) <= 0 or not np.isfinite(focal):
        raise UserError(
            f"{listing.poses[0]}: found height, width, focal {native_height}, {native_width}, "
            f"{focal}, expected positive numbers"
        )
    if abs(native_width / native_height - width / height) > 0.01:
        raise UserError(
            f"{listing.poses[0]}: found cameras of {native_width:.0f}x{native_height:.0f}, "
            f"expected the aspect ratio of the {width}x{height} images"
        )
    focal_here = focal * width / native_width
    return np.array([[focal_here, 0, width / 2], [0, focal_here, height / 2], [0, 0, 1]])


def classes(listing: Listing) -> dict[int, str]:
    """Label id (from 1) -> name, alphabetical."""
    assert listing.classes is not None
    names = sorted(read_names(listing.classes))
    return check_classes(dict(enumerate(names, start=1)), listing.classes)


def label_ids(listing: Listing, index: int) -> np.ndarray:
    """i64 (H, W): id of the first class whose mask covers the pixel, 0 where none does."""
    folder = listing.labels[index]
    assert folder is not None
    ids = {name: identity for identity, name in classes(listing).items()}
    masks = label_files(folder)
    if not masks:
        raise UserError(f"{folder}: found no masks, expected <class>.png")
    found = None
    for path in sorted(masks, key=lambda path: ids.get(path.stem, 0), reverse=True):
        if path.stem not in ids:
            raise UserError(
                f"{path}: found a mask of {path.stem!r}, expected a class of {listing.classes}"
            )
        mask = np.asarray(open_image(path).convert("L")) == INSIDE
        found = np.zeros(mask.shape, np.int64) if found is None else found
        check_size(path, mask.shape, found.shape[:2], masks[0])
        found[mask] = ids[path.stem]
    assert found is not None
    return found
