"""Rows of the long table: every score of the project, one per line (docs/conventions.md)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ovnerf.evaluation.metrics import (
    class_iou,
    confusion_matrix,
    covered,
    image_scores,
    mean_scores,
    multi_label_scores,
    pooled_scores,
    psnr,
    ssim,
)
from ovnerf.storage.atomic import atomic_file

COLUMNS = (
    "dataset",
    "scene",
    "encoder",
    "variant",
    "seed",
    "protocol",
    "split",
    "source",
    "frame",
    "class",
    "metric",
    "value",
)
SPLIT_NAMES = ("train", "test", "seen")
"""By value of `split`: trained on, held out, and scored although trained on."""
COVERED = "_covered"
"""Ends the name of a source that is scored only where it has a label."""

Row = dict[str, Any]


def row(identity: Mapping[str, Any], metric: str, value: float, **cells: str) -> Row:
    """One line; cells that are not given stay empty."""
    return {**dict.fromkeys(COLUMNS, ""), **identity, **cells, "metric": metric, "value": value}


def label_rows(
    identity: Mapping[str, Any],
    names: Sequence[str],
    truth: Iterable[np.ndarray],
    predicted: Iterable[np.ndarray],
    classes: Sequence[str],
) -> list[Row]:
    """mIoU and accuracy of label maps by both protocols, per frame and in all, and IoU per class.

    Args:
        identity: dataset, scene, encoder, variant, seed, split, source.
        names: frame names of the maps.
        truth, predicted: label maps (H, W), one per frame.
        classes: class names.

    Returns:
        Percent. Frames without a labelled pixel have no row; no frame with one: no row at all.
    """
    matrices = [confusion_matrix(t, p, len(classes)) for t, p in zip(truth, predicted, strict=True)]
    return matrix_rows(identity, names, matrices, classes)


def label_map_rows(
    identity: Mapping[str, Any],
    names: Sequence[str],
    truth: Iterable[np.ndarray],
    predicted: Iterable[np.ndarray],
    classes: Sequence[str],
) -> list[Row]:
    """`label_rows` of label maps that training reads, twice.

    Rows of the source itself: void in a map is wrong, as in every score. Rows of
    `<source>_covered`: only pixels that carry a label count, as in the loss, which ignores void.
    """
    matrices = [confusion_matrix(t, p, len(classes)) for t, p in zip(truth, predicted, strict=True)]
    of_covered = {**identity, "source": f"{identity['source']}{COVERED}"}
    return matrix_rows(identity, names, matrices, classes) + matrix_rows(
        of_covered, names, [covered(matrix) for matrix in matrices], classes
    )


def matrix_rows(
    identity: Mapping[str, Any],
    names: Sequence[str],
    matrices: Sequence[np.ndarray],
    classes: Sequence[str],
) -> list[Row]:
    """The rows of `label_rows` from each frame's confusion matrix."""
    scores = [image_scores(matrix) for matrix in matrices]
    rows: list[Row] = []
    for name, score in zip(names, scores, strict=True):
        rows += score_rows(identity, score, "per_image", frame=name)
    rows += score_rows(identity, mean_scores(scores), "per_image")
    if not matrices:
        return rows
    total = np.sum(matrices, axis=0)
    rows += score_rows(identity, pooled_scores(total), "pooled")
    for name, value in zip(classes, class_iou(total), strict=True):
        if not np.isnan(value):
            rows.append(
                row(identity, "IoU", 100 * float(value), protocol="pooled", **{"class": name})
            )
    return rows


def multi_label_rows(
    identity: Mapping[str, Any],
    names: Sequence[str],
    masks: Iterable[np.ndarray],
    predicted: Iterable[np.ndarray],
    classes: Sequence[str],
) -> list[Row]:
    """mIoU and accuracy by the 3D-OVS protocol (`multi_label`), per frame and in all, in percent.

    Args:
        masks: per frame u8 (H, W, ceil(C / 8)), bits packed as `read_masks` (scenes) does.
            Frames without a mask have no row. Others as in `label_rows`.
    """
    rows: list[Row] = []
    scores = []
    for name, packed, label in zip(names, masks, predicted, strict=True):
        if packed.any():
            belongs = np.unpackbits(packed, axis=-1, count=len(classes)).astype(bool)
            scores.append(multi_label_scores(belongs, label))
            rows += score_rows(identity, scores[-1], "multi_label", frame=name)
    return rows + score_rows(identity, mean_scores(scores), "multi_label")


def score_rows(
    identity: Mapping[str, Any], score: tuple[float, float] | None, protocol: str, frame: str = ""
) -> list[Row]:
    """The mIoU and the accuracy row of one score, in percent; none for no score."""
    if score is None:
        return []
    return [
        row(identity, metric, 100 * value, protocol=protocol, frame=frame)
        for metric, value in zip(("mIoU", "accuracy"), score, strict=True)
    ]


def image_rows(
    identity: Mapping[str, Any],
    names: Sequence[str],
    photos: Iterable[np.ndarray],
    rendered: Iterable[np.ndarray],
) -> list[Row]:
    """PSNR (dB) and SSIM of rendered u8 (H, W, 3) views, per frame and their mean."""
    scores = [(psnr(a, b), ssim(a, b)) for a, b in zip(photos, rendered, strict=True)]
    rows: list[Row] = []
    for column, metric in enumerate(("PSNR", "SSIM")):
        values = [score[column] for score in scores]
        rows += [
            row(identity, metric, value, frame=name)
            for name, value in zip(names, values, strict=True)
        ]
        if values:
            rows.append(row(identity, metric, float(np.mean(values))))
    return rows


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write a CSV atomically; numbers with six decimals, so that equal results are equal bytes."""
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for item in rows:
            writer.writerow({key: text(item[key]) for key in columns})


def text(value: Any) -> str:
    """A cell: floats with six decimals, the rest as it is."""
    return f"{value:.6f}" if isinstance(value, float) else str(value)
