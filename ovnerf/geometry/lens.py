"""Lens distortion: what a distorted camera took, as a pinhole camera sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np


@dataclass(frozen=True)
class Lens:
    """A camera with Brown distortion.

    Attributes:
        matrix: f64 (3, 3), pixel centres at +0.5.
        distortion: k1, k2, p1, p2, k3, OpenCV's order; all zero for a pinhole.
    """

    matrix: np.ndarray
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)

    @property
    def bent(self) -> bool:
        """Whether photos have to be undistorted."""
        return any(self.distortion)

    def pinhole(self, width: int, height: int) -> np.ndarray:
        """f64 (3, 3) of the undistorted photos: the widest view without a pixel from outside."""
        if not self.bent:
            return self.matrix
        found, _ = cv2.getOptimalNewCameraMatrix(
            integer_centres(self.matrix), np.array(self.distortion), (width, height), 0
        )
        return half_centres(found)

    def undistort(self, photo: np.ndarray) -> np.ndarray:
        """u8 (H, W, 3) as the pinhole camera sees it (bilinear)."""
        if not self.bent:
            return photo
        pinhole = self.pinhole(photo.shape[1], photo.shape[0])
        return cv2.undistort(
            photo,
            integer_centres(self.matrix),
            np.array(self.distortion),
            newCameraMatrix=integer_centres(pinhole),
        )


@dataclass(frozen=True)
class PhotoLens:
    """The bent lens of photos that were undistorted when they were read.

    What others made of the photos as they lie in the scene (label maps, outlines) is laid on the
    frames by it.

    Attributes:
        lens: of the photos.
        size: their (height, width), also after undistortion.
    """

    lens: Lens
    size: tuple[int, int]

    def cameras(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """f64 (3, 3) before and after undistortion, of photos that were resized to this size."""
        factor = np.array([[size[1] / self.size[1]], [size[0] / self.size[0]], [1.0]])
        return factor * self.lens.matrix, factor * self.lens.pinhole(self.size[1], self.size[0])

    def undistort(self, drawn: np.ndarray, outside: int | None = None) -> np.ndarray:
        """Maps of whole photos, laid on the undistorted photos.

        Args:
            drawn: (..., h, w), of any size.
            outside: given for labels, which never mix: each pixel takes the nearest, and this where
                the photo does not reach. Else values are bilinear.
        """
        rows, columns = drawn.shape[-2:]
        bent, straight = map(integer_centres, self.cameras((rows, columns)))
        places = cv2.initUndistortRectifyMap(
            bent, np.array(self.lens.distortion), None, straight, (columns, rows), cv2.CV_32FC1
        )
        how: dict[str, Any] = (
            {"interpolation": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
            if outside is None
            else {"interpolation": cv2.INTER_NEAREST, "borderValue": outside}
        )
        layers = drawn.reshape(-1, rows, columns)
        return np.stack([cv2.remap(layer, *places, **how) for layer in layers]).reshape(drawn.shape)

    def described(self) -> dict[str, Any]:
        """What `photo_lens` reads again, JSON-able."""
        return {
            "matrix": self.lens.matrix.tolist(),
            "distortion": list(self.lens.distortion),
            "size": list(self.size),
        }


def photo_lens(attributes: Mapping[str, Any]) -> PhotoLens | None:
    """The lens in the attributes of a `frames` store or in what a field says of its run.

    None where photos were not undistorted: nothing is said of a lens then.
    """
    found = attributes.get("lens")
    if found is None:
        return None
    lens = Lens(np.array(found["matrix"]), tuple(found["distortion"]))
    return PhotoLens(lens, tuple(found["size"]))


def integer_centres(matrix: np.ndarray) -> np.ndarray:
    """OpenCV counts pixel centres at integers."""
    return matrix - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])


def half_centres(matrix: np.ndarray) -> np.ndarray:
    """Our pixel centres, at +0.5."""
    return matrix + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
