"""Class shares of pixels from votes in their regions, and the class that they speak for
(docs/method.md#fused-labels)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ovnerf.labels.rsr import RegionRanker
from ovnerf.labels.void import VOID

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


def own_shares(labels: np.ndarray, classes: int) -> PixelShares:
    """The labels of a view's pixels as shares: 1 for a pixel's own label, whatever its regions say.

    Args:
        labels: u16 (H, W), first labels; from `classes` on (void, the blank prompt) is no vote.
    """
    voter = np.minimum(labels.ravel(), classes).astype(np.int32)
    return PixelShares(np.where(voter < classes, voter, -1), np.eye(classes, dtype=np.float32))


def winners(shares: PixelShares) -> np.ndarray:
    """The class of the greatest share of each pixel, u16 (H * W,); void without shares."""
    label = np.where(shares.row >= 0, shares.table.argmax(1)[shares.row], VOID)
    return label.astype(np.uint16)


LEAST_SUPPORT = 0.02
"""Support of a class that no view's own label names at a point, so that none is ruled out."""


def supported(regions: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Mean shares by region votes as far as the pixels' own labels support them.

    The share of class k is proportional to m_k (o_k + `LEAST_SUPPORT`).

    Args:
        regions: m, mean shares by region votes f32 (pixels, C). own: o, by own labels.

    Returns:
        f32 (pixels, C), rows that sum to 1; zeros where `regions` has zeros.
    """
    product = regions * (own + np.float32(LEAST_SUPPORT))
    total = product.sum(1, keepdims=True)
    return product / np.where(total > 0, total, 1)


EVIDENCE = 6.0
"""Shares meant over views count as much as so many independent votes."""
OWN_WEIGHT = 0.3
"""What the pixels' own labels say counts so much beside what their regions say."""
STEPS = 20
"""How often profiles are taken from labels, and labels chosen by profiles; by then few change."""
LEAST_SHARE = 0.002
"""Share of every class that is added to each profile: no vote is proof against a class."""


@dataclass(frozen=True)
class Profiles:
    """What the votes on the pixels of each class look like (after Dawid and Skene, 1979).

    Attributes:
        regions: f64 (C, C), mean shares by region votes (columns) of the pixels of a class (rows);
            rows sum to 1.
        own: f64 (C, C), the same of the shares by the pixels' own labels.
        frequency: f64 (C,), share of the pixels that have each class, above 0; sums to 1.
    """

    regions: np.ndarray
    own: np.ndarray
    frequency: np.ndarray

    def labels(self, regions: np.ndarray, own: np.ndarray) -> np.ndarray:
        """The most probable class k of each pixel, by its mean shares m and o and Bayes' rule.

        It has the greatest sum_j m_j log regions[k, j] + `OWN_WEIGHT` sum_j o_j log own[k, j] +
        log frequency[k] / `EVIDENCE`; the smaller index if two are equal.

        Args:
            regions: m, mean shares by region votes f32 (pixels, C). own: o, by own labels.
        """
        score = regions @ np.log(self.regions).T.astype(np.float32)
        score += own @ (OWN_WEIGHT * np.log(self.own)).T.astype(np.float32)
        score += (np.log(self.frequency) / EVIDENCE).astype(np.float32)
        return np.asarray(score.argmax(1))


def class_profiles(regions: np.ndarray, own: np.ndarray) -> Profiles:
    """Profiles of the classes, from labels and profiles in turn.

    The labels are at first the classes of the greatest mean shares by region votes. From then on a
    class may gain frequency, up to an even share, and none loses any: rare classes can come back,
    and where votes say little no class takes all pixels.

    Args:
        regions, own: as in `Profiles.labels`; pixels whose `regions` are zeros do not count.
    """
    known = regions.any(1)
    regions, own = regions[known], own[known]
    classes = regions.shape[1]
    label = regions.argmax(1)
    first = frequencies(label, classes)
    for _ in range(STEPS):
        found = frequencies(label, classes).clip(first, np.maximum(first, 1 / classes))
        profiles = Profiles(profile(regions, label), profile(own, label), found / found.sum())
        label = profiles.labels(regions, own)
    return profiles


def frequencies(label: np.ndarray, classes: int) -> np.ndarray:
    """Share of the pixels f64 (C,) that have each label, as if each class had one pixel more."""
    return (np.bincount(label, minlength=classes) + 1) / (len(label) + classes)


def profile(shares: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Mean shares f64 (C, C) of the pixels of each class (rows); rows sum to 1.

    Args:
        shares: f32 (pixels, C). label: i64 (pixels,).
    """
    classes = shares.shape[1]
    count = np.bincount(label, minlength=classes)
    # One column after the other, so that the number of threads has no part in the sums.
    total: np.ndarray = np.stack(
        [np.bincount(label, shares[:, voted], classes) for voted in range(classes)], axis=1
    )
    # A class that no pixel has gets a profile of its own votes alone: little looks like it.
    total = total + np.diag(np.full(classes, 0.5)) + LEAST_SHARE * count[:, None] + 1e-6
    return total / total.sum(1, keepdims=True)
