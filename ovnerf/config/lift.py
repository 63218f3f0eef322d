"""Settings of the training-free rival of the semantic branch."""

from __future__ import annotations

from typing import Literal

from ovnerf.config.base import Fraction, Positive, Strict


class Lift(Strict):
    """Scores of the views, averaged per voxel by rendering weight (docs/method.md#lift)."""

    write: bool = False
    """Whether `all` runs it, for every scene, encoder and seed, as variant `lift` of the tables."""
    voxels: Positive = 1_000_000
    """Cells of the grid over the field's box in which scores are averaged."""
    text_bank: Literal["ensemble", "bare"] = "ensemble"
    """Text vectors that the views' features are compared with."""
    view_fraction: Fraction = 0.8
    """As in `train_semantics`: the same views for the same share and seed. Not taken from there."""
