"""Which photos are matched with each other.

Loops are found without a vocabulary made elsewhere: words are clusters of the capture's own SIFT
descriptors, photos are compared by their words' frequencies (tf-idf; Sivic and Zisserman 2003).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy.cluster.vq import kmeans2, vq

from ovnerf.config.capture import Capture

Pair = tuple[str, str]
"""Names of two photos, the earlier first."""
WORDS = 256
SAMPLES = 20_000
"""Descriptors that the words are made from, at most."""
ROUNDS = 8
OF_A_PHOTO = 800
"""Descriptors by which a photo is compared, at most."""


def every_pair(names: Sequence[str]) -> list[Pair]:
    """All pairs."""
    return list(combinations(names, 2))


def neighbours(count: int, overlap: int) -> set[tuple[int, int]]:
    """Pairs of positions at most `overlap` apart, and 2, 4, 8 ... times that many."""
    steps = list(range(1, overlap + 1))
    while steps and steps[-1] * 2 < count and len(steps) < 2 * overlap:
        steps.append(steps[-1] * 2)
    return {(at, at + step) for step in steps for at in range(count - step)}


def chosen_pairs(
    descriptors: Mapping[str, np.ndarray], video: bool, settings: Capture
) -> list[Pair]:
    """The pairs to match: all of few photos, else neighbours in time and photos that look alike.

    Args:
        descriptors: u8 (k, 128) of each photo, in their order.
        video: whether photos next to each other are so in time.
    """
    names = list(descriptors)
    if not video and len(names) <= settings.exhaustive_up_to:
        return every_pair(names)
    pairs = neighbours(len(names), settings.overlap)
    if settings.loops:
        alike = likeness(list(descriptors.values()), settings.seed)
        pairs |= most_alike(alike, settings.loops, settings.overlap)
        if not video:  # whose order says less
            pairs |= most_alike(alike, 4 * settings.loops, 0)
    return [(names[one], names[other]) for one, other in sorted(pairs)]


def likeness(descriptors: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """f64 (n, n): cosine of the photos' word frequencies."""
    random = np.random.default_rng(seed)
    few = [some_of(each, OF_A_PHOTO, random).astype(np.float32) for each in descriptors]
    every = np.concatenate(few)
    if len(every) < WORDS:
        return np.zeros((len(descriptors), len(descriptors)))
    sample = some_of(every, SAMPLES, random)
    start = some_of(sample, WORDS, random)
    words, _ = kmeans2(sample, start, iter=ROUNDS, minit="matrix", missing="warn")
    counts = np.array([np.bincount(vq(each, words)[0], minlength=WORDS) for each in few], float)
    rare = np.log(len(counts) / np.maximum((counts > 0).sum(0), 1))
    weights = counts * rare
    return cosine(weights)


def cosine(rows: np.ndarray) -> np.ndarray:
    """Cosines between rows; 0 for rows of zeros."""
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit @ unit.T


def some_of(rows: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """At most `count` of the rows, drawn without repeats."""
    if len(rows) <= count:
        return rows
    return rows[np.sort(random.choice(len(rows), count, replace=False))]


def most_alike(alike: np.ndarray, each: int, apart: int) -> set[tuple[int, int]]:
    """For every photo the `each` most alike among those more than `apart` positions away."""
    position = np.arange(len(alike))
    far = np.abs(position[:, None] - position) > apart
    pairs = set()
    for one, row in enumerate(np.where(far, alike, -1.0)):
        for other in np.argsort(-row, kind="stable")[:each]:
            if row[other] > 0:
                pairs.add((min(one, int(other)), max(one, int(other))))
    return pairs
