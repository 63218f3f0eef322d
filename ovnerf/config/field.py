"""Settings of the radiance field."""

from __future__ import annotations

from typing import Literal

from ovnerf.config.base import (
    Amount,
    Count,
    Fraction,
    Positive,
    PositiveNumber,
    Ranks,
    Seed,
    Strict,
)


class Reconstruct(Strict):
    """TensoRF-VM radiance field (docs/method.md#field). Schedules are fractions of `iterations`."""

    iterations: Positive = 30_000
    """Optimisation steps."""
    batch_rays: Positive = 4096
    """Rays per step."""
    voxels_start: Positive = 2_097_156
    """Voxels of the first grid."""
    voxels_end: Positive = 262_144_000
    """Voxels of the last grid."""
    upsample_at: tuple[Fraction, ...] = (2000 / 30000, 3000 / 30000, 4000 / 30000, 5500 / 30000)
    """When the grid grows, as fractions of `iterations`; sizes are spaced evenly in log."""
    occupancy_at: tuple[Fraction, ...] = (2500 / 30000,)
    """When the occupancy grid is made (the first time the box shrinks, too); never before
    iteration 400."""
    density_ranks: Ranks = (16, 4, 4)
    """Density components per axis pair."""
    appearance_ranks: Ranks = (48, 12, 12)
    """Appearance components per axis pair."""
    appearance_width: Positive = 27
    """Width of the appearance feature."""
    head_width: Positive = 128
    """Hidden width of the colour head."""
    view_pe: Count = 0
    """Frequencies by which the colour head's view direction is encoded; 0 is the published config,
    2 TensoRF's own (docs/method.md#heads)."""
    fea_pe: Count = 0
    """The same for the appearance feature."""
    colour_per: Literal["sample", "voxel", "ray"] = "sample"
    """What the colour head decodes: the feature of every sample, as TensoRF does; that at the mean
    place of a ray's samples within a voxel's edge (docs/method.md#colour-per-voxel); or once a ray
    the mean of its samples' (docs/method.md#colour-per-ray)."""
    density_start: Amount = 0.0
    """Density that all of the box starts with, beside the noise (docs/method.md#density-start). 0
    is TensoRF's: noise alone, which the ReLU keeps at nothing in half of the box."""
    step_ratio: PositiveNumber = 0.5
    """Step length in mean voxel edges."""
    distance_scale: PositiveNumber = 25.0
    """Step lengths are multiplied by this before alpha is computed."""
    weight_threshold: Fraction = 1e-4
    """Samples with a smaller rendering weight carry no appearance."""
    learning_rate_grid: Amount = 0.02
    """Adam, planes and lines."""
    learning_rate_head: Amount = 1e-4
    """Adam, appearance basis and colour head."""
    learning_rate_decay: PositiveNumber = 0.1
    """Learning rates fall to this factor over the run."""
    tv_density: Amount = 1.0
    """Weight of the total variation of density planes."""
    tv_appearance: Amount = 1.0
    """Weight of the total variation of appearance planes."""
    random_background: bool = True
    """Composite over white for half of the batches (docs/method.md#random-background)."""
    near_scene: Amount = 0.05
    """Rays begin this far from the camera, in scene units."""
    seed: Seed = 20211202
    """Seed of initial values and ray batches."""
    seeds: tuple[Seed, ...] = ()
    """Several fields a scene, so that tables carry their spread, too: the i-th of the run's `seeds`
    trains on the field of `seeds[i % len(seeds)]`. When empty all train on the one of `seed`."""
