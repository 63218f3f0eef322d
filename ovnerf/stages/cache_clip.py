"""CLIP pyramid of each view: window embeddings, their boxes, and the text banks.

The `simulated` encoder makes embeddings from ground truth and covers training views only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import zarr
from tqdm import tqdm

from ovnerf.config import CacheClip, OpenClip, Simulated
from ovnerf.encoders.pyramid import window_boxes, window_grids, window_scales
from ovnerf.encoders.simulated import check_truth, no_truth, simulated_embeddings, simulated_text
from ovnerf.encoders.text import TextBanks, text_banks
from ovnerf.encoders.weights import find_file
from ovnerf.errors import UserError
from ovnerf.provenance import file_digest, result_digest
from ovnerf.splits import frame_indices
from ovnerf.stores import open_store, read, write_by_frame

Embed = Callable[[int, np.ndarray], np.ndarray]
"""(frame index, boxes (W, 4)) -> raw embeddings f16 (W, D)."""


def run(*, frames: Path, out: Path, settings: CacheClip, truth: Path | None = None) -> dict:
    """Write a `clip` store; `truth` is read by the `simulated` encoder only."""
    encoder = settings.encoder
    if encoder is None:
        raise UserError("cache_clip.encoder: found none", "name a file of config/encoders")
    scene = open_store(frames, "frames")
    height, width = scene["rgb"].shape[1:3]
    inputs = {"frames": scene.attrs["digest"]}
    if isinstance(encoder, OpenClip):
        chosen = frame_indices(scene, settings.views)
        embed, banks = openclip_embed(scene, encoder, settings.batch)
        inputs |= encoder_files(encoder)
    elif truth is None:
        raise no_truth("cache_clip.truth")
    else:
        chosen = frame_indices(scene, "train")
        labels = open_store(truth, "truth")
        check_truth(read(labels, "label", chosen), len(scene.attrs["classes"]), str(truth))
        embed, banks = simulated_embed(scene, encoder, labels)
        inputs["truth"] = labels.attrs["digest"]
    grids = window_grids(height, width, settings.scales, settings.stride, settings.jitter)

    def produce(todo: Sequence[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for slot in tqdm(todo, "cache_clip", disable=None, unit="view"):
            box = window_boxes(height, width, grids, settings.seed, chosen[slot])
            yield slot, {"embedding": embed(chosen[slot], box), "box": box}

    write_by_frame(
        out,
        "clip",
        len(chosen),
        produce,
        {
            "frames": chosen,
            "encoder": encoder.model_dump(mode="json"),
            "classes": scene.attrs["classes"],
            "shape": [height, width],
            "scales": list(settings.scales),
            "stride": settings.stride,
            "jitter": settings.jitter,
        },
        result_digest("cache_clip", settings.model_dump(mode="json"), inputs),
        constant={"scale": window_scales(grids), **banks.arrays()},
    )
    windows = sum(grid.count for grid in grids)
    return {"frames": len(chosen), "windows": windows, "width": banks.blank.shape[0]}


def openclip_embed(scene: zarr.Group, settings: OpenClip, batch: int) -> tuple[Embed, TextBanks]:
    """Window embeddings and text banks of an open_clip model."""
    from ovnerf.encoders.openclip import OpenClipEncoder

    encoder = OpenClipEncoder(settings)

    def embed(frame: int, box: np.ndarray) -> np.ndarray:
        image = read(scene, "rgb", frame)
        return encoder.encode_crops(image, box, batch).numpy().astype(np.float16)

    return embed, text_banks(scene.attrs["classes"], encoder.encode_text)


def encoder_files(encoder: OpenClip) -> dict[str, str]:
    """Digests of the files that define an open_clip encoder."""
    digests = {"weights": file_digest(find_file(encoder.weights, "encoder.weights"))}
    if encoder.model.endswith(".json"):
        digests["model"] = file_digest(find_file(encoder.model, "encoder.model"))
    return digests


def simulated_embed(
    scene: zarr.Group, settings: Simulated, labels: zarr.Group
) -> tuple[Embed, TextBanks]:
    """Window embeddings and text banks made from ground truth."""
    banks = simulated_text(len(scene.attrs["classes"]), settings)

    def embed(frame: int, box: np.ndarray) -> np.ndarray:
        label = read(labels, "label", frame)
        return simulated_embeddings(label, box, frame, banks.bare, settings)

    return embed, banks
