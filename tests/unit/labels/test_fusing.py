"""Class shares by region votes, against the formula written out pixel by pixel."""

import numpy as np
import pytest

from ovnerf.labels.fusing import pixel_shares
from ovnerf.labels.rsr import RegionRanker
from ovnerf.labels.void import VOID


def literal_shares(labels, masks, classes):
    """f64 (H, W, C) by the formula, region by region; NaN where a pixel has no share."""
    out = np.full((*labels.shape, classes), np.nan)
    for place in np.ndindex(labels.shape):
        summed, total = np.zeros(classes), 0.0
        if labels[place] < classes:
            total = (2 * labels.size) ** -0.5
            summed[labels[place]] = total
        for mask in masks:
            votes = np.array([(labels[mask] == label).sum() for label in range(classes)])
            if mask[place] and votes.sum():
                summed += mask.sum() ** -0.5 * votes / votes.sum()
                total += mask.sum() ** -0.5
        if total:
            out[place] = (summed / total) ** 2 / ((summed / total) ** 2).sum()
    return out


def dense(shares, shape):
    """The shares pixel by pixel, as `literal_shares` gives them."""
    rows = np.where(shares.row[:, None] < 0, np.nan, shares.table[shares.row])
    return rows.reshape(*shape, -1)


def test_a_small_region_counts_more_and_uncovered_pixels_keep_their_label():
    labels = np.array([[0, 0, 1, 1, 1, VOID, 0, 0]], dtype=np.uint16)
    masks = np.zeros((2, 1, 8), dtype=bool)
    masks[0, 0, :4] = True  # 4 pixels, half of them of class 1: weight 1/2, shares 1/2 and 1/2
    masks[1, 0, 3] = True  # 1 pixel of class 1: weight 1, shares 0 and 1
    found = dense(pixel_shares(labels, RegionRanker(masks), 2), (1, 8))[0]
    # A pixel's own label is a region of 2 x 8 pixels: weight 1/4.
    # 1/4 (1, 0) + 1/2 (1/2, 1/2) = (1/2, 1/4), squared 4 to 1.
    assert found[0] == pytest.approx([0.8, 0.2])
    # 1/4 (0, 1) + 1/2 (1/2, 1/2) + (0, 1) = (1/4, 3/2), squared 1 to 36.
    assert found[3] == pytest.approx([1 / 37, 36 / 37])
    assert found[4] == pytest.approx([0, 1])
    assert np.isnan(found[5]).all()


@pytest.mark.parametrize("seed", range(20))
def test_shares_equal_the_formula(seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, (5, 6)).astype(np.uint16)
    labels[random.random(labels.shape) < 0.2] = VOID
    masks = random.random((random.integers(0, 6), 5, 6)) < random.choice([0.1, 0.4])
    shares = pixel_shares(labels, RegionRanker(masks), 3)
    expected = literal_shares(labels, masks, 3)
    np.testing.assert_allclose(dense(shares, labels.shape), expected, atol=1e-6)
    flat = np.minimum(labels.ravel(), 3), *masks.reshape(len(masks), labels.size)
    assert len(shares.table) == len(set(zip(*flat, strict=True)))
