"""Score the label maps that training starts from: CLIP argmax, and the same after RSR.

Rows of source `clip` and `rsr`, and of `rsr_truth`, the true labels after RSR by the
same regions: what ranking costs where a region mixes classes, whatever the encoder. In these rows a
pixel without a label is wrong. Training ignores such pixels; rows of `clip_covered`,
`rsr_covered` and `rsr_truth_covered` leave them out. Written once per scene and encoder, on
training views, and on test views where the label store covers them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ovnerf.config.labels import RankRegions
from ovnerf.evaluation.rows import COLUMNS, SPLIT_NAMES, label_map_rows, write_rows
from ovnerf.labels.rsr import rank_regions
from ovnerf.regions.runlength import Regions
from ovnerf.storage.stores import open_store, open_truth, read


def run(
    *,
    frames: Path,
    truth: Path,
    labels: Path,
    regions: Path,
    out: Path,
    dataset: str,
    scene: str,
    encoder: str,
) -> dict[str, Any]:
    """Write the rows to the CSV `out`; returns the pooled scores."""
    photos = open_store(frames, "frames")
    labelled = open_truth(truth, photos)
    store = open_store(labels, "labels")
    split = read(photos, "split")
    names, classes = photos.attrs["names"], list(photos.attrs["classes"])
    covered = [int(frame) for frame in store.attrs["frames"]]
    proposals = Regions(open_store(regions, "regions"))
    order = RankRegions(**store.attrs["settings"]).order

    def true_label(slot: int) -> np.ndarray:
        return read(labelled, "label", covered[slot])

    sources: dict[str, Callable[[int], np.ndarray]] = {
        "clip": lambda slot: read(store, "clip", slot),
        "rsr": lambda slot: read(store, "rsr", slot),
        "rsr_truth": lambda slot: rank_regions(
            true_label(slot), proposals.masks(covered[slot]), len(classes), order
        ),
    }
    identity = {"dataset": dataset, "scene": scene, "encoder": encoder}
    rows = []
    for part, split_name in enumerate(SPLIT_NAMES):
        chosen = [slot for slot, frame in enumerate(covered) if split[frame] == part]
        for source, label in sources.items():
            rows += label_map_rows(
                {**identity, "split": split_name, "source": source},
                [names[covered[slot]] for slot in chosen],
                map(true_label, chosen),
                map(label, chosen),
                classes,
            )
    write_rows(out, rows, COLUMNS)
    return {
        f"{row['source']}_{row['split']}_{row['metric']}": round(row["value"], 2)
        for row in rows
        if row["protocol"] == "pooled" and row["metric"] != "IoU"
    }
