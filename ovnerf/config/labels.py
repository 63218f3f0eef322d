"""Settings of label maps and region semantic ranking."""

from __future__ import annotations

from typing import Literal

from ovnerf.config.base import Strict


class RankRegions(Strict):
    """Relevancy labels (paper Eq. 4) and region semantic ranking, RSR (docs/method.md#rsr)."""

    text_bank: Literal["ensemble", "bare"] = "ensemble"
    """85-template prompt ensemble, or bare class names."""
    order: Literal["generator", "descending_area"] = "generator"
    """Which mask wins an overlap: the last in generator order, or the smallest."""
    uncovered: Literal["ignore", "void_class"] = "ignore"
    """Pixels no voting region covers: ignored by the loss, or trained toward the blank prompt."""
    snap: bool = False
    """After ranking each small superpixel of a photo takes its majority (docs/method.md#snapping),
    in CSE as well: for regions whose edges are rough."""
    blank_prompt: bool = False
    """As shipped: a blank prompt competes as an extra class."""
