"""Region semantic ranking, RSR (paper Eq. 5-6, Alg. 1; docs/method.md#rsr).

RSR gives every region the label that most of its pixels carry, then paints the regions in order.
Pixels without a class do not vote, and a pixel that no region with votes covers stays without one.
(The published code has class 0 for such pixels; `uncovered` can be set to do the same.)
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ovnerf.labels.void import VOID

Order = Literal["generator", "descending_area"]


class RegionRanker:
    """RSR of one view: built once from its regions, then applied to any label map of the view.

    It keeps the regions that cover each pixel, in painting order. Ranking a map is then one
    histogram over (region, label) and one look-up per pixel, which gives what painting mask after
    mask gives (docs/method.md#rsr-histogram). All arithmetic is in integers, so results are the
    same on every machine.

    Attributes:
        shape: (H, W). count: number of regions m.
        region: (entries,), the regions over each pixel, pixel after pixel, in painting order.
        per_pixel: (H * W,), how many of these entries each pixel has.
        end: i32 (H * W,), index in `region` after each pixel's last entry.
    """

    def __init__(
        self, masks: np.ndarray, order: Order = "generator", parts: np.ndarray | None = None
    ) -> None:
        """Index the regions of a view.

        Args:
            masks: bool (m, H, W).
            order: `generator`: the last mask wins an overlap. `descending_area`: the smallest.
            parts: i64 (H, W), numbers from 0: parts of one colour, each of which takes the majority
                of its ranked labels (`rank_regions.snap`). None leaves ranked labels as they are.
        """
        count, *shape = masks.shape
        self.shape = tuple(shape)
        if order == "descending_area":
            area = masks.sum((1, 2))
            masks = masks[np.argsort(-area, kind="stable")]
        self.count, self.parts = count, parts
        covering = masks.reshape(count, int(np.prod(shape))).T
        _, region = np.nonzero(covering)
        # A training keeps a ranker per view in memory, so the smallest integers that fit are used.
        smallest = np.min_scalar_type(count)
        self.region = region.astype(smallest)
        self.per_pixel = np.count_nonzero(covering, axis=1).astype(smallest)
        self.end = np.cumsum(self.per_pixel, dtype=np.int64).astype(np.int32)

    def votes(self, labels: np.ndarray, classes: int) -> np.ndarray:
        """How many pixels of each region carry each class: i64 (m, classes).

        Labels from `classes` on (void, the blank prompt) do not vote.
        """
        bins = classes + 1
        voter = np.minimum(labels.ravel(), classes).astype(np.int64)
        key = self.region.astype(np.int64) * bins + np.repeat(voter, self.per_pixel)
        return np.bincount(key, minlength=self.count * bins).reshape(self.count, bins)[:, :classes]

    def areas(self) -> np.ndarray:
        """How many pixels each region has: i64 (m,)."""
        return np.bincount(self.region, minlength=self.count)

    def __call__(self, labels: np.ndarray, classes: int, uncovered: int = VOID) -> np.ndarray:
        """Labels after RSR.

        Args:
            labels: u16 (H, W). All votes are counted on this map, before anything is painted.
            classes: C; labels from C on (void, or the blank prompt) do not vote.
            uncovered: what pixels get that no voting region covers.

        Returns:
            u16 (H, W).
        """
        if labels.shape != self.shape:
            raise ValueError(f"labels: found shape {labels.shape}, expected {self.shape}")
        votes = self.votes(labels, classes)
        winner = votes.argmax(1).astype(np.uint16)  # the first of equals: the smallest label
        has_votes = votes.max(1, initial=0) > 0
        ranked = np.full(labels.size, uncovered, dtype=np.uint16)
        pixel = np.flatnonzero(self.per_pixel)
        entry = self.end[pixel] - 1
        remaining = self.per_pixel[pixel]
        while len(pixel):
            region = self.region[entry]
            painted = has_votes[region]
            ranked[pixel[painted]] = winner[region[painted]]
            # A region without votes paints nothing: the one below it is next.
            below = ~painted & (remaining > 1)
            pixel, entry, remaining = pixel[below], entry[below] - 1, remaining[below] - 1
        ranked = ranked.reshape(self.shape)
        return ranked if self.parts is None else majority(ranked, self.parts, classes)


def majority(labels: np.ndarray, parts: np.ndarray, classes: int) -> np.ndarray:
    """A label map u16 (H, W) in which each part has the label that most of its pixels carry.

    The smaller label of two equals. Labels from `classes` on (void, the blank prompt) do not vote,
    and a part without a vote stays as it is.

    Args:
        labels: u16 (H, W). parts: i64 (H, W), the part of each pixel, numbered from 0.
    """
    bins = classes + 1
    key = parts.ravel() * bins + np.minimum(labels.ravel(), classes)
    votes = np.bincount(key, minlength=(int(parts.max()) + 1) * bins).reshape(-1, bins)[:, :classes]
    winner, has_votes = votes.argmax(1).astype(np.uint16), votes.max(1) > 0
    return np.where(has_votes[parts], winner[parts], labels)


def rank_regions(
    labels: np.ndarray,
    masks: np.ndarray,
    classes: int,
    order: Order = "generator",
    uncovered: int = VOID,
    parts: np.ndarray | None = None,
) -> np.ndarray:
    """RSR of one map (H, W) with regions (m, H, W); see `RegionRanker`."""
    return RegionRanker(masks, order, parts)(labels, classes, uncovered)
