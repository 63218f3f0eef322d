"""CLIP pyramid of each view: window embeddings, their boxes, and the text banks.

The `simulated` encoder makes embeddings from ground truth and covers training views only. Encoders
with a vector per pixel (`lseg`, `precomputed`) are kept as means of small touching windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import zarr
from tqdm import tqdm

from ovnerf.config import CacheClip, LSeg, OpenClip, Precomputed, Simulated
from ovnerf.encoders.dense import Cells, cell_means, cells_of
from ovnerf.encoders.pyramid import window_boxes, window_grids, window_scales
from ovnerf.encoders.simulated import check_truth, no_truth, simulated_embeddings, simulated_text
from ovnerf.encoders.text import TextBanks, text_banks
from ovnerf.encoders.weights import find_file
from ovnerf.errors import UserError
from ovnerf.provenance import file_digest, result_digest, unchanged
from ovnerf.splits import frame_indices
from ovnerf.stores import open_store, read, write_by_frame

Embed = Callable[[int, np.ndarray], np.ndarray]
"""(frame index, boxes (W, 4)) -> raw embeddings f16 (W, D)."""


@dataclass(frozen=True)
class Source:
    """Where embeddings come from.

    Attributes:
        embed: makes them.
        banks: text vectors.
        frames: indices of the frames that are embedded.
        cells: the windows of a dense encoder; None for those of the settings.
        inputs: digests of what they are made from, besides the frames.
        files: the files among them, by their names in `inputs`.
    """

    embed: Embed
    banks: TextBanks
    frames: list[int]
    cells: Cells | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)


def run(*, frames: Path, out: Path, settings: CacheClip, truth: Path | None = None) -> dict:
    """Write a `clip` store; `truth` is read by the `simulated` encoder only."""
    encoder = settings.encoder
    if encoder is None:
        raise UserError("cache_clip.encoder: found none", "name a file of config/encoders")
    scene = open_store(frames, "frames")
    height, width = scene["rgb"].shape[1:3]
    source = open_source(scene, settings, truth)
    windows = source.cells or settings
    grids = window_grids(height, width, windows.scales, windows.stride, windows.jitter)

    def produce(todo: Sequence[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for slot in tqdm(todo, "cache_clip", disable=None, unit="view"):
            box = window_boxes(height, width, grids, settings.seed, source.frames[slot])
            yield slot, {"embedding": source.embed(source.frames[slot], box), "box": box}
        for name, path in source.files.items():
            unchanged(path, source.inputs[name])

    write_by_frame(
        out,
        "clip",
        len(source.frames),
        produce,
        {
            "frames": source.frames,
            "encoder": encoder.model_dump(mode="json"),
            "classes": scene.attrs["classes"],
            "shape": [height, width],
            "scales": list(windows.scales),
            "stride": windows.stride,
            "jitter": windows.jitter,
        },
        result_digest(
            "cache_clip",
            settings.model_dump(mode="json"),
            {"frames": scene.attrs["digest"], **source.inputs},
        ),
        constant={"scale": window_scales(grids), **source.banks.arrays()},
    )
    return {
        "frames": len(source.frames),
        "windows": sum(grid.count for grid in grids),
        "width": source.banks.blank.shape[0],
    }


def open_source(scene: zarr.Group, settings: CacheClip, truth: Path | None) -> Source:
    """The settings' encoder; UserError when a file of it is missing or does not fit."""
    encoder = settings.encoder
    chosen = frame_indices(scene, settings.views)
    if isinstance(encoder, OpenClip):
        files = encoder_files(encoder)
        inputs = digests_of(files)
        embed, banks = openclip_embed(scene, encoder, settings.batch)
        return Source(embed, banks, chosen, None, inputs, files)
    if isinstance(encoder, LSeg):
        return lseg_source(scene, encoder, chosen)
    if isinstance(encoder, Precomputed):
        return precomputed_source(scene, encoder, chosen)
    if truth is None:
        raise no_truth("cache_clip.truth")
    assert isinstance(encoder, Simulated)
    chosen = frame_indices(scene, "train")
    labels = open_store(truth, "truth")
    check_truth(read(labels, "label", chosen), len(scene.attrs["classes"]), str(truth))
    embed, banks = simulated_embed(scene, encoder, labels)
    return Source(embed, banks, chosen, inputs={"truth": labels.attrs["digest"]})


def openclip_embed(scene: zarr.Group, settings: OpenClip, batch: int) -> tuple[Embed, TextBanks]:
    """Window embeddings and text banks of an open_clip model."""
    from ovnerf.encoders.openclip import OpenClipEncoder

    encoder = OpenClipEncoder(settings)

    def embed(frame: int, box: np.ndarray) -> np.ndarray:
        image = read(scene, "rgb", frame)
        return encoder.encode_crops(image, box, batch).numpy().astype(np.float16)

    return embed, text_banks(scene.attrs["classes"], encoder.encode_text)


def encoder_files(encoder: OpenClip) -> dict[str, Path]:
    """The files that define an open_clip encoder."""
    files = {"weights": find_file(encoder.weights, "encoder.weights")}
    if encoder.model.endswith(".json"):
        files["model"] = find_file(encoder.model, "encoder.model")
    return files


def digests_of(files: dict[str, Path]) -> dict[str, str]:
    """sha256 of each file; taken before it is used, so that a change during the run shows."""
    return {name: file_digest(path) for name, path in files.items()}


def simulated_embed(
    scene: zarr.Group, settings: Simulated, labels: zarr.Group
) -> tuple[Embed, TextBanks]:
    """Window embeddings and text banks made from ground truth."""
    banks = simulated_text(len(scene.attrs["classes"]), settings)

    def embed(frame: int, box: np.ndarray) -> np.ndarray:
        label = read(labels, "label", frame)
        return simulated_embeddings(label, box, frame, banks.bare, settings)

    return embed, banks


def lseg_source(scene: zarr.Group, settings: LSeg, chosen: list[int]) -> Source:
    """Cell features and text banks of LSeg."""
    from ovnerf.encoders.lseg import LSegEncoder

    height, width = scene["rgb"].shape[1:3]
    cells = cells_of(height, width, settings.cell)
    files = {"weights": find_file(settings.weights, "encoder.weights")}
    inputs = digests_of(files)
    encoder = LSegEncoder.load(settings)
    (grid,) = cells.grids(height, width)

    def embed(frame: int, box: np.ndarray) -> np.ndarray:
        features = encoder.features(read(scene, "rgb", frame))
        return cell_means(features, height, width, grid).cpu().numpy().astype(np.float16)

    banks = text_banks(scene.attrs["classes"], encoder.encode_text)
    return Source(embed, banks, chosen, cells, inputs, files)


def precomputed_source(scene: zarr.Group, settings: Precomputed, chosen: list[int]) -> Source:
    """Cell features and text vectors of maps made elsewhere."""
    from ovnerf.encoders.precomputed import map_files, read_manifest

    height, width = scene["rgb"].shape[1:3]
    cells = cells_of(height, width, settings.cell)
    (grid,) = cells.grids(height, width)
    names = list(scene.attrs["names"])
    wanted = [names[frame] for frame in chosen]
    maps = read_manifest(Path(settings.folder), list(scene.attrs["classes"]), wanted)

    def embed(frame: int, box: np.ndarray) -> np.ndarray:
        features = maps.features(names[frame], height, width)
        return cell_means(features, height, width, grid).numpy().astype(np.float16)

    files = map_files(maps)
    return Source(embed, maps.banks(), chosen, cells, digests_of(files), files)
