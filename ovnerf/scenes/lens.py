"""The lens of a scene's photos, checked: photos of a distorted camera -> of a pinhole camera."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from ovnerf.geometry.lens import Lens
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.pinhole import checked_camera
from ovnerf.storage.photos import read_rgb

COEFFICIENTS = ("k1", "k2", "p1", "p2", "k3")
"""Of Brown's distortion, in OpenCV's order."""
SAME_MATRIX, SAME_DISTORTION = 1e-6, 1e-6
"""Relative and absolute tolerance of cameras that are one: a thousandth of a pixel at most."""
CORNER_MOVES = (0.67, 3.0)
"""Distance of the farthest corner from the centre after undistortion, over that in the photo, which
is 1 for a pinhole. Wide lenses that are not fisheyes come to 2, tele lenses to 0.9."""
EXPLAINED = 0.95
"""Share of the way to the farthest corner up to which distortion must grow. Calibrations know
little of the last few pixels, which undistorted photos do not show."""
STEPS = 2000
"""Radii between the centre and the farthest corner at which distortion is looked at."""
GRID = 33
"""Points across and down the undistorted photo at which distortion is looked at."""
OUTSIDE = 0.02
"""Share of the longer side by which the undistorted photo may reach outside the distorted one:
OpenCV finds its border from a few points."""


def same_lens(first: Lens, second: Lens) -> bool:
    """Whether two cameras differ by no more than the rounding of whoever wrote them."""
    return np.allclose(first.matrix, second.matrix, rtol=SAME_MATRIX, atol=0) and np.allclose(
        first.distortion, second.distortion, rtol=0, atol=SAME_DISTORTION
    )


def one_lens(where: str, named: Iterable[tuple[str, Lens]], hint: str) -> Lens:
    """The one camera of all frames; UserError naming two frames whose cameras differ.

    Args:
        named: each camera with the frame or the number by which messages call it.
    """
    (first, lens), *others = named
    for name, other in others:
        if not same_lens(lens, other):
            raise UserError(
                f"{where}: found different cameras, {values_of(lens)} ({first}) and "
                f"{values_of(other)} ({name}), expected one camera",
                hint,
            )
    return lens


def values_of(lens: Lens) -> str:
    """A camera in words, for messages."""
    values = (*lens.matrix[[0, 1], [0, 1]], *lens.matrix[:2, 2])
    named = [
        f"{name} {value:.9g}" for name, value in zip(("fx", "fy", "cx", "cy"), values, strict=True)
    ]
    return " ".join([*named, distortion_of(lens)] if lens.bent else named)


def distortion_of(lens: Lens) -> str:
    """Its distortion in words, for messages."""
    named = zip(COEFFICIENTS, lens.distortion, strict=True)
    return " ".join(["distortion", *(f"{name} {value:.9g}" for name, value in named if value)])


def checked_lens(lens: Lens, where: str, width: int, height: int) -> Lens:
    """The camera as given; UserError unless its photos can be undistorted.

    Distortion must be one that a lens can have: it must not fold the photo over itself anywhere.
    """
    checked_camera(lens.matrix, where, width, height)
    if not np.isfinite(lens.distortion).all():
        raise UserError(f"{where}: found {distortion_of(lens)}, expected finite numbers")
    if lens.bent:
        check_radius(lens, where, width, height)
        check_grid(lens, where, width, height)
    return lens


def check_radius(lens: Lens, where: str, width: int, height: int) -> None:
    """UserError unless radial distortion grows with the radius up to the farthest corner.

    A ray at radius r (at unit depth) is seen at r (1 + k1 r^2 + k2 r^4 + k3 r^6).
    """
    k1, k2, _, _, k3 = lens.distortion
    corners = np.array([[x, y] for x in (0, width) for y in (0, height)])
    local = (corners - lens.matrix[:2, 2]) / lens.matrix[[0, 1], [0, 1]]
    corner = float(np.linalg.norm(local, axis=1).max())
    radius = np.linspace(0, CORNER_MOVES[1] * corner, STEPS)
    seen = radius * (1 + k1 * radius**2 + k2 * radius**4 + k3 * radius**6)
    slope = 1 + 3 * k1 * radius**2 + 5 * k2 * radius**4 + 7 * k3 * radius**6
    reached = int((seen >= corner).argmax()) or STEPS
    folded = np.flatnonzero(slope[:reached] <= 0)
    hint = (
        "calibrate the camera again, with points out to the corners, or undistort the photos first"
    )
    if len(folded) and seen[folded[0]] < EXPLAINED * corner:
        share = 100 * seen[folded[0]] / corner
        raise UserError(
            f"{where}: found {distortion_of(lens)}, which folds the photos over at {share:.0f} % "
            "of the way from the centre to the corner, expected it to grow up to the corner",
            hint,
        )
    moved = radius[reached] / corner if reached < STEPS else np.inf
    if not len(folded) and not CORNER_MOVES[0] <= moved <= CORNER_MOVES[1]:
        raise UserError(
            f"{where}: found {distortion_of(lens)}, which moves the corner of the photos further "
            f"than any lens does, expected it at {CORNER_MOVES[0]:g} to {CORNER_MOVES[1]:g} times "
            "its distance from the centre after undistortion",
            hint,
        )


def check_grid(lens: Lens, where: str, width: int, height: int) -> None:
    """UserError unless every pixel of the undistorted photo has its own place in the photo."""
    matrix = lens.pinhole(width, height)
    column, row = np.meshgrid(np.linspace(0, width, GRID), np.linspace(0, height, GRID))
    x = (column - matrix[0, 2]) / matrix[0, 0]
    y = (row - matrix[1, 2]) / matrix[1, 1]
    seen, area = bend(x, y, lens.distortion)
    at = seen * lens.matrix[[0, 1], [0, 1]] + lens.matrix[:2, 2]
    beyond = np.maximum(-at, at - (width, height)).max() / max(width, height)
    # Written so that a number that is not finite is refused, too.
    if not (area.min() > 0 and beyond < OUTSIDE):
        raise UserError(
            f"{where}: found {values_of(lens)}, whose distortion cannot be undone over the photos "
            f"of {width}x{height}, expected that of a lens",
            "calibrate the camera again; p1 and p2 are some thousandths",
        )


def bend(
    x: np.ndarray, y: np.ndarray, distortion: tuple[float, float, float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Where rays (x, y, 1) are seen (..., 2), and how a small area is magnified there (...).

    The magnification is the determinant of the derivatives: where it is not positive, the photo is
    folded over or turned inside out.
    """
    k1, k2, p1, p2, k3 = distortion
    square = x**2 + y**2
    radial = 1 + square * (k1 + square * (k2 + square * k3))
    growth = 2 * (k1 + square * (2 * k2 + 3 * k3 * square))
    seen = np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (square + 2 * x**2),
            y * radial + p1 * (square + 2 * y**2) + 2 * p2 * x * y,
        ],
        axis=-1,
    )
    across = radial + growth * x**2 + 2 * p1 * y + 6 * p2 * x
    down = radial + growth * y**2 + 6 * p1 * y + 2 * p2 * x
    mixed = growth * x * y + 2 * p1 * x + 2 * p2 * y
    return seen, across * down - mixed**2


def undistorted(paths: Iterable[Path], lens_of: Callable[[int, int], Lens]) -> Iterator[np.ndarray]:
    """u8 (H, W, 3) of each photo as a pinhole camera sees it.

    Args:
        lens_of: called with the width and height of the first photo; the lens of all.
    """
    lens = None
    for path in paths:
        photo = read_rgb(path)
        lens = lens or lens_of(photo.shape[1], photo.shape[0])
        yield lens.undistort(photo)
