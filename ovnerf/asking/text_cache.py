"""Text vectors of words, kept on the disk: a text half takes seconds to load, a vector none.

A vector's file is named by all that it depends on: the sha256 of the encoder's files, the prompts,
the version of torch and the kind of device. Vectors lie in `$XDG_CACHE_HOME/ovnerf/text`, that is
`~/.cache/ovnerf/text`, and may be deleted at any time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from ovnerf.asking.description import Description
from ovnerf.compute.device import resolve_device
from ovnerf.runtime.errors import UserError
from ovnerf.storage.provenance import digest
from ovnerf.storage.tensors import load_tensors, save_tensors

VECTOR = "vector"


def vector_file(description: Description, prompts: Sequence[str]) -> Path | None:
    """Where the vector of some prompts is kept; None for a run that names no weights."""
    if "weights" not in description.encoder_files:
        return None
    parts = {
        "kind": description.encoder["kind"],
        "model": description.encoder.get("model"),
        "files": description.encoder_files,
        "prompts": list(prompts),
        "torch": torch.__version__,
        "device": resolve_device().type,
    }
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "ovnerf/text" / f"{digest(parts)}.safetensors"


def kept_vector(
    description: Description, prompts: Sequence[str], make: Callable[[], np.ndarray]
) -> np.ndarray:
    """The unit vector f32 (D,) of some prompts: the kept one, else what `make` gives.

    A file that cannot be read is made again; one that cannot be written is not kept.
    """
    file = vector_file(description, prompts)
    if file is None:
        return make()
    if file.is_file():
        with suppress(UserError):
            return load_tensors(file)[0][VECTOR].numpy()
    vector = make()
    with suppress(OSError):
        save_tensors(file, {VECTOR: torch.from_numpy(vector)}, {"prompts": len(prompts)})
    return vector
