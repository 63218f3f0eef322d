"""CLIP pyramid of each view: window embeddings, their boxes, and the text banks.

The `simulated` encoder makes embeddings from ground truth and covers training views only. Encoders
with a vector per pixel (`lseg`, `precomputed`) are kept as means of small touching windows. Label
maps of `precomputed` are kept at pixel size beside them, for `rank_regions`.

With `parts`, stores of `cache_features_part`, the store is put together from them and nothing is
encoded: its bytes are the same.
"""

from __future__ import annotations

from pathlib import Path

from ovnerf.config.features import CacheFeatures
from ovnerf.encoders.windows import BY_FRAME, write_windows
from ovnerf.storage.parts import gather_stores


def run(
    *,
    frames: Path,
    out: Path,
    settings: CacheFeatures,
    truth: Path | None = None,
    parts: list[Path] | None = None,
) -> dict:
    """Write a `features` store; `truth` is read by the `simulated` encoder only."""
    if parts:
        return {"frames": gather_stores(out, "features", parts, BY_FRAME), "parts": len(parts)}
    return write_windows(frames, out, settings, truth)
