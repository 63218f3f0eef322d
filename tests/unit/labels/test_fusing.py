"""Class shares by region votes, against the formula written out pixel by pixel."""

import numpy as np
import pytest

from ovnerf.labels import fusing
from ovnerf.labels.fusing import class_profiles, own_shares, pixel_shares, supported, winners
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


def test_own_labels_are_shares_whatever_the_regions_say():
    shares = own_shares(np.array([[1, VOID, 0, 3]], dtype=np.uint16), 3)
    assert shares.row.tolist() == [1, -1, 0, -1]
    np.testing.assert_array_equal(shares.table, np.eye(3))


def test_winners_are_the_greatest_shares():
    shares = fusing.PixelShares(
        np.array([1, -1, 0], np.int32), np.array([[0.2, 0.4, 0.4], [0.7, 0.1, 0.2]], np.float32)
    )
    assert winners(shares).tolist() == [0, VOID, 1]
    assert winners(shares).dtype == np.uint16


def test_region_votes_count_as_far_as_own_labels_support_them():
    regions = np.array([[0.75, 0.25], [0.5, 0.5], [0, 0]], np.float32)
    own = np.array([[0.08, 0.88], [0, 0], [0.5, 0.5]], np.float32)
    # 0.75 x 0.10 and 0.25 x 0.90; without own labels the votes stay; nothing stays nothing.
    expected = [[0.25, 0.75], [0.5, 0.5], [0, 0]]
    np.testing.assert_allclose(supported(regions, own), expected, rtol=1e-6)


def test_votes_that_are_usual_for_a_rare_class_speak_for_it(monkeypatch):
    monkeypatch.setattr(fusing, "STEPS", 1)
    # Three pixels of class 0 and one of class 1, whose votes are often for 0; one without votes.
    regions = np.array([[0.9, 0.1]] * 3 + [[0.4, 0.6], [0, 0]], np.float32)
    own = np.array([[1, 0]] * 3 + [[0.5, 0.5], [1, 0]], np.float32)
    found = class_profiles(regions, own)
    # 3 x 0.9 + 1/2 + 3 x 0.002 and 3 x 0.1 + 3 x 0.002; 0.4 + 0.002 and 0.6 + 1/2 + 0.002.
    expected = [[3.206 / 3.512, 0.306 / 3.512], [0.402 / 1.504, 1.102 / 1.504]]
    np.testing.assert_allclose(found.regions, expected, atol=2e-6)
    # 3 + 1/2 + 3 x 0.002 and 3 x 0.002; 0.5 + 0.002 and 0.5 + 1/2 + 0.002.
    expected = [[3.506 / 3.512, 0.006 / 3.512], [0.502 / 1.504, 1.002 / 1.504]]
    np.testing.assert_allclose(found.own, expected, atol=2e-6)
    assert found.frequency == pytest.approx([4 / 6, 2 / 6])
    # 0.55 log 0.913 + 0.45 log 0.087 + log(4/6) / 6 = -1.22, 0.55 log 0.267 + 0.45 log 0.733 +
    # log(2/6) / 6 = -1.05: class 1, although 0 has more votes, where no pixel has its own label.
    # Own labels of class 0 add 0.3 log 0.998 = 0 and 0.3 log 0.334 = -0.33: class 0.
    # Of (0.8, 0.2) come -0.63 and -1.30.
    said = np.array([[0.55, 0.45], [0.55, 0.45], [0.8, 0.2]], np.float32)
    own = np.array([[0, 0], [1, 0], [0, 0]], np.float32)
    assert found.labels(said, own).tolist() == [1, 0, 0]


def literal_profiles(regions, own, steps):
    """`class_profiles`, pixel by pixel: its three attributes."""
    classes = regions.shape[1]
    pixels = [pair for pair in zip(regions, own, strict=True) if pair[0].any()]
    labels = [said.argmax() for said, _ in pixels]
    first = (np.bincount(labels, minlength=classes) + 1) / (len(labels) + classes)
    for _ in range(steps):
        count = np.bincount(labels, minlength=classes)
        total = np.array([np.diag([0.5] * classes) + 0.002 * count[:, None] + 1e-6] * 2)
        for label, pair in zip(labels, pixels, strict=True):
            total[:, label] += pair
        profiles = total / total.sum(2, keepdims=True)
        frequency = (count + 1) / (count.sum() + classes)
        frequency = [
            min(max(now, least), max(least, 1 / classes))
            for now, least in zip(frequency, first, strict=True)
        ]
        frequency = np.array(frequency) / np.sum(frequency)
        labels = [
            np.argmax(
                np.log(profiles[0]) @ said + 0.3 * np.log(profiles[1]) @ one + np.log(frequency) / 6
            )
            for said, one in pixels
        ]
    return *profiles, frequency


@pytest.mark.parametrize("seed", range(5))
def test_profiles_and_labels_in_turn_are_those_of_a_slow_reference(seed):
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, 300)
    regions = random.dirichlet((1, 0.5, 0.5, 0.2), 300) + 0.7 * np.eye(4)[truth]
    regions[random.random(300) < 0.1] = 0
    own = random.dirichlet((1, 1, 1, 1), 300) + 0.3 * np.eye(4)[truth]
    own[random.random(300) < 0.1] = 0
    found = class_profiles(regions.astype(np.float32), own.astype(np.float32))
    first, second = literal_profiles(regions, own, 1), literal_profiles(regions, own, 20)
    for name, expected in zip(("regions", "own", "frequency"), second, strict=True):
        np.testing.assert_allclose(getattr(found, name), expected, atol=1e-5)
    assert np.abs(first[0] - second[0]).max() > 1e-3  # the steps do something


def test_votes_that_say_nothing_do_not_give_all_pixels_to_one_class():
    random = np.random.default_rng(6)
    truth = random.choice(3, 3000, p=(0.4, 0.35, 0.25))
    regions = random.dirichlet((20, 20, 20), 3000) + 0.05 * np.eye(3)[truth]
    own = random.dirichlet((9, 9, 9), 3000)
    found = class_profiles(regions.astype(np.float32), own.astype(np.float32))
    shares = np.bincount(found.labels(regions, own), minlength=3) / 3000
    assert shares.min() > 0.1


def test_a_class_that_nobody_votes_for_is_never_chosen():
    random = np.random.default_rng(5)
    means = random.dirichlet((3, 1, 0.2), 500).astype(np.float32)
    unlisted = np.concatenate([means, np.zeros((500, 2), np.float32)], 1)
    found = class_profiles(unlisted, unlisted)
    assert set(found.labels(unlisted, unlisted).tolist()) == {0, 1, 2}
