"""Sizes of encoders and of their weight files, before any of them is there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ovnerf.config.features import (
    CacheFeatures,
    DenseClip,
    OpenClip,
    Precomputed,
    Simulated,
    cell_of,
)
from ovnerf.inspection.plan import MANIFEST, shipped
from ovnerf.runtime.memory import file_size

WIDTHS = {"ViT-B": 512, "ViT-L": 768, "ViT-H": 1024, "ViT-g": 1024}
"""Embedding width D by the beginning of an open_clip model's name."""
WIDTH = 1280
"""D of other models (ViT-bigG)."""
OF_CLIP_B = 512
"""D of LSeg, and of maps made elsewhere as far as a plan knows."""
NPY_HEADER = 256
"""Bytes at the beginning of an `.npy` file that state its shape."""
TOKEN_WIDTHS = {"vit_small": 384, "vit_large": 1024}
"""Width of a DINO token by the beginning of a timm model's name."""
TOKEN_WIDTH = 768
"""That of others (ViT-B)."""
WEIGHT_BYTES = {
    "vit_h": 2_564_550_879,
    "vit_l": 1_249_524_607,
    "vit_b": 375_042_383,
    "lseg": 2_500_000_000,
    "vit_base_patch8_224.dino": 343_000_000,
    "vit_small_patch8_224.dino": 87_000_000,
}
"""Weight files that are not there yet, by architecture or model. SAM's are their publisher's."""
WEIGHTS = 600_000_000
"""Other networks: CLIP's ViT-B/16 with its text encoder."""


def windows_of(section: CacheFeatures, width: int, height: int) -> int:
    """Windows of the pyramid on one frame (docs/method.md#clip-pyramid); cells of dense ones."""
    cell = cell_of(section.encoder)
    if cell is not None:
        return -(-width // cell) * -(-height // cell)
    count = 0
    for scale in section.scales:
        side = min(width, height) // scale
        step = max(1, int(side * section.stride))
        count += (-(-(width - side) // step) + 1) * (-(-(height - side) // step) + 1)
    return count


def embedding_width(encoder: Any, classes: int) -> int:
    """Numbers of one embedding."""
    if isinstance(encoder, Precomputed):
        return width_of_maps(Path(encoder.folder), classes)
    if isinstance(encoder, Simulated):
        return encoder.width
    if not isinstance(encoder, (OpenClip, DenseClip)):
        return OF_CLIP_B
    if encoder.model.endswith(".json"):
        return model_width(shipped(encoder.model))
    return next((width for name, width in WIDTHS.items() if encoder.model.startswith(name)), WIDTH)


def width_of_maps(folder: Path, classes: int) -> int:
    """Numbers of a vector of maps made elsewhere: of label maps one per class, and one for void."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["kind"] == "labels":
            return classes + 1
        with (folder / manifest["text"]).open("rb") as file:
            header = file.read(NPY_HEADER).decode("latin-1")
        return int(re.search(r"'shape': \(\d+, (\d+)", header)[1])  # type: ignore[index]
    except (OSError, ValueError, KeyError, TypeError):
        return OF_CLIP_B  # not there yet, or the stage says what is wrong


def model_width(path: str) -> int:
    """`embed_dim` of an open_clip model config."""
    try:
        return int(json.loads(Path(path).read_text(encoding="utf-8"))["embed_dim"])
    except (OSError, ValueError, KeyError, TypeError):
        return WIDTH  # the stage says what is wrong with the file


def token_width(model: str) -> int:
    """Numbers of one DINO token."""
    known = (width for name, width in TOKEN_WIDTHS.items() if model.startswith(name))
    return next(known, TOKEN_WIDTH)


def weight_bytes(name: str, architecture: str) -> int:
    """Bytes of a weight file, as a plan knows them."""
    if not name:
        return 0
    return file_size(name) or WEIGHT_BYTES.get(architecture, WEIGHTS)
