"""Render how far the surface is along every ray of every view, for comparing views.

`fuse_labels` and `score_agreement` find by it which pixels of two views show the same surface
point. Distances come from the radiance field alone, so all encoders and variants share them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ovnerf.compute.device import resolve_device
from ovnerf.config.base import Strict
from ovnerf.field.covisibility import MIN_OPACITY
from ovnerf.field.field import radiance_from_header
from ovnerf.field.rendering import surface_distance, view_weights
from ovnerf.storage.by_frame import write_by_frame
from ovnerf.storage.provenance import result_digest
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import open_store
from ovnerf.storage.tensors import load_tensors, strip
from ovnerf.training.data import load_photos, similarity


def run(*, frames: Path, radiance: Path, out: Path) -> dict[str, object]:
    """Write a `depth` store: distance from the camera to the surface, 0 where there is none.

    Its unit is that of the poses in `frames`.
    """
    device = resolve_device()
    scene = open_store(frames, "frames")
    tensors, header = load_tensors(radiance / "field.safetensors")
    field = radiance_from_header(header, strip(tensors, "radiance.")).to(device)
    every = frame_indices(scene, "all")
    photos = load_photos(scene, every).to(device)
    metres = 1 / similarity(scene).scale

    def produce(todo: Sequence[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for frame in tqdm(todo, "render_depth", disable=None, unit="view"):
            camera = photos.camera(frame)
            view = view_weights(field, camera)
            distance = surface_distance(camera, view) * metres
            distance = torch.where(view.opacity() >= MIN_OPACITY, distance, 0)
            stored = distance.view(photos.size).cpu().numpy().astype(np.float32)
            yield frame, {"distance": stored}

    inputs = {"frames": scene.attrs["digest"], "radiance": header["digest"]}
    digest = result_digest("render_depth", Strict(), inputs)
    write_by_frame(out, "depth", len(every), produce, {"frames": every}, digest)
    return {"frames": len(every)}
