"""Score the label maps that training starts from: CLIP argmax, and the same after RSR.

Rows of source `clip` and `rsr`, of `fused` where such labels are given, and of `rsr_truth`, the
true labels after RSR by the same regions: what ranking costs where a region mixes classes, whatever
the encoder. In these rows a pixel without a label is wrong. Training ignores such pixels; rows of
`clip_covered`, `rsr_covered`, `fused_covered` and `rsr_truth_covered` leave them out. Written once
per scene and encoder, on training views, and on test views where the label store covers them.
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
from ovnerf.regions.superpixels import snapping_parts
from ovnerf.storage.frame_index import FrameIndex
from ovnerf.storage.made_with import open_made_with
from ovnerf.storage.stores import open_store, open_truth, read


def run(
    *,
    frames: Path,
    truth: Path,
    labels: Path,
    regions: Path,
    out: Path,
    rank_settings: RankRegions,
    dataset: str,
    scene: str,
    encoder: str,
    fused: Path | None = None,
) -> dict[str, Any]:
    """Write the rows to the CSV `out`; returns the pooled scores.

    `rank_settings` are those that `labels` was made with; `rsr_truth` is ranked by them, too.
    """
    photos = open_store(frames, "frames")
    labelled = open_truth(truth, photos)
    store = open_made_with(labels, "labels", rank_settings)
    split = read(photos, "split")
    names, classes = photos.attrs["names"], list(photos.attrs["classes"])
    index = FrameIndex(store)
    proposals = Regions(open_store(regions, "regions"))

    def parts(frame: int) -> np.ndarray | None:
        return snapping_parts(read(photos, "rgb", frame)) if rank_settings.snap else None

    def true_label(frame: int) -> np.ndarray:
        return read(labelled, "label", frame)

    sources: dict[str, Callable[[int], np.ndarray]] = {
        "clip": lambda frame: read(store, "clip", index.slot(frame)),
        "rsr": lambda frame: read(store, "rsr", index.slot(frame)),
        "rsr_truth": lambda frame: rank_regions(
            true_label(frame),
            proposals.masks(frame),
            len(classes),
            rank_settings.order,
            parts=parts(frame),
        ),
    }
    covers = dict.fromkeys(sources, index)
    if fused is not None:
        voted = open_store(fused, "fused")
        covers["fused"] = of_fused = FrameIndex(voted)
        sources["fused"] = lambda frame: read(voted, "label", of_fused.slot(frame))
    identity = {"dataset": dataset, "scene": scene, "encoder": encoder}
    rows = []
    for part, split_name in enumerate(SPLIT_NAMES):
        for source, label in sources.items():
            scored = [frame for frame in covers[source].frames if split[frame] == part]
            rows += label_map_rows(
                {**identity, "split": split_name, "source": source},
                [names[frame] for frame in scored],
                map(true_label, scored),
                map(label, scored),
                classes,
            )
    write_rows(out, rows, COLUMNS)
    return {
        f"{row['source']}_{row['split']}_{row['metric']}": round(row["value"], 2)
        for row in rows
        if row["protocol"] == "pooled" and row["metric"] != "IoU"
    }
