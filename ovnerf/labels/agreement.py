"""Whether views agree on the classes of what they both see: a score without ground truth.

Cohen's kappa corrects for chance: a map of a single class scores 0 although all pixel pairs agree,
views that agree everywhere score 1 (docs/method.md#agreement).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

MOST_VIEWS = 64
"""Of more views every second, third, ... is compared, so that the pairs stay few."""
Pairs = Iterable[tuple[int, int, np.ndarray]]
"""(view, other view, for every pixel of the view the pixel of the other that shows the same surface
point, or a number below 0), pixels counted row by row."""


def compared(views: Sequence[int]) -> list[int]:
    """At most `MOST_VIEWS` of these views, at equal steps."""
    return list(views[:: max(1, -(-len(views) // MOST_VIEWS))])


def pair_matrix(first: np.ndarray, second: np.ndarray, classes: int) -> np.ndarray:
    """i64 (classes, classes), how many pixel pairs have each pair of labels.

    Args:
        first, second: labels of one length; pairs with a label from `classes` on do not count.
    """
    named = (first < classes) & (second < classes)
    key = first[named].astype(np.int64) * classes + second[named]
    return np.bincount(key, minlength=classes**2).reshape(classes, classes)


def cohen_kappa(matrix: np.ndarray) -> float:
    """Agreement beyond chance of a matrix of label pairs; NaN without pairs, 0 for one class."""
    total = matrix.sum()
    if not total:
        return float("nan")
    agree = np.trace(matrix) / total
    # Python's integers: of 3 billion pairs the sum of the products goes beyond 64 bits.
    products = zip(matrix.sum(0).tolist(), matrix.sum(1).tolist(), strict=True)
    chance = float(sum(first * second for first, second in products)) / float(total) ** 2
    return float((agree - chance) / (1 - chance)) if chance < 1 else 0.0


def agreement(
    maps: Mapping[str, Sequence[np.ndarray]], pairs: Pairs, classes: int
) -> dict[str, float]:
    """Cohen's kappa of each source over the pairs of all views.

    Args:
        maps: label maps (H, W) by source, one per view.
    """
    matrices = {source: np.zeros((classes, classes), np.int64) for source in maps}
    flat = {source: [label.ravel() for label in labels] for source, labels in maps.items()}
    for view, other, pixel in pairs:
        here = np.flatnonzero(pixel >= 0)
        for source, labels in flat.items():
            found = pair_matrix(labels[view][here], labels[other][pixel[here]], classes)
            matrices[source] += found
    return {source: cohen_kappa(matrix) for source, matrix in matrices.items()}
