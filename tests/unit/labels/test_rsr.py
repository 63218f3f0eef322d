"""RSR against a literal reading of the paper's Algorithm 1."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ovnerf.encoders.pyramid import relevancy_labels
from ovnerf.labels.rsr import RegionRanker, majority, rank_regions
from ovnerf.labels.void import VOID


def literal_rsr(labels, masks, classes, uncovered=VOID):
    """Algorithm 1, region by region and pixel by pixel, with explicit void."""
    ranked = np.full(labels.shape, uncovered, dtype=np.uint16)
    for mask in masks:
        votes = [0] * classes
        for label in labels[mask]:
            if label < classes:
                votes[label] += 1
        if sum(votes) == 0:
            continue
        ranked[mask] = votes.index(max(votes))
    return ranked


@st.composite
def maps_and_regions(draw):
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    classes, count = draw(st.integers(1, 4)), draw(st.integers(0, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = random.integers(0, classes + 2, (height, width)).astype(np.uint16)
    labels[random.random((height, width)) < draw(st.sampled_from([0.0, 0.5, 0.95]))] = VOID
    masks = random.random((count, height, width)) < draw(st.sampled_from([0.0, 0.2, 0.6, 1.0]))
    return labels, masks, classes


@given(case=maps_and_regions(), uncovered=st.sampled_from([VOID, 7]))
def test_ranker_equals_the_literal_algorithm(case, uncovered):
    labels, masks, classes = case
    ranker = RegionRanker(masks)
    expected = literal_rsr(labels, masks, classes, uncovered)
    found = ranker(labels, classes, uncovered)
    assert found.dtype == np.uint16
    assert np.array_equal(found, expected)
    # The same ranker serves another map: nothing of the first is left.
    other = np.full_like(labels, VOID)
    assert np.array_equal(ranker(other, classes), np.full_like(labels, VOID))


@given(case=maps_and_regions())
def test_descending_area_paints_small_regions_last(case):
    labels, masks, classes = case
    by_area = sorted(masks, key=lambda mask: -int(mask.sum()))
    found = rank_regions(labels, masks, classes, order="descending_area")
    assert np.array_equal(found, literal_rsr(labels, by_area, classes))


def test_votes_count_the_original_map_and_the_later_region_wins():
    labels = np.array([[0, 0, 1, 1, 2]], dtype=np.uint16)
    masks = np.array([[[1, 1, 1, 0, 0]], [[0, 0, 1, 1, 0]]], dtype=bool)
    # First region: 0, 0, 1 -> 0. Second: 1, 1 in the original map -> 1, over the overlap too.
    assert rank_regions(labels, masks, 3).tolist() == [[0, 0, 1, 1, VOID]]


def test_ties_go_to_the_smallest_label():
    labels = np.array([[2, 1, 2, 1]], dtype=np.uint16)
    assert rank_regions(labels, np.ones((1, 1, 4), dtype=bool), 3).tolist() == [[1, 1, 1, 1]]


def test_a_region_without_votes_leaves_what_was_painted_before():
    labels = np.array([[1, 1, VOID, VOID]], dtype=np.uint16)
    masks = np.array([[[1, 1, 1, 0]], [[0, 0, 1, 1]]], dtype=bool)
    assert rank_regions(labels, masks, 2).tolist() == [[1, 1, 1, VOID]]


def test_the_blank_class_does_not_vote_but_may_fill():
    # Index 2 is the blank prompt: as shipped, it is ignored in votes and fills uncovered pixels.
    labels = np.array([[2, 2, 0, 0]], dtype=np.uint16)
    masks = np.array([[[1, 1, 1, 0]]], dtype=bool)
    assert rank_regions(labels, masks, 2, uncovered=2).tolist() == [[0, 0, 0, 2]]


def test_a_map_of_another_size_is_refused():
    with pytest.raises(ValueError, match="expected"):
        RegionRanker(np.ones((1, 2, 2), dtype=bool))(np.zeros((2, 3), dtype=np.uint16), 2)


def test_relevancy_is_the_argmax_of_the_mean_over_scales():
    # Pixel 0: means (0.5, 0.4); pixel 1: (0.2, 0.3); pixel 2: zero feature at both scales.
    scores = torch.tensor([[[[0.9, 0.1, 0.0]], [[0.3, 0.5, 0.0]]],
                           [[[0.1, 0.3, 0.0]], [[0.5, 0.1, 0.0]]]])  # fmt: skip
    assert relevancy_labels(scores).tolist() == [[0, 1, VOID]]


def test_relevancy_ties_go_to_the_smallest_label():
    assert relevancy_labels(torch.ones(2, 3, 1, 1)).tolist() == [[0]]


def test_parts_take_their_majority_by_hand():
    parts = np.array([[0, 0, 0, 1, 1, 2, 2, 3]])
    labels = np.array([[1, 1, VOID, 0, 2, VOID, VOID, 3]], dtype=np.uint16)
    # Part 0: two of 1. Part 1: a tie, the smaller wins. Part 2: no vote. 3 is no class of three.
    assert majority(labels, parts, 3).tolist() == [[1, 1, 1, 0, 0, VOID, VOID, 3]]
    assert majority(labels, parts, 3).dtype == np.uint16


def test_ranked_labels_snap_to_parts():
    """The region reaches one pixel too far; its edge moves to that of the part."""
    masks = np.array([[[1, 1, 1, 1, 0, 0, 0]], [[0, 0, 0, 0, 1, 1, 0]]], dtype=bool)
    labels = np.array([[0, 0, 0, 1, 1, 1, 1]], dtype=np.uint16)
    parts = np.array([[0, 0, 0, 1, 1, 1, 1]])
    assert rank_regions(labels, masks, 2).tolist() == [[0, 0, 0, 0, 1, 1, VOID]]
    assert rank_regions(labels, masks, 2, parts=parts).tolist() == [[0, 0, 0, 1, 1, 1, 1]]
