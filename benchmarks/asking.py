"""The bench case of a query: 28 numbers a point against a language vector a point."""

from __future__ import annotations

import numpy as np

from benchmarks.measure import Result, compare
from benchmarks.scene import CHANNELS
from ovnerf.asking.instances import Instance, find_instances
from ovnerf.asking.relevancy import TEMPERATURE, cosines, relevancy

WIDTH = 28
"""Numbers of a point's feature."""
NEGATIVES = 4
CHUNK = 50_000
"""Points whose language vectors the reference holds at once."""
UP = np.array([0.0, 0.0, 1.0])


def room(side: int) -> np.ndarray:
    """Voxels i32 (n, 3) of the faces of a room `side` wide and half as high, ascending by key."""
    high = side // 2
    grid = np.zeros((side, side, high), dtype=bool)
    grid[[0, -1]] = grid[:, [0, -1]] = True
    grid[:, :, [0, -1]] = True
    return np.argwhere(grid).astype(np.int32)


def query(side: int, repeats: int) -> Result:
    """A phrase against four negatives at every point of a room, and the objects found.

    A disc on the floor is like the phrase; everything else is like nothing.
    """
    cell = room(side)
    random = np.random.default_rng(17)
    matrix = np.linalg.qr(random.standard_normal((CHANNELS, WIDTH)))[0].astype(np.float32)
    text = random.standard_normal((1 + NEGATIVES, CHANNELS)).astype(np.float32)
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    feature = random.standard_normal((len(cell), WIDTH)).astype(np.float32)
    feature[np.linalg.norm(cell - [side // 2, side // 2, 0], axis=1) < side / 6] += (
        40 * text[0] @ matrix
    )
    feature /= np.linalg.norm(feature, axis=1, keepdims=True)
    columns, reduced = np.asfortranarray(feature), text @ matrix
    # Random vectors are less alike than those of CLIP, so the threshold is higher.
    threshold = 0.8

    def fast() -> tuple[np.ndarray, list[Instance]]:
        found = cosines(columns, reduced)
        score = relevancy(found[0], found[1:].max(0))
        chosen = np.flatnonzero(score >= threshold)
        return score, find_instances(cell * 0.01, cell, score, chosen, 20, UP)

    language = feature[:CHUNK] @ matrix.T

    def slow() -> np.ndarray:
        pairs = np.exp(TEMPERATURE * (language @ text.T))
        return (pairs[:, :1] / (pairs[:, :1] + pairs[:, 1:])).min(1)

    gap = float(np.abs(fast()[0][: len(language)] - slow()).max())
    size = f"{len(cell)} points, {len(fast()[1])} objects"
    parts = [(slow, -(-len(cell) // CHUNK))]
    return compare("query", size, fast, parts, (gap, 0.0), repeats)
