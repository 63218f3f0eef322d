"""Which frames of a video, and which photos, are worth keeping, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

MEASURED_SIDE, THUMB_SIDE = 480, 240
"""Longer side in pixels at which sharpness, and motion, are measured."""
DARK, FLAT = 16.0, 4.0
"""Mean, and standard deviation, of the grey values (0 to 255) of a picture with nothing in it."""
CORNERS = 200
TRACKED = 15
"""With fewer corners that are found again the content counts as moved."""
NEAR = 2.0
"""Pixels of the thumbnail within which a corner that is tracked back must come to its start."""


@dataclass(frozen=True)
class Measures:
    """Of one picture.

    Attributes:
        sharpness: variance of its Laplacian; compares pictures of the same content.
        blur: share of its edges that is left when it is blurred more, 0 to 1 (high: blurred
            already): the root of the ratio of the Laplacian's variances after blurring by 2 pixels
            and by 1.
        brightness, contrast: mean and standard deviation of its grey values.
        thumb: u8 (h, w), grey.
    """

    sharpness: float
    blur: float
    brightness: float
    contrast: float
    thumb: np.ndarray


def shrunk(grey: np.ndarray, side: int) -> np.ndarray:
    """The picture with its longer side reduced to `side` pixels; smaller ones as they are."""
    share = side / max(grey.shape)
    if share >= 1:
        return grey
    size = max(1, round(grey.shape[1] * share)), max(1, round(grey.shape[0] * share))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)


def measure(image: np.ndarray) -> Measures:
    """The measures of u8 BGR (H, W, 3)."""
    grey = cv2.cvtColor(shrunk(image, MEASURED_SIDE), cv2.COLOR_BGR2GRAY)
    edges, left = (laplacian_variance(cv2.GaussianBlur(grey, (0, 0), by)) for by in (1.0, 2.0))
    return Measures(
        sharpness=laplacian_variance(grey),
        blur=(left / edges) ** 0.5 if edges else 1.0,
        brightness=float(grey.mean()),
        contrast=float(grey.std()),
        thumb=shrunk(grey, THUMB_SIDE),
    )


def laplacian_variance(grey: np.ndarray) -> float:
    """Variance of the Laplacian of grey values."""
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def sharpest_of_intervals(
    second: Sequence[float], sharpness: Sequence[float], count: int
) -> list[int]:
    """Indices of the sharpest frame of each of `count` intervals of equal time that holds any.

    Args:
        second: times in order, not necessarily equally far apart.
    """
    time = np.asarray(second, dtype=float)
    length = max(time[-1] - time[0], 1e-9)
    interval = np.minimum((count * (time - time[0]) / length).astype(int), count - 1)
    best = np.asarray(sharpness, dtype=float)
    groups = [np.flatnonzero(interval == number) for number in np.unique(interval)]
    return [int(group[best[group].argmax()]) for group in groups]


def flaw(measures: Measures, max_blur: float) -> str:
    """Why a picture is useless by itself: `dark`, `empty`, `blurred`; empty text for a good one."""
    if measures.brightness < DARK:
        return "dark"
    if measures.contrast < FLAT:
        return "empty"
    return "blurred" if measures.blur > max_blur else ""


def motion(before: np.ndarray, after: np.ndarray) -> float:
    """How far the content of a thumbnail moved, as a share of the width (median of corners)."""
    if before.shape != after.shape:
        return 1.0
    start = cv2.goodFeaturesToTrack(before, CORNERS, 0.01, 5)
    if start is None:
        return 1.0
    found, good, _ = cv2.calcOpticalFlowPyrLK(before, after, start, start.copy())
    back, good_back, _ = cv2.calcOpticalFlowPyrLK(after, before, found, found.copy())
    near = np.linalg.norm(back - start, axis=-1).ravel() < NEAR
    kept = near & (good.ravel() == 1) & (good_back.ravel() == 1)
    if kept.sum() < TRACKED:
        return 1.0
    moved = np.linalg.norm(found - start, axis=-1).ravel()[kept]
    return float(np.median(moved)) / before.shape[1]


def repeated(thumbs: Sequence[np.ndarray], min_motion: float) -> list[bool]:
    """Whether each thumbnail shows what the last one that was not repeated shows."""
    answers: list[bool] = []
    last = None
    for thumb in thumbs:
        same = last is not None and motion(last, thumb) < min_motion
        answers.append(same)
        last = last if same else thumb
    return answers
