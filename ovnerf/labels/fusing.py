"""Class shares of pixels from votes in their regions, and the class that they speak for
(docs/method.md#fused-labels)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ovnerf.labels.rsr import RegionRanker

OWN_AREA = 2.0
"""A pixel's own label has the weight of a region of so many images: it decides little where regions
are small, and keeps a region as large as the image from deciding everything."""


@dataclass(frozen=True)
class PixelShares:
    """Class shares of a view's pixels; those of one label that the same regions cover share a row.

    Attributes:
        row: i32 (H * W,), the row of `table` that belongs to each pixel; -1 for pixels without.
        table: f32 (rows, C), each row sums to 1.
    """

    row: np.ndarray
    table: np.ndarray


def pixel_shares(labels: np.ndarray, ranker: RegionRanker, classes: int) -> PixelShares:
    """What the regions over each pixel say of its class (docs/method.md#fused-labels).

    A region k of A_k pixels has the share q_k of its votes for each class. A pixel's shares are
    proportional to (sum_k A_k^-1/2 q_k / sum_k A_k^-1/2)^2 over the regions with votes that cover
    it, and the pixel's own label, which counts as a region of `OWN_AREA` images. Small regions
    count more, and what several say counts more than what one says. A pixel without a voting region
    or a label of its own has no shares.

    Args:
        labels: u16 (H, W), first labels; from `classes` on (void, the blank prompt) is no vote.
    """
    votes = ranker.votes(labels, classes).astype(np.float64)
    voters = votes.sum(1)
    weight = (voters > 0) / np.sqrt(np.maximum(ranker.areas(), 1))
    share = votes / np.maximum(voters, 1)[:, None]
    voter = np.minimum(labels.ravel(), classes).astype(np.int64)
    row, first = alike(ranker, voter)
    total = (voter[first] < classes) / np.sqrt(OWN_AREA * labels.size)
    summed = np.eye(classes + 1)[voter[first], :classes] * total[:, None]
    for depth in range(int(ranker.per_pixel.max(initial=0))):
        deep = np.flatnonzero(ranker.per_pixel[first] > depth)
        region = ranker.region[ranker.end[first[deep]] - 1 - depth]
        summed[deep] += weight[region, None] * share[region]
        total[deep] += weight[region]
    squared = (summed / np.where(total > 0, total, 1)[:, None]) ** 2
    squared /= np.where(total > 0, squared.sum(1), 1)[:, None]
    return PixelShares(np.where(total[row] > 0, row, -1).astype(np.int32), squared.astype("f4"))


def alike(ranker: RegionRanker, voter: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels by the regions that cover them and by their own label.

    Args:
        voter: i64 (H * W,), the label of each pixel.

    Returns:
        kind: i64 (H * W,), equal for pixels of one label that the same regions cover.
        first: i64 (kinds,), one pixel of each kind.
    """
    _, first, kind = np.unique(voter, return_index=True, return_inverse=True)
    for depth in range(int(ranker.per_pixel.max(initial=0))):
        deep = np.flatnonzero(ranker.per_pixel > depth)
        region = np.full(len(kind), ranker.count, dtype=np.int64)
        region[deep] = ranker.region[ranker.end[deep] - 1 - depth]
        key = kind * (ranker.count + 1) + region
        _, first, kind = np.unique(key, return_index=True, return_inverse=True)
    return kind, first


EVIDENCE = 6.0
"""Shares meant over views count as much as so many independent votes."""
LEAST_SHARE = 0.002
"""Share of every class that is added to each profile: no vote is proof against a class."""


@dataclass(frozen=True)
class Profiles:
    """What the votes on the pixels of each class look like (after Dawid and Skene, 1979).

    Attributes:
        share: f64 (C, C), mean shares (columns) of the pixels of a class (rows); rows sum to 1.
        frequency: f64 (C,), share of the pixels that have each class, above 0.
    """

    share: np.ndarray
    frequency: np.ndarray

    def labels(self, mean: np.ndarray) -> np.ndarray:
        """The most probable class k of each pixel, by its mean shares m and Bayes' rule.

        It has the greatest sum_j m_j log share[k, j] + log frequency[k] / `EVIDENCE`; the smaller
        index if two are equal.

        Args:
            mean: f32 (pixels, C).
        """
        score = mean @ np.log(self.share).T.astype(np.float32)
        score += (np.log(self.frequency) / EVIDENCE).astype(np.float32)
        return np.asarray(score.argmax(1))


def class_profiles(means: Iterable[np.ndarray], classes: int) -> Profiles:
    """Profiles of the classes, by pixels that have the class of their greatest mean share.

    Args:
        means: mean shares f32 (pixels, C) of each view; rows of zeros do not count.
    """
    total, count = np.zeros((classes, classes)), np.zeros(classes)
    for mean in means:
        known = mean[mean.any(1)]
        label = known.argmax(1)
        count += np.bincount(label, minlength=classes)
        # One after the other, so that the number of threads has no part in the sums.
        for voted in range(classes):
            total[:, voted] += np.bincount(label, known[:, voted], classes)
    # A class that no pixel has gets a profile of its own votes alone: little looks like it.
    total += np.diag(np.full(classes, 0.5)) + LEAST_SHARE * count[:, None] + 1e-6
    return Profiles(total / total.sum(1, keepdims=True), (count + 1) / (count.sum() + classes))
