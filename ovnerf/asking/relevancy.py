"""How much a point is like a phrase: cosines, relevancy, softmax (docs/asking.md#relevancy).

A unit text vector t meets the unit language vector F = U u of a point in one product of 28 numbers:
t . F = (U^T t) . u. All functions take such products' factors and no array of size n x D is made.
"""

from __future__ import annotations

import numpy as np

TEMPERATURE = 10.0
"""Of LERF's two-way softmaxes."""


def cosines(feature: np.ndarray, reduced: np.ndarray) -> np.ndarray:
    """Cosines f32 (k, n) of text vectors with points; a row per vector, which makes maxima fast.

    Args:
        feature: unit features f32 (n, 28). reduced: U^T t of each text vector, f32 (k, 28).
    """
    return reduced @ feature.T


def relevancy(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """sigmoid(10 (c+ - max c-)), f32 (n,): 0.5 where phrase and best negative are equally like.

    It equals LERF's minimum over two-way softmaxes of the phrase and each negative.

    Args:
        positive: the phrase's cosine f32 (n,), of its most similar synonym.
        negative: the largest cosine of its negatives, f32 (n,).
    """
    found = (negative - positive) * np.float32(TEMPERATURE)
    np.exp(found, out=found)
    found += 1
    return np.reciprocal(found, out=found)


def softmax(phrases: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares f32 (k, n) of k phrases among all phrases and negatives, and who wins i64 (n,).

    Args:
        phrases: cosines f32 (k, n), k >= 1. negatives: cosines f32 (m, n); m may be 0.

    Returns:
        The shares, and for each point the index of the phrase it is most like, -1 where that is a
        negative.
    """
    everything = np.concatenate([phrases, negatives]) * np.float32(TEMPERATURE)
    everything -= everything.max(0)
    shares = np.exp(everything)
    shares /= shares.sum(0)
    winner = everything.argmax(0)
    count = len(phrases)
    return shares[:count], np.where(winner < count, winner, -1)
