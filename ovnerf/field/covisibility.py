"""Which pixels of other views show the same surface point, by rendered distances.

The loops are compiled by numba (`field.loops.compiled`), because every pair of views is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ovnerf.field.compiled import PLAIN, compiled

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int32

DEPTH_TOLERANCE = 0.05
"""Two views see the same point when their distances to it agree within this share."""
MIN_OPACITY = 0.5
"""A ray of less summed weight meets no surface."""
UNSEEN = -1
"""In place of a pixel, for a point that a view does not see."""


@dataclass(frozen=True)
class DepthViews:
    """Pinhole views of one size whose distance to the surface is known.

    Attributes:
        pose: camera to world, OpenCV axes; any unit of length.
        intrinsics: in pixels, pixel centres at +0.5.
        distance: from the camera to the surface along each pixel's ray, in the unit of the poses;
            0 where there is none.
    """

    pose: Float64[np.ndarray, "n 4 4"]
    intrinsics: Float64[np.ndarray, "3 3"]
    distance: Float32[np.ndarray, "n h w"]

    def __len__(self) -> int:
        return len(self.pose)

    def surface(self, view: int) -> Float64[np.ndarray, "pixels 3"]:
        """The surface point of every pixel of a view, row by row, in the unit of the poses.

        Pixels without a surface get the camera's own centre, which no view sees.
        """
        height, width = self.distance.shape[1:]
        row, column = np.indices((height, width)).reshape(2, -1) + 0.5
        (fx, _, cx), (_, fy, cy), _ = self.intrinsics
        ray = np.stack([(column - cx) / fx, (row - cy) / fy, np.ones_like(row)], -1)
        ray *= self.distance[view].reshape(-1, 1) / np.linalg.norm(ray, axis=1, keepdims=True)
        return ray @ self.pose[view, :3, :3].T + self.pose[view, :3, 3]

    def pixels(
        self, point: Float64[np.ndarray, "r 3"], view: int, tolerance: float = DEPTH_TOLERANCE
    ) -> Int32[np.ndarray, " r"]:
        """The pixel (row x width + column) in which a view sees each point, else `UNSEEN`.

        A view sees a point that projects into its image, in front of the camera, at the distance
        that the view renders there, within `tolerance` of it.
        """
        found = np.empty(len(point), dtype=np.int32)
        turn, centre = np.ascontiguousarray(self.pose[view, :3, :3]), self.pose[view, :3, 3]
        _pixels(point, turn, centre, self.intrinsics, self.distance[view], tolerance, found)
        return found

    def others(self, view: int) -> Iterator[tuple[int, Int32[np.ndarray, " pixels"]]]:
        """(other view, `pixels` in it of this view's surface) for each other view."""
        point = self.surface(view)
        for other in range(len(self)):
            if other != view:
                yield other, self.pixels(point, other)

    def pairs(self) -> Iterator[tuple[int, int, Int32[np.ndarray, " pixels"]]]:
        """(view, other view, `pixels` in it of the view's surface) of every ordered pair."""
        for view in range(len(self)):
            for other, pixel in self.others(view):
                yield view, other, pixel


@compiled(**PLAIN)
def _pixels(
    point: np.ndarray,
    turn: np.ndarray,
    centre: np.ndarray,
    intrinsics: np.ndarray,
    distance: np.ndarray,
    tolerance: float,
    found: np.ndarray,
) -> None:
    """See `DepthViews.pixels`; `turn` and `centre` are the camera's, results go to `found`."""
    height, width = distance.shape
    for index in range(len(point)):
        found[index] = UNSEEN
        dx = point[index, 0] - centre[0]
        dy = point[index, 1] - centre[1]
        dz = point[index, 2] - centre[2]
        z = turn[0, 2] * dx + turn[1, 2] * dy + turn[2, 2] * dz
        if z <= 0:
            continue
        x = turn[0, 0] * dx + turn[1, 0] * dy + turn[2, 0] * dz
        y = turn[0, 1] * dx + turn[1, 1] * dy + turn[2, 1] * dz
        column = int(np.floor(intrinsics[0, 0] * x / z + intrinsics[0, 2]))
        row = int(np.floor(intrinsics[1, 1] * y / z + intrinsics[1, 2]))
        if row < 0 or row >= height or column < 0 or column >= width:
            continue
        reach = np.sqrt(dx * dx + dy * dy + dz * dz)
        if abs(reach - distance[row, column]) <= tolerance * reach:
            found[index] = row * width + column


@compiled(**PLAIN)
def add_rows(
    total: np.ndarray, count: np.ndarray, table: np.ndarray, row: np.ndarray, pixel: np.ndarray
) -> None:
    """Add each point's row of a view's table to its total, where the view sees the point.

    Args:
        total: f32 (r, C), changed in place. count: i32 (r,), how many rows were added; changed.
        table: f32 (rows, C). row: i32 (pixels,), the row of each pixel of the view, or below 0.
        pixel: i32 (r,), the pixel that shows each point, or `UNSEEN`.
    """
    classes = total.shape[1]
    for index in range(len(pixel)):
        if pixel[index] >= 0 and row[pixel[index]] >= 0:
            count[index] += 1
            for column in range(classes):
                total[index, column] += table[row[pixel[index]], column]
