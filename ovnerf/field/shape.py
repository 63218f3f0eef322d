"""Sizes and constants of a radiance field."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FieldShape:
    """Sizes and constants of a field: with its tensors, all that is needed to build it."""

    resolution: tuple[int, int, int]
    density_ranks: tuple[int, int, int]
    appearance_ranks: tuple[int, int, int]
    appearance_width: int
    head_width: int
    step_ratio: float
    distance_scale: float
    weight_threshold: float
    near: float
    far: float = 2.5
    view_pe: int = 0
    fea_pe: int = 0
    colour_per: str = "sample"
    """"sample", "voxel" or "ray": what the colour head decodes (docs/method.md#heads)."""
