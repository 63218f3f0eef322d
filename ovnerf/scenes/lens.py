"""Lens distortion: photos of a distorted camera -> photos of a pinhole camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Lens:
    """A camera with Brown distortion.

    Attributes:
        matrix: f64 (3, 3), pixel centres at +0.5.
        distortion: k1, k2, p1, p2 (and k3), OpenCV's order; all zero for a pinhole.
    """

    matrix: np.ndarray
    distortion: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)

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


def integer_centres(matrix: np.ndarray) -> np.ndarray:
    """OpenCV counts pixel centres at integers."""
    return matrix - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])


def half_centres(matrix: np.ndarray) -> np.ndarray:
    """Our pixel centres, at +0.5."""
    return matrix + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
