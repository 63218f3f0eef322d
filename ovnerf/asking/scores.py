"""Scores of queries where it is known what is there; each protocol by its name, never mixed.

Protocols of a phrase in a view that shows it, from its score at every pixel
(docs/asking.md#scores):

* `lerf_loc`: whether the highest pixel lies in a true box.
* `langsplat_loc`: the same, of the 30 x 30 mean of the scores.
* `langsplat_iou`: IoU of the pixels above 70 % of the map's own range, the map being the mean of
  the scores and their 30 x 30 mean.
* `iou@0.5`: IoU of the pixels whose score is at least 0.5. In mode `softmax` there is `iou@won`
  instead: IoU of the pixels that are most like the phrase, which have a score above 0.

And over all views: `pixel_ap`, average precision of a phrase's pixels, which needs no threshold;
`existence_auc`, how well the highest score of a view tells whether the phrase is in it, over all
pairs of a view and a phrase.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.stats import rankdata

from ovnerf.asking.targets import Box, Target, Targets
from ovnerf.config.phrases import Phrase

KERNEL = 30
"""Side of the mean that LangSplat takes, in pixels."""
OWN_RANGE = 0.7
COLUMNS = ("source", "phrase", "view", "protocol", "value")
Row = dict[str, Any]


def score_rows(
    phrases: Sequence[Phrase],
    targets: Targets,
    scores: Mapping[str, Sequence[np.ndarray]],
    softmax: bool = False,
) -> list[Row]:
    """Every score of every phrase whose truth is known, in percent.

    Args:
        scores: view -> a score map f32 (H, W) for each phrase.
        softmax: whether the phrases were asked in mode `softmax`.
    """
    rows: list[Row] = []
    highest: list[tuple[bool, float]] = []

    def add(phrase: str, view: str, protocol: str, value: float) -> None:
        cells = (targets.source, phrase, view, protocol, 100 * value)
        rows.append(dict(zip(COLUMNS, cells, strict=True)))

    for number, phrase in enumerate(phrases):
        known = {frame: targets.at(frame, phrase) for frame in targets.frames}
        pairs = [
            (frame, target, scores[frame][number]) for frame, target in known.items() if target
        ]
        for frame, target, score in pairs:
            highest.append((bool(target.mask.any()), float(score[target.counted].max(initial=0))))
            if target.mask.any():
                for protocol, value in view_scores(score, target, softmax).items():
                    add(phrase.notation, frame, protocol, value)
        if any(target.mask.any() for _, target, _ in pairs):
            truth = np.concatenate([target.mask[target.counted] for _, target, _ in pairs])
            score = np.concatenate([score[target.counted] for _, target, score in pairs])
            add(phrase.notation, "", "pixel_ap", average_precision(truth, score))
    rows += means(rows, targets.source)
    if len({there for there, _ in highest}) == 2:
        there, score = (np.array(side) for side in zip(*highest, strict=True))
        add("", "", "existence_auc", area_under_curve(there, score))
    return rows


def not_scored(phrases: Sequence[Phrase], targets: Targets) -> list[str]:
    """Phrases that no view's truth knows, so that the means are without them."""
    return [
        phrase.notation
        for phrase in phrases
        if not any(targets.at(frame, phrase) for frame in targets.frames)
    ]


def means(rows: Sequence[Row], source: str) -> list[Row]:
    """The mean of each protocol over its rows, with phrase and view empty."""
    protocols = dict.fromkeys(row["protocol"] for row in rows)
    found = []
    for protocol in protocols:
        values = [row["value"] for row in rows if row["protocol"] == protocol]
        cells = (source, "", "", protocol, float(np.mean(values)))
        found.append(dict(zip(COLUMNS, cells, strict=True)))
    return found


def view_scores(score: np.ndarray, target: Target, softmax: bool = False) -> dict[str, float]:
    """The protocols of one phrase in a view that shows it, each in [0, 1].

    Args:
        score: f32 (H, W).
        softmax: whether it is of mode `softmax`, whose scores have no threshold of 0.5.
    """
    if softmax:
        own = {"iou@won": iou(score > 0, target)}
    else:
        own = {"iou@0.5": iou(score >= 0.5, target)}
    smooth = cv2.blur(score, (KERNEL, KERNEL))
    mixed = (score + smooth) / 2
    mixed = (mixed - mixed.min()) / max(float(np.ptp(mixed)), 1e-9)
    return {
        "lerf_loc": float(in_a_box(score, target.boxes)),
        "langsplat_loc": float(in_a_box(smooth, target.boxes)),
        "langsplat_iou": iou(mixed > OWN_RANGE, target),
        **own,
    }


def in_a_box(score: np.ndarray, boxes: Sequence[Box]) -> bool:
    """Whether the highest pixel (the first of equal ones) has its centre in one of the boxes."""
    y, x = np.unravel_index(int(score.argmax()), score.shape)
    return any(x0 <= x + 0.5 <= x1 and y0 <= y + 0.5 <= y1 for x0, y0, x1, y1 in boxes)


def iou(predicted: np.ndarray, target: Target) -> float:
    """Intersection over union with the target's mask, on the pixels that count."""
    both = (predicted & target.mask & target.counted).sum()
    return float(both / max(((predicted | target.mask) & target.counted).sum(), 1))


def average_precision(truth: np.ndarray, score: np.ndarray) -> float:
    """Sum over thresholds of precision times the gain in recall; truth bool (n,), score f32 (n,).

    0 where nothing is true.
    """
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(truth[order])
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # of equal scores
    gained = np.diff(hits[last], prepend=0)
    return float((gained * hits[last] / (last + 1)).sum() / max(int(hits[-1]), 1))


def area_under_curve(truth: np.ndarray, score: np.ndarray) -> float:
    """Share of (true, false) pairs in which the true one has the higher score; ties count half."""
    positive = int(truth.sum())
    ranks = rankdata(score)[truth].sum()
    below = ranks - positive * (positive + 1) / 2
    return float(below / (positive * (len(truth) - positive)))


def write_metrics(path: Path, rows: Sequence[Row]) -> None:
    """Write `query_metrics.csv`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "value": f"{row['value']:.4f}"} for row in rows)
