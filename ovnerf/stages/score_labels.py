"""Score the label maps that training starts from: CLIP argmax, and the same after RSR.

Rows of source `clip_labels` and `rsr_labels`, written once per scene and encoder, on training
views, and on test views where the label store covers them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ovnerf.evaluation.rows import COLUMNS, SPLIT_NAMES, label_rows, write_rows
from ovnerf.stores import open_store, read

SOURCES = {"clip_labels": "relevancy", "rsr_labels": "ranked"}


def run(
    *,
    frames: Path,
    truth: Path,
    labels: Path,
    out: Path,
    dataset: str,
    scene: str,
    encoder: str,
) -> dict[str, Any]:
    """Write the rows to the CSV `out`; returns the pooled scores."""
    photos, labelled = open_store(frames, "frames"), open_store(truth, "truth")
    store = open_store(labels, "labels")
    split = read(photos, "split")
    names, classes = photos.attrs["names"], list(photos.attrs["classes"])
    covered = [int(frame) for frame in store.attrs["frames"]]
    identity = {"dataset": dataset, "scene": scene, "encoder": encoder}
    rows = []
    for part, split_name in enumerate(SPLIT_NAMES):
        chosen = [slot for slot, frame in enumerate(covered) if split[frame] == part]
        for source, array in SOURCES.items():
            rows += label_rows(
                {**identity, "split": split_name, "source": source},
                [names[covered[slot]] for slot in chosen],
                (read(labelled, "label", covered[slot]) for slot in chosen),
                (read(store, array, slot) for slot in chosen),
                classes,
            )
    write_rows(out, rows, COLUMNS)
    return {
        f"{row['source']}_{row['split']}_{row['metric']}": round(row["value"], 2)
        for row in rows
        if row["protocol"] == "pooled" and row["metric"] != "IoU"
    }
