"""Label maps without patches of a few pixels (docs/method.md#small-patches)."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt
from skimage.measure import label as number_patches


def without_small_patches(labels: np.ndarray, least: float) -> np.ndarray:
    """A label map whose small patches take the labels of the pixels around them.

    A patch is all pixels of one label that hang together by their edges. Each pixel of a small one
    takes the label of the nearest pixel that lies in none. A map of small patches alone stays as it
    is.

    Args:
        labels: unsigned integers (H, W); void is a label like others.
        least: patches of fewer pixels are small.
    """
    patch = number_patches(labels.astype(np.int64) + 1, background=0, connectivity=1)
    small = (np.bincount(patch.ravel()) < least)[patch]
    if small.all() or not small.any():
        return labels
    nearest = distance_transform_edt(small, return_distances=False, return_indices=True)
    return np.asarray(labels[tuple(nearest)])
