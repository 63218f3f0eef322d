"""A tiny synthetic scene for the feature stages: 12 frames of 64x48, three classes and void."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from ovnerf.encoders.pyramid import PyramidFeatures, class_scores
from ovnerf.labels.void import VOID
from ovnerf.regions.runlength import encode_all
from ovnerf.storage.stores import write_store

FRAMES, HEIGHT, WIDTH = 12, 48, 64
CLASSES = ["wall", "table", "lamp"]
NAMES = [f"{index:03d}" for index in range(FRAMES)]


def tiny_labels() -> np.ndarray:
    """u16 (12, 48, 64): wall, a table whose left edge moves, a lamp, a void strip on the right."""
    label = np.zeros((FRAMES, HEIGHT, WIDTH), dtype=np.uint16)
    for frame in range(FRAMES):
        label[frame, 28:, 8 + frame : 40 + frame] = 1
        label[frame, 4:20, 40:52] = 2
        label[frame, :, 60:] = VOID
    return label


def write_tiny_scene(folder: Path) -> tuple[Path, Path]:
    """Write `frames.zarr` and `truth.zarr` under `folder`; frames 0 and 10 are held out."""
    label = tiny_labels()
    colours = np.array([[200, 190, 180], [120, 70, 30], [250, 240, 90], [0, 0, 0]], dtype=np.uint8)
    shade = np.random.default_rng(0).integers(-8, 8, (FRAMES, HEIGHT, WIDTH, 1))
    rgb = np.clip(colours[np.minimum(label, 3)] + shade, 0, 255).astype(np.uint8)
    frames, truth = folder / "frames.zarr", folder / "truth.zarr"
    write_store(
        frames,
        "frames",
        {
            "rgb": rgb,
            "pose": np.tile(np.eye(4), (FRAMES, 1, 1)),
            "intrinsics": np.array([[32.0, 0, 32], [0, 32.0, 24], [0, 0, 1]]),
            "split": (np.arange(FRAMES) % 10 == 0).astype(np.uint8),
        },
        {
            "names": NAMES,
            "classes": CLASSES,
            "similarity": {"scale": 1.0, "centre": [0.0, 0.0, 0.0]},
            "box": [[-1.5, -1.5, -1.5], [1.5, 1.5, 1.5]],
            "dropped": [],
        },
        "tiny",
    )
    write_store(truth, "truth", {"label": label}, {"names": NAMES}, "tiny-truth")
    return frames, truth


def scores_of(features: PyramidFeatures, slot: int, text: Tensor) -> Tensor:
    """`class_scores` of a loaded frame."""
    embedding, box = features.embedding[slot], features.box[slot]
    return class_scores(embedding, box, features.scale, text, features.height, features.width)


def write_regions(path: Path, masks: dict[int, np.ndarray]) -> None:
    """A `regions` store of masks bool (m, H, W) by frame."""
    parts = [encode_all(regions) for regions in masks.values()]
    arrays = {}
    for name in ("runs", "run_bytes"):
        arrays[name] = np.concatenate([part[name] for part in parts])
        arrays[f"{name}_offset"] = np.cumsum([0] + [len(part[name]) for part in parts])
    write_store(path, "regions", arrays, {"frames": list(masks), "shape": [HEIGHT, WIDTH]}, "true")
