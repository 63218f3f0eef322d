"""One of the `cache_features.parts` frame ranges of a scene's CLIP pyramid, as a store of its own.

    python -m ovnerf cache_features_part --part 0 --frames frames.zarr --out 0.zarr --settings ...

So that one scene can be spread over several jobs or GPUs; `cache_features --parts` joins them.
"""

from __future__ import annotations

from pathlib import Path

from ovnerf.config.features import CacheFeatures
from ovnerf.encoders.windows import write_windows


def run(
    *, frames: Path, out: Path, settings: CacheFeatures, part: int, truth: Path | None = None
) -> dict:
    """Write the store of part `part`, counted from 0; frames and digest of the whole are in it."""
    return write_windows(frames, out, settings, truth, part)
