"""Region semantic ranking, RSR (paper Eq. 5-6, Alg. 1; docs/method.md#rsr).

RSR gives every region the label most of its pixels carry, then paints the regions in order. Void
is explicit here: it never votes, and pixels that no voting region covers stay void (the published
code uses class 0 for both; `uncovered` keeps that behaviour available).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ovnerf.labels.void import VOID

Order = Literal["generator", "descending_area"]


class RegionRanker:
    """RSR of one view, built once from its regions and applied at every refresh.

    Covering regions are kept per pixel in painting order, so a refresh is one histogram over
    (region, label) and one gather, equal to painting mask after mask
    (docs/method.md#rsr-histogram). Integer arithmetic throughout: the same on every machine.
    """

    def __init__(self, masks: np.ndarray, order: Order = "generator") -> None:
        """Index the regions of a view.

        Args:
            masks: bool (m, H, W).
            order: `generator`: the last mask wins an overlap. `descending_area`: the smallest.
        """
        count, *shape = masks.shape
        self.shape = tuple(shape)
        if order == "descending_area":
            area = masks.sum((1, 2))
            masks = masks[np.argsort(-area, kind="stable")]
        self.count = count
        covering = masks.reshape(count, int(np.prod(shape))).T
        _, region = np.nonzero(covering)
        # A run keeps one ranker per view, so the smallest integers that fit.
        small = np.min_scalar_type(count)
        self.region = region.astype(small)  # (entries,), pixel after pixel
        self.per_pixel = np.count_nonzero(covering, axis=1).astype(small)  # (H * W,)
        self.end = np.cumsum(self.per_pixel, dtype=np.int64).astype(np.int32)

    def votes(self, labels: np.ndarray, classes: int) -> np.ndarray:
        """Pixels of each class in each region, (m, classes); labels >= classes do not vote."""
        bins = classes + 1
        voter = np.minimum(labels.ravel(), classes).astype(np.int64)
        key = self.region.astype(np.int64) * bins + np.repeat(voter, self.per_pixel)
        return np.bincount(key, minlength=self.count * bins).reshape(self.count, bins)[:, :classes]

    def __call__(self, labels: np.ndarray, classes: int, uncovered: int = VOID) -> np.ndarray:
        """Labels after RSR.

        Args:
            labels: u16 (H, W). Votes always count this map, never one already painted.
            classes: C; labels from C on (void, or the blank prompt) do not vote.
            uncovered: what pixels get that no voting region covers.

        Returns:
            u16 (H, W).
        """
        if labels.shape != self.shape:
            raise ValueError(f"labels: found shape {labels.shape}, expected {self.shape}")
        votes = self.votes(labels, classes)
        winner = votes.argmax(1).astype(np.uint16)  # the first of equals: the smallest label
        silent = votes.max(1, initial=0) == 0
        ranked = np.full(labels.size, uncovered, dtype=np.uint16)
        pixel = np.flatnonzero(self.per_pixel)
        entry = self.end[pixel] - 1
        remaining = self.per_pixel[pixel]
        while len(pixel):
            region = self.region[entry]
            spoken = ~silent[region]
            ranked[pixel[spoken]] = winner[region[spoken]]
            # A region without votes leaves what earlier regions painted.
            keep = ~spoken & (remaining > 1)
            pixel, entry, remaining = pixel[keep], entry[keep] - 1, remaining[keep] - 1
        return ranked.reshape(self.shape)


def rank_regions(
    labels: np.ndarray,
    masks: np.ndarray,
    classes: int,
    order: Order = "generator",
    uncovered: int = VOID,
) -> np.ndarray:
    """RSR of one map (H, W) with regions (m, H, W); see `RegionRanker`."""
    return RegionRanker(masks, order)(labels, classes, uncovered)
