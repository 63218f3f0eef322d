"""Rows of metric `agreement`: whether views agree on the classes of what they both see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ovnerf.evaluation.rows import Row, row
from ovnerf.labels.agreement import Pairs, agreement


def agreement_rows(
    identity: Mapping[str, Any],
    maps: Mapping[str, Sequence[np.ndarray]],
    pairs: Pairs,
    classes: int,
) -> list[Row]:
    """A row per source, in percent; none for a source whose views share no labelled point.

    Args:
        identity: the cells of all rows but `source`. Others as in `agreement`.
    """
    return [
        row({**identity, "source": source}, "agreement", 100 * value)
        for source, value in agreement(maps, pairs, classes).items()
        if not np.isnan(value)
    ]
