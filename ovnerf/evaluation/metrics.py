"""Scores of label maps and of rendered colour (docs/method.md#metrics).

One confusion matrix per image is the source of every label score. Rows are ground truth, columns
predictions; the last column collects predictions of void (or of any id beyond the class list) on
labelled pixels: they are wrong, never ignored. Unlabelled pixels (ground truth void) do not count.

Two protocols, both always reported:

* `per_image` (what the paper prints): per image, the mean IoU over all classes present in its
  ground truth or prediction - predicted void is such a class, with IoU 0 - and pixel accuracy;
  then the mean over images. Images without a labelled pixel are left out.
* `pooled`: one matrix summed over all images; mean IoU over the named classes present in ground
  truth or prediction, and pixel accuracy.

A third is reported where ground truth is one mask per class, which may overlap and leave gaps:

* `multi_label` (3D-OVS, paper Table V): per image, the mean Jaccard index over all
  classes, 0 for a class in neither ground truth nor prediction; and the share of pixels, of all,
  that belong to the predicted class and to no other; then the mean over images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from skimage.metrics import structural_similarity

from ovnerf.labels.void import VOID


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """i64 (classes, classes + 1) pixel counts of two label maps of one shape.

    Args:
        truth: indices below `classes`, or VOID.
        predicted: the same; VOID and anything from `classes` up count in the last column.
    """
    labelled = truth != VOID
    rows = truth[labelled].astype(np.int64)
    columns = np.minimum(predicted[labelled].astype(np.int64), classes)
    counts = np.bincount(rows * (classes + 1) + columns, minlength=classes * (classes + 1))
    return counts.reshape(classes, classes + 1)


def covered(matrix: np.ndarray) -> np.ndarray:
    """A confusion matrix without the labelled pixels whose prediction is void."""
    kept = matrix.copy()
    kept[:, -1] = 0
    return kept


def class_iou(matrix: np.ndarray) -> np.ndarray:
    """f64 (C,) intersection over union per class; NaN for a class neither present nor predicted."""
    hits = np.diagonal(matrix).astype(np.float64)
    union = matrix.sum(1) + matrix[:, :-1].sum(0) - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)


def accuracy(matrix: np.ndarray) -> float:
    """Share of labelled pixels that are right; NaN when there are none."""
    total = matrix.sum()
    return float(np.trace(matrix) / total) if total else float("nan")


def image_scores(matrix: np.ndarray) -> tuple[float, float] | None:
    """(mIoU, accuracy) of one image by `per_image`; None when it has no labelled pixel."""
    if not matrix.sum():
        return None
    ious = class_iou(matrix)
    ious = ious[~np.isnan(ious)].tolist()
    if matrix[:, -1].any():
        ious.append(0.0)
    return float(np.mean(ious)), accuracy(matrix)


def pooled_scores(matrix: np.ndarray) -> tuple[float, float] | None:
    """(mIoU, accuracy) of a summed matrix by `pooled`; None when it has no labelled pixel."""
    if not matrix.sum():
        return None
    return float(np.nanmean(class_iou(matrix))), accuracy(matrix)


def multi_label_scores(belongs: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """(mIoU, accuracy) of one image by `multi_label`.

    Args:
        belongs: bool (H, W, C), the classes each pixel belongs to.
        predicted: (H, W) indices below C; VOID and anything else is no class, and never right.
    """
    # A prediction is one class per pixel: its row of the confusion matrix with each class's mask.
    classes = belongs.shape[-1]
    named = predicted < classes
    hits = np.bincount(
        predicted[named],
        belongs[named, predicted[named]],
        minlength=classes,
    )
    union = belongs.sum((0, 1)) + np.bincount(predicted[named], minlength=classes) - hits
    jaccard = np.divide(hits, union, out=np.zeros(classes), where=union > 0)
    right = belongs[named, predicted[named]] & (belongs[named].sum(-1) == 1)
    return float(jaccard.mean()), float(right.sum() / predicted.size)


def mean_scores(scores: Sequence[tuple[float, float] | None]) -> tuple[float, float] | None:
    """Mean (mIoU, accuracy) over the images that have any; None when there is none."""
    valid = [score for score in scores if score is not None]
    if not valid:
        return None
    return float(np.mean([score[0] for score in valid])), float(np.mean([s[1] for s in valid]))


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two u8 images; infinite when they are equal."""
    error = np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2) / 255**2
    return float(-10 * np.log10(error)) if error > 0 else float("inf")


def ssim(first: np.ndarray, second: np.ndarray) -> float:
    """Structural similarity of two u8 (H, W, 3) images, mean over channels.

    11x11 Gaussian window of sigma 1.5, only where it fits; K1 = 0.01, K2 = 0.03.
    Both sides must be at least 11 pixels.
    """
    value = structural_similarity(
        first / 255,
        second / 255,
        data_range=1.0,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(value)
