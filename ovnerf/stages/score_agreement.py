"""Score how far the label maps of the training views agree with each other, without ground truth.

Rows of metric `agreement` for the sources `clip`, `rsr` and, where such labels are given, `fused`
(docs/method.md#agreement). `evaluate` writes those of the fields.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ovnerf.evaluation.agreement import agreement_rows
from ovnerf.evaluation.rows import COLUMNS, SPLIT_NAMES, write_rows
from ovnerf.field.covisibility import DepthViews
from ovnerf.labels.agreement import compared
from ovnerf.storage.frame_index import FrameIndex
from ovnerf.storage.splits import TRAIN, in_split
from ovnerf.storage.stores import open_store, read


def run(
    *,
    frames: Path,
    depth: Path,
    labels: Path,
    out: Path,
    dataset: str,
    scene: str,
    encoder: str,
    fused: Path | None = None,
) -> dict[str, Any]:
    """Write the rows to the CSV `out`; returns the scores."""
    photos, distances = open_store(frames, "frames"), open_store(depth, "depth")
    store = open_store(labels, "labels")
    index, split = FrameIndex(store), read(photos, "split")
    used = compared([frame for frame in index.frames if in_split(split, TRAIN)[frame]])
    maps = {name: list(read(store, name, index.slots(used))) for name in ("clip", "rsr")}
    if fused is not None:
        voted = open_store(fused, "fused")
        maps["fused"] = list(read(voted, "label", FrameIndex(voted).slots(used)))
    views = DepthViews(
        read(photos, "pose")[used],
        read(photos, "intrinsics").astype(float),
        read(distances, "distance", FrameIndex(distances).slots(used)),
    )
    kind = SPLIT_NAMES[max(split[used], default=TRAIN)]
    identity = {"dataset": dataset, "scene": scene, "encoder": encoder, "split": kind}
    rows = agreement_rows(identity, maps, views.pairs(), len(store.attrs["classes"]))
    write_rows(out, rows, COLUMNS)
    return {f"{row['source']}_agreement": round(row["value"], 2) for row in rows}
