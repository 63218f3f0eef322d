"""Paired differences of scores, with an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences.

    Attributes:
        mean: of the differences.
        low, high: ends of the interval that holds the mean of all such pairs in 95 of 100 cases, if
            differences are normally distributed and independent; NaN for fewer than two pairs.
        pairs: their number.
    """

    mean: float
    low: float
    high: float
    pairs: int

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval lies on one side of zero, else 0."""
        return int(self.low > 0) - int(self.high < 0)


def paired_difference(differences: np.ndarray) -> Difference:
    """The mean of differences (n,), n >= 1, with the interval of Student's t."""
    count, mean = len(differences), float(np.mean(differences))
    if count < 2:
        return Difference(mean, math.nan, math.nan, count)
    reach = student.ppf(0.5 + CONFIDENCE / 2, count - 1) * np.std(differences, ddof=1)
    reach = float(reach / math.sqrt(count))
    return Difference(mean, mean - reach, mean + reach, count)


def pairs(first: pd.DataFrame, second: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Lines of two tables of scores with equal `keys`, and a column `difference` (second - first).

    Args:
        first, second: with a column `value`; each key once.
    """
    joined = first[[*keys, "value"]].merge(
        second[[*keys, "value"]], on=keys, suffixes=("_first", "_second")
    )
    return joined.assign(difference=joined["value_second"] - joined["value_first"])
