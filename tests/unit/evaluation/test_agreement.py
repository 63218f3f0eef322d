"""Agreement of label maps, counted by hand."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from ovnerf.evaluation.agreement import agreement_rows
from ovnerf.labels.agreement import agreement, cohen_kappa, pair_matrix
from ovnerf.labels.void import VOID

SHIFTED = np.array([1, 2, 3, -1], dtype=np.int32)
"""Each pixel's point lies one pixel to the left in the other view; the last is not seen."""


def of_two(first, second) -> float:
    maps = {"clip": [np.array([first], np.uint16), np.array([second], np.uint16)]}
    return agreement(maps, [(0, 1, SHIFTED)], 3)["clip"]


def test_a_constant_map_scores_0_and_a_perfect_map_1():
    assert of_two([2, 2, 2, 2], [2, 2, 2, 2]) == 0
    assert of_two([0, 1, 1, 2], [2, 0, 1, 1]) == 1


def test_kappa_by_hand():
    # Pairs 0-0, 0-1, 1-1: two of three agree. Chance: (2 x 1 + 1 x 2) / 9.
    assert of_two([0, 0, 1, 2], [2, 0, 1, 1]) == pytest.approx((2 / 3 - 4 / 9) / (1 - 4 / 9))
    # Worse than chance is below 0: 0-1 and 1-0 never agree, chance is 1/2.
    assert of_two([0, 1, VOID, 2], [2, 1, 0, 1]) == -1
    assert np.isnan(of_two([VOID, 1, 1, 1], [2, 1, 3, VOID]))


def test_the_table_of_chance_is_that_of_all_pairs_together():
    random = np.random.default_rng(0)
    first, second = random.integers(0, 3, (2, 500))
    second[:200] = first[:200]
    halves = [pair_matrix(first[part], second[part], 3) for part in (slice(200), slice(200, None))]
    assert cohen_kappa(sum(halves)) == pytest.approx(cohen_kappa_score(first, second))


def test_rows_are_percent_and_a_source_without_pairs_has_none():
    void = [np.full((1, 4), VOID, np.uint16)] * 2
    maps = {"clip": [np.array([[0, 1, 1, 2]]), np.array([[2, 0, 1, 1]])], "rsr": void}
    rows = agreement_rows({"scene": "tiny"}, maps, [(0, 1, SHIFTED)], 3)
    cells = [(row["scene"], row["source"], row["metric"], row["value"]) for row in rows]
    assert cells == [("tiny", "clip", "agreement", 100)]


def test_billions_of_pairs_score_as_hundreds_do():
    """150 held-out views of 640x480 have 7 billion; the square of that is beyond 64 bits."""
    table = np.array([[60, 5], [7, 28]])
    many = cohen_kappa(table * 10**8)
    assert many == pytest.approx(cohen_kappa(table)) and 0.7 < many < 0.8
    assert cohen_kappa(np.array([[7 * 10**9]])) == 0
