"""First labels of each view, and the same after region semantic ranking.

First labels are the argmax of CLIP relevancy. Where the features come from label maps made
elsewhere (encoder `precomputed`), they are those maps, pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ovnerf.config.labels import RankRegions
from ovnerf.encoders.pyramid import class_scores, relevancy_labels
from ovnerf.encoders.text import text_bank
from ovnerf.labels.rsr import rank_regions
from ovnerf.labels.void import VOID
from ovnerf.regions.runlength import Regions
from ovnerf.regions.superpixels import snapping_parts
from ovnerf.runtime.errors import UserError
from ovnerf.storage.by_frame import write_by_frame
from ovnerf.storage.frame_index import FrameIndex
from ovnerf.storage.provenance import result_digest
from ovnerf.storage.stores import Store, open_store, read

FirstLabels = Callable[[int], np.ndarray]
"""Slot in the `features` store -> the first labels of that frame, u16 (H, W)."""
STORED = {"clip": "first labels", "rsr": "labels after ranking"}
"""Arrays of the `labels` store, in the order they are made, with what a person calls them."""


def run(*, frames: Path, features: Path, regions: Path, out: Path, settings: RankRegions) -> dict:
    """Write a `labels` store for the frames that have both CLIP features and regions."""
    if settings.uncovered == "void_class" and not settings.blank_prompt:
        raise UserError(
            "rank_regions.uncovered: `void_class` needs a void class, found blank_prompt: false",
            "set `blank_prompt: true`, or `uncovered: ignore`",
        )
    scene = open_store(frames, "frames")
    height, width = scene["rgb"].shape[1:3]
    feature_store, proposals = open_store(features, "features"), open_store(regions, "regions")
    for path, group in ((features, feature_store), (regions, proposals)):
        check_size(path, group, height, width)
    store, feature_index = Regions(proposals), FrameIndex(feature_store)
    ranked_frames = sorted(frame for frame in store.index.frames if frame in feature_index)
    if not ranked_frames:
        raise UserError(f"{features} and {regions}: no frame is in both, expected at least one")
    classes = len(feature_store.attrs["classes"])
    if "label" in feature_store:
        first_labels = stored_labels(feature_store, settings)
    else:
        first_labels = relevancy_of(feature_store, settings)
    uncovered = classes if settings.uncovered == "void_class" else VOID

    def produce(todo: Sequence[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for slot in tqdm(todo, "rank_regions", disable=None, unit="view"):
            frame = ranked_frames[slot]
            first = first_labels(feature_index.slot(frame))
            parts = snapping_parts(read(scene, "rgb", frame)) if settings.snap else None
            masks = store.masks(frame)
            ranked = rank_regions(first, masks, classes, settings.order, uncovered, parts)
            yield slot, {"clip": first, "rsr": ranked}

    inputs = {
        "frames": scene.attrs["digest"],
        "features": feature_store.attrs["digest"],
        "regions": proposals.attrs["digest"],
    }
    write_by_frame(
        out,
        "labels",
        len(ranked_frames),
        produce,
        {
            "frames": ranked_frames,
            "classes": feature_store.attrs["classes"],
            "settings": settings.model_dump(mode="json"),
        },
        result_digest("rank_regions", settings, inputs),
    )
    stored = open_store(out, "labels")
    void = {name: void_percent(stored, name) for name in STORED}
    closing = {"frames": len(ranked_frames), "void_percent": round(void["rsr"], 2)}
    empty = [meaning for name, meaning in STORED.items() if void[name] == 100]
    return {**closing, "warning": f"{empty[0]} are void everywhere"} if empty else closing


def relevancy_of(features: Store, settings: RankRegions) -> FirstLabels:
    """First labels of a `features` store's frames: the class most like CLIP's features (Eq. 4)."""
    height, width = features.attrs["shape"]
    # On the CPU, wherever else the run computes: its cluster job asks for no card.
    text = text_bank(features, settings.text_bank, settings.blank_prompt, torch.device("cpu"))
    scale = torch.from_numpy(read(features, "scale"))

    def labels(slot: int) -> np.ndarray:
        embedding = torch.from_numpy(read(features, "embedding", slot))
        box = torch.from_numpy(read(features, "box", slot))
        return relevancy_labels(class_scores(embedding, box, scale, text, height, width))

    return labels


def stored_labels(features: Store, settings: RankRegions) -> FirstLabels:
    """The label maps that a `features` store's features were made from.

    With a blank prompt their void is the blank prompt's class, as it is in the features.
    """
    void = len(features.attrs["classes"]) if settings.blank_prompt else VOID

    def labels(slot: int) -> np.ndarray:
        stored = read(features, "label", slot)
        return np.where(stored == VOID, np.uint16(void), stored)

    return labels


def void_percent(labels: Store, name: str) -> float:
    """Percent of the pixels of a label map array that carry no class; one frame is in memory."""
    classes, slots = len(labels.attrs["classes"]), range(len(FrameIndex(labels)))
    shares = [np.mean(read(labels, name, slot) >= classes) for slot in slots]
    return 100 * float(np.mean(shares))


def check_size(path: Path, group: Store, height: int, width: int) -> None:
    """UserError when a store was made from frames of another size."""
    if list(group.attrs["shape"]) != [height, width]:
        found = "x".join(str(side) for side in reversed(group.attrs["shape"]))
        raise UserError(
            f"{path}: made from frames of {found} pixels, expected {width}x{height}",
            "it belongs to other frames; rebuild it",
        )
