"""Settings of the live viewer."""

from __future__ import annotations

from ovnerf.config.base import Positive, Strict


class Viewing(Strict):
    """The live viewer of trained fields (docs/asking.md#view)."""

    longest_side: Positive = 640
    """Pixels of the longer side of a finished picture; a larger window shows it enlarged."""
    max_points: Positive = 300_000
    """Of the cloud that is shown while the camera moves."""
    cache_mb: Positive = 512
    """Memory for rendered views, which are asked again without marching a ray; those that were
    looked at longest ago are forgotten."""
