"""Pinhole cameras from files, checked against the photos that they are said to belong to.

A camera for photos of another size, or one in other units than pixels, reads without an error and
gives a wrong scene. Every camera passes `checked_camera` after undistortion, whatever its layout;
what is possible but rare comes back from `camera_warnings`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ovnerf.runtime.errors import UserError
from ovnerf.storage.documents import read_numbers

INTEGER_CENTRE_TOLERANCE = 1e-3
SKEW_PIXELS = 1e-2
"""Skew that moves no pixel further than this is the rounding of whoever wrote the file."""
LARGEST_RATIO = 2.0
"""Ratio of the focal lengths that no photo has: 16:9 squeezed into a square gives 1.78."""
WIDEST, NARROWEST = 170.0, 1.0
"""Degrees across the longer side that no pinhole photo has; focal lengths in millimetres give more
than 170, a telephoto lens of 800 mm on full frame 2.6."""
WIDE, NARROW = 150.0, 10.0
"""Degrees across the longer side from which on it is mentioned."""
CENTRED = 0.1
"""Distance of the centre from the middle, as a share of the side, from which on it is mentioned.
Decentred lenses and COLMAP's refinement stay within some 0.05; cropped photos may lie beyond."""
SAME_SHARE = 0.05
"""How far the centre may be from the middle of other photos for the camera to belong to them."""
OTHER_SCALE = (0.75, 4 / 3)
"""Ratios of both coordinates of the centre to the middle of the photos, outside which the camera
belongs to photos of another size."""
NORMALISED_FOCAL = 10.0
"""Focal lengths below this, with a centre of at most 1, are shares of the size, not pixels."""


def camera_matrix(path: Path, width: int, height: int) -> np.ndarray:
    """f64 (3, 3) from a text file, in our convention (pixel centres at +0.5), not yet checked."""
    rows = read_numbers(path)
    shape = (len(rows), len(rows[0]) if rows else 0)
    if shape not in ((3, 3), (4, 4), (3, 4)) or len({len(row) for row in rows}) != 1:
        raise UserError(
            f"{path}: found a matrix of shape {shape[0]}x{shape[1]}, expected 3x3 or 4x4",
            "rows are fx 0 cx / 0 fy cy / 0 0 1",
        )
    return half_pixel_centres(np.array(rows, dtype=np.float64)[:3, :3], width, height)


def half_pixel_centres(matrix: np.ndarray, width: int, height: int) -> np.ndarray:
    """The camera matrix with pixel centres at +0.5, whatever convention it came in.

    Datasets whose principal point is exactly ((W-1)/2, (H-1)/2) count pixel centres at integers
    (319.5 for 640 columns): half a pixel is added (docs/method.md#pixel-centres). Any other value
    is kept.
    """
    integer_centre = ((width - 1) / 2, (height - 1) / 2)
    matrix = matrix.copy()
    if np.allclose(matrix[:2, 2], integer_centre, rtol=0, atol=INTEGER_CENTRE_TOLERANCE):
        matrix[:2, 2] += 0.5
    return matrix


def checked_camera(matrix: np.ndarray, where: str, width: int, height: int) -> np.ndarray:
    """The camera matrix (3, 3) without its rounding; UserError unless it can belong to the photos.

    Args:
        where: the file, and what was done to the camera, for messages.
        width, height: of the photos.
    """
    fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    if not np.isfinite(matrix).all() or min(fx, fy) <= 0:
        raise UserError(
            f"{where}: found focal lengths {fx:g} and {fy:g} and centre ({cx:g}, {cy:g}), "
            "expected finite numbers and positive focal lengths"
        )
    check_shape(matrix, where, height)
    other = other_photos(matrix, width, height)
    if other:
        raise UserError(
            f"{where}: found focal lengths {fx:g} and {fy:g} and principal point ({cx:g}, {cy:g}), "
            f"which belong to {other}, expected those of the photos, {width}x{height} pixels",
            "scale the camera to the photos, or use the photos that it was made for",
        )
    if not (0 < cx < width and 0 < cy < height):
        raise UserError(
            f"{where}: principal point ({cx:g}, {cy:g}) lies outside the {width}x{height} photos, "
            "expected it inside",
            "intrinsics belong to the photos at their own size",
        )
    if not 1 / LARGEST_RATIO <= fx / fy <= LARGEST_RATIO:
        raise UserError(
            f"{where}: found focal lengths {fx:g} and {fy:g}, expected nearly the same twice",
            "both are in pixels of the photos",
        )
    degrees = field_of_view(matrix, width, height)
    if not NARROWEST <= degrees <= WIDEST:
        raise UserError(
            f"{where}: found focal lengths {fx:g} and {fy:g}, {degrees:.1f} degrees across photos "
            f"of {width}x{height}, expected {NARROWEST:g} to {WIDEST:g} degrees",
            "focal lengths are in pixels, not in millimetres",
        )
    checked = matrix.copy()
    checked[[0, 1, 2, 2], [1, 0, 0, 1]] = 0
    checked[2, 2] = 1
    return checked


def check_shape(matrix: np.ndarray, where: str, height: int) -> None:
    """UserError unless the matrix is fx 0 cx / 0 fy cy / 0 0 1, up to rounding."""
    skew = abs(matrix[0, 1]) / matrix[1, 1] * height / 2
    if skew > SKEW_PIXELS:
        raise UserError(
            f"{where}: found skew {matrix[0, 1]:g}, expected 0", "undistort the photos first"
        )
    if np.abs([matrix[1, 0], *(matrix[2] - (0, 0, 1))]).max() > 1e-6:
        raise UserError(
            f"{where}: found {matrix[1].tolist()} and {matrix[2].tolist()} as the last rows, "
            "expected 0 fy cy and 0 0 1",
            "rows are fx 0 cx / 0 fy cy / 0 0 1; is the matrix transposed, or a projection?",
        )


def other_photos(matrix: np.ndarray, width: int, height: int) -> str:
    """Which photos the camera belongs to when they are not these; empty when it may be these."""
    focal, centre = matrix[[0, 1], [0, 1]], matrix[:2, 2]
    if focal.max() < NORMALISED_FOCAL and np.abs(centre).max() <= 1:
        return "photos whose size is 1 (normalised intrinsics)"
    middle = 2 * centre / (width, height)
    turned = 2 * centre / (height, width)
    if np.abs(turned - 1).max() < SAME_SHARE and np.abs(middle - 1).max() > 2 * SAME_SHARE:
        return f"photos turned on their side, {height}x{width}"
    least, most = middle.min(), middle.max()
    scaled = most < OTHER_SCALE[0] or least > OTHER_SCALE[1]
    if scaled and 0 < most < least * (1 + SAME_SHARE):
        return f"photos of about {2 * centre[0]:.0f}x{2 * centre[1]:.0f}"
    return ""


def field_of_view(matrix: np.ndarray, width: int, height: int) -> float:
    """Degrees between the rays through the ends of the longer side, at the principal point."""
    axis, side = (0, width) if width >= height else (1, height)
    focal, centre = matrix[axis, axis], matrix[axis, 2]
    return float(np.degrees(np.arctan(centre / focal) + np.arctan((side - centre) / focal)))


def camera_warnings(matrix: np.ndarray, width: int, height: int) -> list[str]:
    """What is rare in a camera that `checked_camera` lets pass, one line each."""
    found = []
    share = np.abs(matrix[:2, 2] / (width, height) - 0.5)
    if share.max() > CENTRED:
        found.append(
            f"the camera's centre ({matrix[0, 2]:.1f}, {matrix[1, 2]:.1f}) is far from the middle "
            f"of the {width}x{height} photos; were they cropped, or is it a camera of other photos?"
        )
    degrees = field_of_view(matrix, width, height)
    if not NARROW <= degrees <= WIDE:
        found.append(
            f"the camera sees {degrees:.1f} degrees across the longer side of the photos; "
            f"{NARROW:g} to {WIDE:g} are usual"
        )
    return found


def check_camera_size(where: str, found: tuple[float, float], photos: tuple[int, int]) -> None:
    """UserError unless a file's (width, height) of its camera is that of the photos."""
    if tuple(found) == photos:
        return
    hint = "scale the camera to the photos, or use the photos that it was made for"
    if tuple(found) == photos[::-1]:
        hint = "the photos are turned on their side: save them upright, as the camera was"
    raise UserError(
        f"{where}: found a camera of {found[0]:g}x{found[1]:g}, expected {photos[0]}x{photos[1]} "
        "as the photos",
        hint,
    )
