"""Whether the order of systems and settings that the paper reports is the order here, too."""

from __future__ import annotations

import math

import pandas as pd

from ovnerf.evaluation.differences import CONFIDENCE, paired_difference, pairs
from ovnerf.evaluation.paper import AVERAGE, printed
from ovnerf.evaluation.summary import markdown
from ovnerf.evaluation.tables import scores_as_printed

COMPARISONS = {
    ("ovnerf", "lerf"): "OV-NeRF over LERF",
    ("ovnerf", "3dovs"): "OV-NeRF over 3DOVS",
    ("ovnerf", "dff"): "OV-NeRF over DFF",
    ("ovnerf", "fcclip"): "OV-NeRF over FC-CLIP",
    ("rsr", "baseline"): "RSR over the baseline",
    ("cse", "baseline"): "CSE over the baseline",
    ("ovnerf", "rsr"): "CSE after RSR over RSR alone",
    ("ovnerf", "cse_unranked"): "pseudo labels ranked over not",
    ("ovnerf", "t8k"): "T = 10000 over 8000",
    ("ovnerf", "t12k"): "T = 10000 over 12000",
    ("ovnerf", "n500"): "N = 1000 over 500",
    ("ovnerf", "n2500"): "N = 1000 over 2500",
    ("ovnerf", "n5000"): "N = 1000 over 5000",
}
"""(variant, variant) -> what is compared."""
PAIRED = ["dataset", "scene", "encoder", "seed"]
"""What two scores of a pair share."""
COLUMNS = ["comparison", "paper", "ours", "low", "high", "pairs", "verdict"]
READING = (
    "Differences of mIoU in points, first minus second. `paper`: mean over its scenes and "
    "encoders. `ours`: mean over the pairs of this run that share scene, encoder and seed, with "
    f"the interval of Student's t ({CONFIDENCE:.0%}). Seeds of one scene are not independent, so "
    "with few scenes the interval is too narrow. The paper's order *holds* where the interval "
    "lies on the paper's side of zero, *does not hold* where it lies on the other, and else this "
    "run *cannot tell*, as where the paper has no difference."
)
STAND_INS = (
    "**Stand-ins.** The scenes and encoders of this run are not the paper's: it shows which orders "
    "such small scenes can tell, and says nothing about the paper's numbers."
)


def order_of(long: pd.DataFrame) -> pd.DataFrame:
    """Every comparison of the paper: its difference, ours, and whether they agree (COLUMNS).

    Args:
        long: every score in long form.
    """
    ours = scores_as_printed(long)
    ours = ours[ours["metric"] == "mIoU"]
    paper = printed()
    paper = paper[(paper["metric"] == "mIoU") & (paper["scene"] != AVERAGE)]
    paper = paper.rename(columns={"paper": "value"}).assign(seed="")
    paper = paper.drop_duplicates([*PAIRED, "variant"])
    rows = []
    for (first, second), words in COMPARISONS.items():
        theirs = differences(paper, first, second)
        found = differences(ours, first, second)
        expected = float(theirs.mean()) if len(theirs) else math.nan
        rows.append([words, expected, *verdict(found, expected)])
    return pd.DataFrame(rows, columns=COLUMNS)


def differences(scores: pd.DataFrame, first: str, second: str) -> pd.Series:
    """Scores of one variant less those of another, of the runs that share the rest."""
    less, more = (scores[scores["variant"] == name] for name in (second, first))
    return pairs(less, more, PAIRED)["difference"]


def verdict(found: pd.Series, expected: float) -> list[float | int | str]:
    """Cells ours, low, high, pairs and verdict of one comparison.

    Args:
        expected: the paper's difference. Where it is 0 or not a number the paper has no order that
            could hold, so the verdict is "cannot tell".
    """
    if found.empty:
        return [math.nan, math.nan, math.nan, 0, "no run"]
    ours = paired_difference(found.to_numpy())
    side = (expected > 0) - (expected < 0)
    words = {1: "holds", -1: "does not hold", 0: "cannot tell"}[side * ours.sign]
    return [ours.mean, ours.low, ours.high, ours.pairs, words]


def as_markdown(order: pd.DataFrame, stand_ins: bool) -> str:
    """The page of `order_of`.

    Args:
        stand_ins: whether the scenes or encoders stand for the paper's, which the page then says.
    """
    parts = ["# Is the order the paper's?", READING]
    if stand_ins:
        parts.append(STAND_INS)
    return "\n\n".join([*parts, markdown(order)]) + "\n"
