"""Rendered labels of a run's views: label images, coloured ones, and COCO JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as run_lengths

from ovnerf.asking.description import Description
from ovnerf.asking.points import Points
from ovnerf.asking.relevancy import cosines
from ovnerf.asking.views import View
from ovnerf.evaluation.figures import colour_labels, in_file_name
from ovnerf.labels.void import VOID


def label_map(view: View, points: Points, description: Description) -> np.ndarray:
    """The class that each pixel is most like, u16 (H, W); void where a ray meets nothing.

    Words are those of the training's prompt bank, as in the views that are scored.
    """
    text = points.text.bare if description.text_bank == "bare" else points.text.ensemble
    feature = view.feature.reshape(-1, view.feature.shape[-1])
    label = cosines(feature, text @ points.matrix).argmax(0).reshape(view.opacity.shape)
    return np.where(view.opacity > 0, label, VOID).astype(np.uint16)


def write_labels(folder: Path, name: str, label: np.ndarray, classes: int) -> None:
    """Write `labels/{frame}.png` (u16 class indices) and `labels_colour/{frame}.png`."""
    file = f"{in_file_name(name)}.png"
    for kind, picture in (("labels", label), ("labels_colour", colour_labels(label, classes))):
        (folder / kind).mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / kind / file)


def coco_json(maps: Mapping[str, np.ndarray], description: Description) -> dict[str, Any]:
    """COCO's description of label maps: one mask per view and class, no instances.

    Category ids are class indices, as everywhere here. Images and annotations count from 1, because
    COCO's own evaluation takes an annotation 0 for none.

    Args:
        maps: frame name -> u16 (H, W).
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, label) in enumerate(maps.items(), start=1):
        height, width = label.shape
        file = f"{in_file_name(name)}.png"
        images.append({"id": number, "file_name": file, "height": height, "width": width})
        for index in sorted(set(np.unique(label).tolist()) - {VOID}):
            code = run_lengths.encode(np.asfortranarray(label == index, dtype=np.uint8))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": index,
                    "area": int(run_lengths.area(code)),
                    "bbox": run_lengths.toBbox(code).tolist(),
                    "segmentation": {"size": code["size"], "counts": code["counts"].decode()},
                    "iscrowd": 0,
                }
            )
    return {
        "info": {"description": f"labels of {description.source}"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": k, "name": name} for k, name in enumerate(description.classes)],
    }
