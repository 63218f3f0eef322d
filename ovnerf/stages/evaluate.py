"""Score rendered held-out views: labels by both protocols, PSNR and SSIM.

Ground truth of one mask per class (3DOVS) is scored by its own protocol, too. Views that are
scored although they were trained on (`held_out: none`) get split `seen`.

Source `field` is the trained field, or what was lifted without training (variant `lift`);
`field_cosine` and `field_votes` the same by another rule, where the views hold one
(`render_views.prediction: relevancy`; votes of `lift`). Source `radiance` is the reconstruction
before semantics, whose rows leave encoder, variant and seed empty because all of them share it;
where a scene has several (`reconstruct.seeds`) they have the field's seed. A scene without ground
truth gets agreement between views, PSNR and SSIM only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ovnerf.evaluation.agreement import agreement_rows
from ovnerf.evaluation.rows import (
    COLUMNS,
    SPLIT_NAMES,
    Row,
    image_rows,
    label_rows,
    multi_label_rows,
    write_rows,
)
from ovnerf.field.covisibility import MIN_OPACITY, DepthViews
from ovnerf.runtime.errors import UserError
from ovnerf.storage.frame_index import FrameIndex
from ovnerf.storage.splits import TEST, in_split
from ovnerf.storage.stores import Store, open_store, open_truth, read

PREDICTED = {"field": "label", "field_cosine": "label_cosine", "field_votes": "label_votes"}
"""Source of the scores -> array of the `views` store."""


def run(
    *,
    frames: Path,
    views: Path,
    out: Path,
    dataset: str,
    scene: str,
    encoder: str,
    variant: str,
    seed: int,
    truth: Path | None = None,
    radiance_seed: int | None = None,
) -> dict[str, Any]:
    """Write the rows to the CSV `out`; returns the aggregate scores."""
    photos, rendered = open_store(frames, "frames"), open_store(views, "views")
    index = FrameIndex(rendered)
    split = read(photos, "split")
    if not in_split(split, TEST)[index.frames].all():
        raise UserError(
            f"{views}: holds views that {frames} uses for training, expected test views only",
            "the split changed since; rerun render_views",
        )
    kind = max(split[index.frames].tolist(), default=TEST)
    names = [photos.attrs["names"][frame] for frame in index.frames]
    scored = {"dataset": dataset, "scene": scene, "split": SPLIT_NAMES[kind]}
    field = {**scored, "encoder": encoder, "variant": variant, "seed": seed, "source": "field"}
    rows = []
    if truth is not None:
        labelled = open_truth(truth, photos)
        for source, predicted in PREDICTED.items():
            if predicted in rendered:
                rows += rows_of_labels(
                    {**field, "source": source}, photos, labelled, rendered, predicted
                )
    radiance: dict[str, str | int] = {**scored, "source": "radiance"}
    if radiance_seed is not None:
        radiance["seed"] = radiance_seed
    for array, identity in (("rgb", field), ("rgb_radiance", radiance)):
        if array in rendered:
            rows += image_rows(
                identity,
                names,
                (read(photos, "rgb", frame) for frame in index.frames),
                (read(rendered, array, slot) for slot in range(len(index))),
            )
    if "depth" in rendered:
        rows += agreement_of_field(field, photos, rendered)
    write_rows(out, rows, COLUMNS)
    return {
        "_".join(filter(None, (row["source"], row["protocol"], row["metric"]))): round(
            row["value"], 3
        )
        for row in rows
        if not row["frame"] and not row["class"]
    }


def rows_of_labels(
    identity: Mapping[str, Any], photos: Store, truth: Store, rendered: Store, predicted: str
) -> list[Row]:
    """The rows of a label array of a `views` store, by every protocol that the truth allows."""
    index, rows = FrameIndex(rendered), []
    names = [photos.attrs["names"][frame] for frame in index.frames]
    for array, rows_of in (("label", label_rows), ("masks", multi_label_rows)):
        if array in truth:
            rows += rows_of(
                identity,
                names,
                (read(truth, array, frame) for frame in index.frames),
                (read(rendered, predicted, slot) for slot in range(len(index))),
                list(photos.attrs["classes"]),
            )
    return rows


def agreement_of_field(identity: Mapping[str, Any], photos: Store, rendered: Store) -> list[Row]:
    """The row of metric `agreement` of the rendered views, which a field's labels share."""
    frames, depth = FrameIndex(rendered).frames, read(rendered, "depth")
    seen = np.where(read(rendered, "opacity") >= MIN_OPACITY, depth, 0)
    intrinsics = read(photos, "intrinsics").astype(float)
    views = DepthViews(read(photos, "pose")[frames], intrinsics, seen)
    cells = {key: value for key, value in identity.items() if key != "source"}
    maps = {"field": list(read(rendered, "label"))}
    return agreement_rows(cells, maps, views.pairs(), len(photos.attrs["classes"]))
