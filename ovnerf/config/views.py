"""Settings of rendering and scoring held-out views."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ovnerf.config.base import Fraction, Positive, Strict


class RenderViews(Strict):
    """Rendering of held-out views at full size."""

    text_bank: Literal["ensemble", "bare"] = "ensemble"
    """Text vectors that pixels are compared with."""
    blank_prompt: bool = False
    """As shipped: a blank prompt competes; a pixel it wins is predicted void."""
    prediction: Literal["cosine", "relevancy"] = "cosine"
    """A pixel's class by cosine, or by relevancy at each class's best scale in the view (LERF; for
    heads with `scale_knots`), when labels by the mean cosine over scales are kept beside."""
    max_scale: float = Field(default=1.5, gt=0)
    """Largest scale that is tried, in scene units."""
    query_scales: Positive = 30
    """Scales that are tried, evenly from 0."""
    least_patch: Fraction = 0.0
    """Patches of one label that are a smaller share of the view take the labels around them
    (docs/method.md#small-patches). 0 is the paper's: all stay."""


class Evaluate(Strict):
    """Scores of rendered views; both protocols are always written."""
