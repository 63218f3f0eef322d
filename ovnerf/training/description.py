"""What a trained field's file says of the run that made it, so that the file alone can be asked.

`ovnerf.asking.description` reads it. It is JSON in the file's header (docs/asking.md#one-file).
"""

from __future__ import annotations

from typing import Any

from ovnerf.labels.vocabulary import Bank
from ovnerf.storage.stores import Store, read

VERSION = 1
"""Of the description. A reader refuses others."""


def describe_run(
    frames: Store, features: Store, text_bank: Bank, blank_prompt: bool
) -> dict[str, Any]:
    """Classes, encoder, cameras and coordinates of a run, JSON-able.

    Poses are camera to world, in the unit of the input; floats survive JSON exactly.

    Args:
        text_bank, blank_prompt: those of the training's losses.
    """
    height, width = frames["rgb"].shape[1:3]
    return {
        "version": VERSION,
        "classes": list(features.attrs["classes"]),
        "encoder": dict(features.attrs["encoder"]),
        "encoder_files": dict(features.attrs.get("encoder_files", {})),
        "text_bank": text_bank,
        "blank_prompt": blank_prompt,
        "similarity": dict(frames.attrs["similarity"]),
        "units": frames.attrs.get("units", "file"),
        "space": frames.attrs.get("space", "metric"),
        "height": int(height),
        "width": int(width),
        "intrinsics": read(frames, "intrinsics").tolist(),
        "names": list(frames.attrs["names"]),
        "split": read(frames, "split").tolist(),
        "pose": read(frames, "pose").tolist(),
        # Where photos were undistorted, labels of the photos have to be, too.
        **({"lens": frames.attrs["lens"]} if "lens" in frames.attrs else {}),
    }
