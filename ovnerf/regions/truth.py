"""Regions cut from ground truth instead of SAM's: they show what RSR gains with exact regions."""

from __future__ import annotations

import cv2
import numpy as np

from ovnerf.labels.void import VOID
from ovnerf.regions.proposals import Proposals


def true_regions(label: np.ndarray) -> Proposals:
    """The connected parts (8 neighbours) of each class of a label map u16 (H, W), largest first.

    Pixels without a class are in no region. Every region has score 1.
    """
    masks = []
    for number in np.unique(label[label != VOID]):
        count, part = cv2.connectedComponents((label == number).astype(np.uint8), connectivity=8)
        masks += [part == index for index in range(1, count)]
    masks.sort(key=lambda mask: -int(mask.sum()))
    return Proposals.unscored(np.array(masks, bool).reshape(-1, *label.shape))
