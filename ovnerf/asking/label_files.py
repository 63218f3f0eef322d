"""Rendered labels of a run's views: label images, coloured ones, and COCO JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as run_lengths
from torch import Tensor

from ovnerf.asking.description import Description
from ovnerf.asking.rendered import label_map, predictor
from ovnerf.asking.run import Run
from ovnerf.asking.text import class_text
from ovnerf.config.views import RenderViews
from ovnerf.evaluation.figures import colour_labels, in_file_name
from ovnerf.field.rendering import ViewWeights, view_weights
from ovnerf.labels.void import VOID
from ovnerf.runtime import progress
from ovnerf.runtime.errors import UserError
from ovnerf.storage.frame_index import FrameIndex
from ovnerf.storage.stores import Store, open_store, read


@dataclass
class LabelMaps:
    """Label maps u16 (H, W) of a run's views, as they are scored.

    A frame in the run's `views.zarr` has its map from there. Others are computed by the settings
    that store was made with. Without the store they are computed by cosine, with the prompt bank
    and the blank prompt of the training, and keep their small patches: settings of `render_views`
    that say otherwise are then not known.
    """

    run: Run

    @cached_property
    def scored(self) -> Store | None:
        """The run's `views.zarr`; None where there is none, or one that does not say of what.

        Raises:
            UserError: it is of another field.
        """
        path = self.run.files.views
        store = open_store(path, "views") if path else None
        if store is None:
            return None
        if "semantics" not in store.attrs:
            progress.log(f"{path}: not used for labels, because an earlier version made it")
            return None
        if store.attrs["semantics"] != self.run.description.digest:
            raise UserError(
                f"{path}: made from another field than {self.run.description.source}",
                "delete it, or make it again: rerun render_views",
            )
        return store

    @cached_property
    def settings(self) -> RenderViews:
        """Settings of maps that are computed."""
        if self.scored is not None:
            return RenderViews(**self.scored.attrs["settings"])
        description = self.run.description
        return RenderViews(text_bank=description.text_bank, blank_prompt=description.blank_prompt)

    @cached_property
    def predict(self) -> Callable[[ViewWeights], Iterator[tuple[str, Tensor]]]:
        """From a view to its labels (`ovnerf.asking.rendered`)."""
        run, settings = self.run, self.settings
        if settings.blank_prompt or settings.prediction == "relevancy":
            features = run.files.features
            store = open_store(features, "features") if features else None
            banks = class_text(run.description, store)
        else:
            banks = run.points.text  # which knows the classes and nothing else
        rows = [getattr(banks, settings.text_bank)]
        if settings.blank_prompt:
            rows.append(banks.blank[None])
        text = torch.from_numpy(np.concatenate(rows)).to(run.field.radiance.box.device)
        return predictor(run.field, text, banks.arrays()["text_canonical"], settings)

    def of(self, frame: int) -> np.ndarray:
        """The map of a frame; void where a ray meets nothing."""
        if self.scored is not None and frame in FrameIndex(self.scored):
            return read(self.scored, "label", FrameIndex(self.scored).slot(frame))
        run, description = self.run, self.run.description
        device = run.field.radiance.box.device
        view = view_weights(run.field.radiance, description.camera(description.pose[frame], device))
        size = description.height, description.width
        return label_map(
            dict(self.predict(view))["label"], len(description.classes), size, self.settings
        )


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
