"""Settings of rendering and scoring held-out views."""

from __future__ import annotations

from typing import Literal

from ovnerf.config.base import Strict


class RenderViews(Strict):
    """Rendering of held-out views at full size."""

    text_bank: Literal["ensemble", "bare"] = "ensemble"
    """Text vectors that pixels are compared with."""
    blank_prompt: bool = False
    """As shipped: a blank prompt competes; a pixel it wins is predicted void."""


class Evaluate(Strict):
    """Scores of rendered views; both protocols are always written."""
