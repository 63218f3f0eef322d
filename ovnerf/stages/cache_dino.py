"""DINO patch tokens of each training view, from whole images (docs/method.md#dino-tokens)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ovnerf.config.features import CacheDino
from ovnerf.encoders.dino import PATCH, DinoEncoder
from ovnerf.runtime.prefetch import prefetch
from ovnerf.storage.by_frame import write_by_frame
from ovnerf.storage.finite import binary16
from ovnerf.storage.provenance import file_digest, result_digest, unchanged
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import open_store, read
from ovnerf.storage.weight_loading import find_file

NOT_FINITE = "these weights cannot be used: check that they belong to `cache_dino.model`"


def run(*, frames: Path, out: Path, settings: CacheDino) -> dict:
    """Write the `dino` store of a `frames` store; returns its frames and the shape of a token grid.

    Raises:
        UserError: the weight file is missing, does not fit the model, gives numbers that are not
            finite, or changed while it was used.
    """
    scene = open_store(frames, "frames")
    train, names = frame_indices(scene, "train"), scene.attrs["names"]
    weights = find_file(settings.weights, "cache_dino.weights")
    weights_digest = file_digest(weights)
    encoder = DinoEncoder.load(settings.model, weights)
    inputs = {"frames": scene.attrs["digest"], "weights": weights_digest}

    def produce(todo: Sequence[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        photos = prefetch((slot, read(scene, "rgb", train[slot])) for slot in todo)
        for slot, photo in tqdm(photos, "cache_dino", len(todo), disable=None, unit="view"):
            image = torch.from_numpy(photo).permute(2, 0, 1)
            token = encoder.tokens(image[None].float() / 255)[0].cpu().numpy()
            name = f"tokens of frame {names[train[slot]]}"
            yield slot, {"token": binary16(token, str(weights), name, NOT_FINITE)}
        unchanged(weights, weights_digest)

    write_by_frame(
        out,
        "dino",
        len(train),
        produce,
        {
            "frames": train,
            "patch": PATCH,
            "shape": list(scene["rgb"].shape[1:3]),
            "settings": settings.model_dump(mode="json"),
            "weights": weights_digest,
        },
        result_digest("cache_dino", settings, inputs),
    )
    return {"frames": len(train), "token": list(open_store(out, "dino")["token"].shape[1:])}
