"""Some of many frames."""

from __future__ import annotations

from collections.abc import Sequence


def spread_evenly(frames: Sequence[int], count: int) -> list[int]:
    """At most `count` of the frames, evenly spread over them, the first among them."""
    chosen = min(count, len(frames))
    return [frames[number * len(frames) // chosen] for number in range(chosen)]
