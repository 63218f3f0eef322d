"""Paired differences: whether the paper's order holds, and what moved between two runs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ovnerf.evaluation.differences import paired_difference
from ovnerf.evaluation.order import order_of, verdict
from ovnerf.evaluation.rows import COLUMNS, Row, row, write_rows
from ovnerf.runtime.errors import UserError
from ovnerf.stages import compare


def score(scene: str, variant: str, value: float, seed: int = 0) -> Row:
    identity = {"dataset": "Replica", "scene": scene, "encoder": "clip", "variant": variant}
    identity |= {"seed": str(seed), "split": "test", "source": "field"}
    return row(identity, "mIoU", value, protocol="per_image")


def test_the_interval_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, deviation 1, and t of two degrees of freedom is 4.3027."""
    found = paired_difference(np.array([1.0, 2, 3]))
    assert (found.mean, found.pairs, found.sign) == (2, 3, 0)
    assert found.low == pytest.approx(2 - 4.3027 / math.sqrt(3), abs=1e-4)
    assert found.high == pytest.approx(2 + 4.3027 / math.sqrt(3), abs=1e-4)
    assert paired_difference(np.array([9.0, 10, 11])).sign == 1
    assert paired_difference(np.array([-9.0, -10, -11])).sign == -1
    one = paired_difference(np.array([5.0]))
    assert math.isnan(one.low) and one.sign == 0


def test_an_order_holds_does_not_or_cannot_be_told() -> None:
    rows = []
    for number in range(3):
        scene = f"room{number}"
        rows += [
            score(scene, "ovnerf", 50 + number),
            score(scene, "3dovs", 20 + 1.1 * number),
            score(scene, "rsr", 60 + 1.2 * number),
            score(scene, "n500", 50 + number + (-1) ** number),
        ]
    rows += [score("room0", "lerf", 10.0), score("office9", "3dovs", 99.0)]
    order = order_of(pd.DataFrame(rows, columns=list(COLUMNS))).set_index("comparison")
    over = order.loc["OV-NeRF over 3DOVS"]
    assert over["ours"] == pytest.approx(30 - 0.1) and over["pairs"] == 3
    assert over["paper"] == pytest.approx(20.0, abs=10) and over["verdict"] == "holds"
    assert order.loc["CSE after RSR over RSR alone", "verdict"] == "does not hold"
    assert order.loc["N = 1000 over 500", "verdict"] == "cannot tell"
    assert order.loc["OV-NeRF over LERF", "verdict"] == "cannot tell"  # one pair
    assert order.loc["OV-NeRF over DFF", "verdict"] == "no run"
    # Table VI, mIoU: RSR less baseline in room0 and scene0494, CLIP and OpenCLIP.
    assert order.loc["RSR over the baseline", "paper"] > 5


@pytest.mark.parametrize(
    ("expected", "said"),
    [(7.0, "holds"), (-7.0, "does not hold"), (0.0, "cannot tell"), (math.nan, "cannot tell")],
)
def test_without_an_order_in_the_paper_none_can_hold(expected: float, said: str) -> None:
    assert verdict(pd.Series([9.0, 10, 11]), expected)[3:] == [3, said]


def results(folder: Path, *rows: Row) -> Path:
    (folder / "tables").mkdir(parents=True)
    write_rows(folder / "tables" / "metrics.csv", list(rows), COLUMNS)
    return folder


def test_what_moved_between_two_runs_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    same = score("room0", "rsr", 30.0)
    first = results(tmp_path / "a", same, score("room0", "cse", 40), score("room1", "cse", 42))
    second = results(
        tmp_path / "b",
        *(same, score("room0", "cse", 41), score("room1", "cse", 44), score("room9", "cse", 1)),
    )
    assert compare.run(first, second) == {"scores": 3, "moved": 1}
    printed = capsys.readouterr().out
    (line,) = [line for line in printed.splitlines() if "cse" in line]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:2] == ["clip", "cse"] and cells[6:9] == ["41.00", "42.50", "1.50"]
    assert "3 scores in both; 0 in" in printed and "1 in" in printed
    assert compare.run(first, first)["moved"] == 0


def test_folders_that_cannot_be_compared_are_named(tmp_path: Path) -> None:
    first = results(tmp_path / "a", score("room0", "rsr", 30.0))
    with pytest.raises(UserError, match="no such file"):
        compare.run(first, tmp_path)
    second = results(tmp_path / "b", score("room1", "rsr", 30.0))
    with pytest.raises(UserError, match="no score is in both"):
        compare.run(first, second)
