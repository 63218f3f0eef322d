"""Labels of each view: argmax of CLIP relevancy, and the same after region semantic ranking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import zarr
from tqdm import tqdm

from ovnerf.config import RankRegions
from ovnerf.device import resolve_device
from ovnerf.encoders.pyramid import class_scores, relevancy_labels
from ovnerf.encoders.text import text_bank
from ovnerf.errors import UserError
from ovnerf.provenance import result_digest
from ovnerf.regions.runlength import Regions
from ovnerf.relabel import rank_regions
from ovnerf.stores import VOID, open_store, read, write_by_frame


def run(*, frames: Path, clip: Path, regions: Path, out: Path, settings: RankRegions) -> dict:
    """Write a `labels` store for the frames that have both CLIP features and regions."""
    if settings.uncovered == "void_class" and not settings.blank_prompt:
        raise UserError(
            "rank_regions.uncovered: `void_class` needs a void class, found blank_prompt: false",
            "set `blank_prompt: true`, or `uncovered: ignore`",
        )
    scene = open_store(frames, "frames")
    height, width = scene["rgb"].shape[1:3]
    features, proposals = open_store(clip, "clip"), open_store(regions, "regions")
    for path, group in ((clip, features), (regions, proposals)):
        check_size(path, group, height, width)
    store = Regions(proposals)
    clip_frames = [int(frame) for frame in features.attrs["frames"]]
    chosen = sorted(set(clip_frames) & set(store.frames))
    if not chosen:
        raise UserError(f"{clip} and {regions}: no frame is in both, expected at least one")
    classes = len(features.attrs["classes"])
    text = text_bank(features, settings.text_bank, settings.blank_prompt, resolve_device())
    uncovered = classes if settings.uncovered == "void_class" else VOID
    scale = torch.from_numpy(read(features, "scale"))

    def produce(todo: Sequence[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for slot in tqdm(todo, "rank_regions", disable=None, unit="view"):
            position = clip_frames.index(chosen[slot])
            embedding = torch.from_numpy(read(features, "embedding", position))
            box = torch.from_numpy(read(features, "box", position))
            relevancy = relevancy_labels(class_scores(embedding, box, scale, text, height, width))
            masks = store.masks(chosen[slot])
            ranked = rank_regions(relevancy, masks, classes, settings.order, uncovered)
            yield slot, {"relevancy": relevancy, "ranked": ranked}

    write_by_frame(
        out,
        "labels",
        len(chosen),
        produce,
        {
            "frames": chosen,
            "classes": features.attrs["classes"],
            "settings": settings.model_dump(mode="json"),
        },
        result_digest(
            "rank_regions",
            settings.model_dump(mode="json"),
            {
                "frames": scene.attrs["digest"],
                "clip": features.attrs["digest"],
                "regions": proposals.attrs["digest"],
            },
        ),
    )
    ranked = read(open_store(out, "labels"), "ranked")
    return {"frames": len(chosen), "void_percent": round(100 * float((ranked == VOID).mean()), 2)}


def check_size(path: Path, group: zarr.Group, height: int, width: int) -> None:
    """UserError when a store was made from frames of another size."""
    if list(group.attrs["shape"]) != [height, width]:
        found = "x".join(str(side) for side in reversed(group.attrs["shape"]))
        raise UserError(
            f"{path}: made from frames of {found} pixels, expected {width}x{height}",
            "it belongs to other frames; rebuild it",
        )
