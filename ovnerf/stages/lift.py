"""Labels of held-out views without semantic training: the views' own scores, lifted into space.

Each labelled view gives every pixel the cosines of its CLIP features with the classes, and a vote
for its label after RSR. Both are averaged in the cells of a grid by rendering weight and rendered
into the held-out views: `label` is the class of the greatest mean cosine, `label_votes` that of
most votes. As a cosine with a mean feature differs from the mean cosine by one factor for all
classes, the labels are those of lifted features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ovnerf.compute.device import resolve_device
from ovnerf.config.lift import Lift
from ovnerf.encoders.pyramid import class_scores
from ovnerf.encoders.text import text_bank
from ovnerf.field.field import radiance_from_header
from ovnerf.field.lifting import Lifted
from ovnerf.field.rendering import view_weights
from ovnerf.labels.void import VOID
from ovnerf.storage.by_frame import write_by_frame
from ovnerf.storage.frame_index import FrameIndex
from ovnerf.storage.provenance import result_digest
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import Store, open_store, read
from ovnerf.storage.tensors import load_tensors, strip
from ovnerf.training.data import load_photos
from ovnerf.training.semantic_data import labelled_photos


def run(
    *,
    frames: Path,
    features: Path,
    labels: Path,
    radiance: Path,
    out: Path,
    settings: Lift,
    seed: int = 0,
) -> dict[str, object]:
    """Write a `views` store with `label` and `label_votes`."""
    device = resolve_device()
    scene, store = open_store(frames, "frames"), open_store(features, "features")
    ranked = open_store(labels, "labels")
    tensors, header = load_tensors(radiance / "field.safetensors")
    field = radiance_from_header(header, strip(tensors, "radiance.")).to(device)
    train, test = (frame_indices(scene, split) for split in ("train", "test"))
    lifted_photos = labelled_photos(len(train), settings.view_fraction, seed).tolist()
    classes = len(store.attrs["classes"])
    text = text_bank(store, settings.text_bank, False, device)
    photos, held_out = load_photos(scene, train).to(device), load_photos(scene, test).to(device)
    lifted = Lifted(field.box, settings.voxels, 2 * classes)
    for photo in tqdm(lifted_photos, "lift", disable=None, unit="view"):
        view = view_weights(field, photos.camera(photo))
        pixels = [cosines(store, train[photo], text), votes(ranked, train[photo], classes)]
        lifted.add(view, torch.cat(pixels, -1).to(device))

    def produce(todo: Sequence[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for slot in todo:
            found = lifted.render(view_weights(field, held_out.camera(slot)))
            yield (
                slot,
                {
                    name: label_map(scores, held_out.size)
                    for name, scores in zip(
                        ("label", "label_votes"), found.split(classes, -1), strict=True
                    )
                },
            )

    inputs = {
        "frames": scene.attrs["digest"],
        "features": store.attrs["digest"],
        "labels": ranked.attrs["digest"],
        "radiance": header["digest"],
    }
    digest = result_digest("lift", settings, inputs, exclude={"write"}, seed=seed)
    attributes = {"frames": test, "classes": list(store.attrs["classes"])}
    write_by_frame(out, "views", len(test), produce, attributes, digest)
    return {"views": len(lifted_photos), "voxels": int((lifted.weight > 0).sum())}


def cosines(features: Store, frame: int, text: Tensor) -> Tensor:
    """Mean over scales of the pixels' cosines with the classes, f32 (H W, C)."""
    slot = FrameIndex(features).slot(frame)
    embedding = torch.from_numpy(read(features, "embedding", slot))
    box, scale = torch.from_numpy(read(features, "box", slot)), read(features, "scale")
    size = features.attrs["shape"]
    scores = class_scores(embedding, box, torch.from_numpy(scale), text, *size)
    return scores.mean(0).flatten(1).T


def votes(labels: Store, frame: int, classes: int) -> Tensor:
    """A 1 for the class of each pixel after RSR, f32 (H W, C); nothing for void."""
    label = torch.from_numpy(read(labels, "rsr", FrameIndex(labels).slot(frame)).astype(np.int64))
    return (label.flatten()[:, None] == torch.arange(classes)).float()


def label_map(scores: Tensor, size: tuple[int, int]) -> np.ndarray:
    """The class of the greatest score, u16 (H, W); void where no score was lifted."""
    label = torch.where((scores != 0).any(-1), scores.argmax(-1), VOID)
    return label.view(size).cpu().numpy().astype(np.uint16)
