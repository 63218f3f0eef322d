"""Class shares of pixels from votes in their regions (docs/method.md#fused-labels)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ovnerf.labels.rsr import RegionRanker


@dataclass(frozen=True)
class PixelShares:
    """Class shares of a view's pixels; pixels that the same regions cover have the same.

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
    it: small regions count more, and what they agree on counts more than what one of them says.
    A pixel without such a region has its own label with share 1, or no row when that is void.

    Args:
        labels: u16 (H, W), first labels; from `classes` on (void, the blank prompt) is no vote.
    """
    votes = ranker.votes(labels, classes).astype(np.float64)
    voters = votes.sum(1)
    weight = (voters > 0) / np.sqrt(np.maximum(ranker.areas(), 1))
    share = votes / np.maximum(voters, 1)[:, None]
    cell, first = covers(ranker)
    summed = np.zeros((len(first), classes))
    total = np.zeros(len(first))
    for depth in range(int(ranker.per_pixel.max(initial=0))):
        deep = np.flatnonzero(ranker.per_pixel[first] > depth)
        region = ranker.region[ranker.end[first[deep]] - 1 - depth]
        summed[deep] += weight[region, None] * share[region]
        total[deep] += weight[region]
    squared = (summed / np.where(total > 0, total, 1)[:, None]) ** 2
    squared /= np.where(total > 0, squared.sum(1), 1)[:, None]
    own = np.where(labels.ravel() < classes, len(first) + labels.ravel().astype(np.int64), -1)
    row = np.where(total[cell] > 0, cell, own)
    return PixelShares(
        row.astype(np.int32), np.concatenate([squared, np.eye(classes)]).astype(np.float32)
    )


def covers(ranker: RegionRanker) -> tuple[np.ndarray, np.ndarray]:
    """Pixels by the regions that cover them.

    Returns:
        cell: i64 (H * W,), equal for pixels that the same regions cover.
        first: i64 (cells,), one pixel of each cell.
    """
    cell = np.zeros(len(ranker.per_pixel), dtype=np.int64)
    first = np.zeros(1, dtype=np.int64)
    for depth in range(int(ranker.per_pixel.max(initial=0))):
        deep = np.flatnonzero(ranker.per_pixel > depth)
        region = np.full(len(cell), ranker.count, dtype=np.int64)
        region[deep] = ranker.region[ranker.end[deep] - 1 - depth]
        key = cell * (ranker.count + 1) + region
        _, first, cell = np.unique(key, return_index=True, return_inverse=True)
    return cell, first
