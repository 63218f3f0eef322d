"""Which rendered pixels become pseudo labels, on maps that can be followed by hand."""

import numpy as np
import pytest
import torch

from ovnerf.config.semantics import Cse
from ovnerf.labels.rsr import RegionRanker
from ovnerf.labels.void import VOID
from ovnerf.training.pseudo_labels import LabelRules, PseudoLabels, least_probability

VALID = torch.tensor([True, True, True, True, True, False])
LABEL = np.array([[0, 0, 1, 1, 1, 2]], dtype=np.uint16)
PROBABILITY = np.array([[0.9, 0.8, 0.3, 0.4, 0.7, 0.6]], dtype=np.float32)
LEFT = np.array([[[True, True, True, True, False, False]]])
"""The one region: two pixels of class 0, then two of class 1 that are not sure."""


class Rendered(PseudoLabels):
    """Renders the same labels and probabilities for every view."""

    def label_map(self, name, camera):
        return LABEL, PROBABILITY


def refreshed(monkeypatch, of_uncovered=VOID, **settings) -> tuple[list[int], list[int]]:
    """Labels of a training view and of a novel view after one refresh."""
    monkeypatch.setattr("ovnerf.training.pseudo_labels.render_rgb", lambda *_: None)
    monkeypatch.setattr(
        "ovnerf.training.pseudo_labels.to_uint8", lambda *_: torch.zeros(1, 6, 3, dtype=torch.uint8)
    )
    monkeypatch.setattr(PseudoLabels, "place_novel_views", lambda *_: [])
    field = type("Field", (), {"radiance": None})()
    cse = Cse(novel_views=1, **settings)
    ranker = RegionRanker(LEFT) if cse.rank_pseudo_labels else None
    camera = type("Camera", (), {"height": 1, "width": 6})()
    rules = LabelRules(torch.eye(3), 3, of_uncovered, "generator")
    fields, no_poses = (field, None), torch.zeros(0, 4, 4)
    labels = Rendered(*fields, [camera], [0], [ranker], lambda _: LEFT, rules, cse, no_poses)
    labels.cache.get = lambda *_: None
    labels.novel = [("novel0", camera, VALID)]
    train, novel = labels.refresh()
    return train[0, 0].tolist(), novel[0, 0].tolist()


def test_all_pixels_vote_by_default(monkeypatch):
    # 2 votes to 2 in the region: the smaller label wins. The last pixels are in no region.
    expected = [0, 0, 0, 0, VOID, VOID]
    assert refreshed(monkeypatch) == (expected, expected)
    assert refreshed(monkeypatch, of_uncovered=3)[0] == [0, 0, 0, 0, 3, 3]


def test_unsure_pixels_neither_vote_nor_keep_a_label(monkeypatch):
    # Four of six pixels are kept: from 0.6 on. Class 0 has the region's only votes.
    assert refreshed(monkeypatch, surest=0.66)[0] == [0, 0, VOID, VOID, VOID, VOID]
    kept, novel = refreshed(monkeypatch, surest=0.66, uncovered="keep")
    assert kept == [0, 0, VOID, VOID, 1, 2]
    assert novel == [0, 0, VOID, VOID, 1, VOID]


def test_without_ranking_the_sure_labels_stay(monkeypatch):
    train, novel = refreshed(monkeypatch, surest=0.5, rank_pseudo_labels=False)
    assert train == [0, 0, VOID, VOID, 1, VOID]
    assert novel == [0, 0, VOID, VOID, 1, VOID]


def test_an_unsure_majority_does_not_win(monkeypatch):
    monkeypatch.setattr("test_pseudo_labels.LABEL", np.array([[0, 1, 1, 1, 1, 2]], dtype=np.uint16))
    monkeypatch.setattr(
        "test_pseudo_labels.PROBABILITY", np.array([[0.9, 0.1, 0.1, 0.1, 0.8, 0.7]], np.float32)
    )
    assert refreshed(monkeypatch)[0] == [1, 1, 1, 1, VOID, VOID]
    assert refreshed(monkeypatch, surest=0.5)[0] == [0, VOID, VOID, VOID, VOID, VOID]


@pytest.mark.parametrize(("share", "least"), [(1, 0), (0.75, 0.2), (0.5, 0.3), (0.1, 0.4)])
def test_the_least_probability_is_of_all_views_together(share, least):
    # 0 is a pixel without a label, which does not count.
    maps = [np.array([[0.1, 0.4]], np.float32), np.array([[0.3, 0.2, 0]], np.float32)]
    assert least_probability(maps, share) == pytest.approx(least)
    assert least_probability([np.zeros((1, 2), np.float32)], share) == 0


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7, 0.9])
def test_the_share_is_that_of_a_hundred_pixels(share):
    """None is kept because 1 - 0.9 is a little less than a tenth."""
    found = np.arange(1, 101, dtype=np.float32).reshape(10, 10)
    least = least_probability([found], share)
    assert int((found >= least).sum()) == round(100 * share)
