"""Draw each held-out view with its label maps, IoU bars per class and the training curves.

Files in the folder: `view_<frame name>.png` per test view; `class_iou.png` when metrics are given;
`training.png` when training logs are given. What cannot stand in every file name (`/` and the like)
is written as `=` and its number in hexadecimal digits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ovnerf.evaluation.csv_files import read_train_log
from ovnerf.evaluation.figures import (
    class_bars,
    in_file_name,
    panel_figure,
    save,
    training_curves,
)
from ovnerf.evaluation.rows import COVERED
from ovnerf.evaluation.tables import in_order, read_long
from ovnerf.runtime.errors import UserError
from ovnerf.storage.frame_index import FrameIndex
from ovnerf.storage.listed import listed_folder
from ovnerf.storage.stores import Store, open_store, open_truth, read


def run(
    *,
    frames: Path,
    views: list[Path],
    names: str,
    out: Path,
    truth: Path | None = None,
    labels: Path | None = None,
    metrics: list[Path] | None = None,
    train: list[Path] | None = None,
) -> dict[str, Any]:
    """Draw the figures of one scene and encoder into folder `out`; returns their number.

    Args:
        frames: frames store.
        views: a views store per variant.
        names: the variants' names, comma separated, in the order of `views`.
        out: folder, replaced when complete.
        truth, labels: stores whose maps get panels of their own.
        metrics: long CSV files of the same runs, for the IoU bars.
        train: train.csv per run, in the order of `names`, for the curves.
    """
    variants = [name for name in names.split(",") if name]
    for option, paths in (("--views", views), ("--train", train)):
        if paths and len(paths) != len(variants):
            raise UserError(f"{option}: found {len(paths)} paths for {len(variants)} names {names}")
    photos = open_store(frames, "frames")
    stores = {name: open_store(path, "views") for name, path in zip(variants, views, strict=True)}
    classes = list(photos.attrs["classes"])
    known = open_truth(truth, photos) if truth else None
    initial = open_store(labels, "labels") if labels else None
    drawn = shared_frames(stores)
    with listed_folder(out, "draw_figures") as folder:
        for frame in drawn:
            name = photos.attrs["names"][frame]
            panels = view_panels(frame, photos, known, initial, stores)
            save(panel_figure(panels, classes, name), folder / f"view_{in_file_name(name)}.png")
        if metrics:
            table = iou_by_method(read_long(metrics))
            if len(table):
                save(class_bars(table, classes), folder / "class_iou.png")
        if train:
            logs = {name: read_train_log(path) for name, path in zip(variants, train, strict=True)}
            save(training_curves(logs), folder / "training.png")
        files = len(list(folder.iterdir()))
    return {"views": len(drawn), "files": files}


def shared_frames(stores: dict[str, Store]) -> list[int]:
    """Frames that every views store holds, ascending."""
    held = [set(FrameIndex(store).frames) for store in stores.values()]
    return sorted(set.intersection(*held)) if held else []


def view_panels(
    frame: int,
    photos: Store,
    truth: Store | None,
    labels: Store | None,
    stores: dict[str, Store],
) -> dict[str, np.ndarray]:
    """The panels of one view: photo, render, ground truth, CLIP, RSR, and each variant's labels."""
    panels = {"RGB": read(photos, "rgb", frame)}
    last, store = list(stores.items())[-1]
    panels[f"render ({last})"] = read(store, "rgb", FrameIndex(store).slot(frame))
    if truth is not None:
        panels["ground truth"] = read(truth, "label", frame)
    if labels is not None and frame in FrameIndex(labels):
        slot = FrameIndex(labels).slot(frame)
        panels["CLIP labels"] = read(labels, "clip", slot)
        panels["RSR labels"] = read(labels, "rsr", slot)
    for name, store in stores.items():
        panels[name] = read(store, "label", FrameIndex(store).slot(frame))
    return panels


def iou_by_method(long: pd.DataFrame) -> pd.DataFrame:
    """Columns method, class, value: pooled IoU on scored views, mean over seeds.

    A method is a variant of the field, by one of its rules, or a kind of label map, scored on all
    pixels. Label maps are called so (`rsr labels`), because variants have the same names.
    """
    rows = long[(long["metric"] == "IoU") & long["split"].isin(("test", "seen"))]
    rows = rows[~rows["source"].str.endswith(COVERED)]
    of_rule = rows["variant"] + " (" + rows["source"] + ")"
    of_field = rows["variant"].where(rows["source"] == "field", of_rule)
    method = of_field.where(rows["variant"] != "", rows["source"] + " labels")
    rows = in_order(rows.assign(method=method))
    return rows.groupby(["method", "class"], sort=False)["value"].mean().reset_index()
