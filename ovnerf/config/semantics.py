"""Settings of the semantic branch, its losses and CSE."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ovnerf.config.base import Amount, Fraction, Positive, PositiveNumber, Ranks, Strict


class Cse(Strict):
    """Cross-view self-enhancement: pseudo-label update and novel views (docs/method.md#cse)."""

    enabled: bool = True
    """Off: the first labels stay to the end."""
    start: Fraction = 10_000 / 15_000
    """T as a fraction of the iterations."""
    every: Fraction = 1000 / 15_000
    """N as a fraction of the iterations."""
    rank_pseudo_labels: bool = True
    """Clean the rendered labels by RSR (off in Table VII `w CSE`)."""
    uncovered: Literal["as_ranked", "keep"] = "as_ranked"
    """Rendered pixels that no voting region covers: as in `rank_regions.uncovered`, or their
    rendered label stays."""
    surest: float = Field(default=1.0, gt=0, le=1)
    """Share of the rendered pixels that vote and carry pseudo labels: those of the greatest class
    probability, of all refreshed training views together (docs/method.md#gated-cse)."""
    text_bank: Literal["ensemble", "bare"] = "ensemble"
    """Bank that turns renders into pseudo labels."""
    novel_views: int = Field(default=60, ge=0)
    """Views added from poses without a photograph; 0 for none."""
    novel_path: Literal["interpolated", "panorama"] = "interpolated"
    """`interpolated`: between training poses. `panorama`: the as-shipped yaw circle."""
    novel_gaps: Literal["avoid", "any"] = "avoid"
    """`avoid`: interpolated views lie between frames that no held-out frame separates, as a view in
    its gap would nearly be the held-out one. `any`: between any neighbours."""
    panorama_centre: tuple[float, float, float] | None = None
    """Scene units; the mean training camera centre when empty."""
    min_opacity: Fraction = 0.5
    """A novel pixel is void below this accumulated opacity."""
    min_seen_by: int = Field(default=2, ge=0)
    """A novel pixel is void when fewer training views see its surface point."""
    min_valid: Fraction = 0.3
    """A novel view with a smaller share of valid pixels is skipped."""
    cache_mb: int = Field(default=1024, ge=0)
    """Memory for rendering weights of refreshed views; the rest is recomputed. Never changes a
    result."""


class Dino(Strict):
    """DINO / class-distribution correlation loss (docs/method.md#correlation-loss)."""

    mode: Literal["cached", "online"] = "cached"
    """`cached`: tokens of whole images (approximation). `online`: the paper's crops."""
    crops: int = Field(default=8, ge=0)
    """Crops per step; 0 leaves the loss out."""
    crop_side: PositiveNumber = 0.53
    """Crop side over the short image side, rounded to a multiple of 8 (256 of 480)."""
    shift: float = 0.7
    """Similarity below this counts as different."""
    temperature: PositiveNumber = 0.2
    """Temperature of the class distribution."""
    positive_weight: Amount = 200.0
    """Weight of pixel pairs that DINO calls alike."""
    negative_weight: Amount = 0.2
    """Weight of pairs that it calls different."""
    divergence: Literal["kl", "js"] = "kl"
    """KL is what the published code evaluates; the paper says Jensen-Shannon."""


class TrainSemantics(Strict):
    """Semantic branch on the frozen density (docs/method.md#semantic-branch)."""

    iterations: Positive = 15_000
    """Optimisation steps."""
    head_start: Literal["random", "fitted"] = "random"
    """First weights of the semantic head: drawn at random, or the least-squares fit to features and
    labels (docs/method.md#fitted-start); with it stage A can be left out (`joint_start: 0`)."""
    joint_start: Fraction = 5000 / 15_000
    """From here appearance, its basis and the colour head train as well, with the colour loss
    (stage B). 0 is the paper's wording: colour loss throughout."""
    labels: Literal["clip", "rsr", "fused"] = "rsr"
    """First labels: argmax CLIP (paper Eq. 4; label maps of a `precomputed` encoder as they are),
    the same after RSR (Eq. 6), or voted on by all training views (docs/method.md#fused-labels)."""
    view_fraction: Fraction = 0.8
    """Share of the training views that carries labels and features (`clip_input`)."""
    batch_rays: Positive = 4096
    """Rays per step."""
    head_width: Positive = 128
    """Width of the two inner layers of the semantic head."""
    scale_selection_ranks: Ranks = (16, 4, 4)
    """Components per axis pair of the scale-selection volume."""
    ray_length: Literal["full", "as_shipped"] = "full"
    """`as_shipped` cuts training rays at the initial grid's count (docs/method.md#short-rays)."""
    logits: Literal["dot", "cosine"] = "dot"
    """Cross-entropy logits: dot product at temperature 1, or cosine / `logit_temperature`."""
    logit_temperature: PositiveNumber = 0.05
    """Divides cosine logits."""
    text_bank: Literal["ensemble", "bare"] = "ensemble"
    """Bank of the training losses (as shipped: bare)."""
    class_balance: Fraction = 0.0
    """How much more rare classes weigh in the cross-entropy (docs/method.md#class-balance): 0 not
    at all, 1 so that all classes of the labels weigh the same."""
    feature_weight: Amount = 1.0
    """Weight of the loss to the CLIP features."""
    feature_target: Literal["selected", "cells", "random_scale"] = "selected"
    """What that loss compares with (docs/method.md#systems). `selected`: the mixture of scales that
    s(r) selects, by cosine. `cells`: features interpolated between the four cells around a pixel,
    by squared distance (DFF; for encoders with one feature per pixel). `random_scale`: features
    between two scales of the pyramid, drawn for each ray, by Huber loss (LERF)."""
    scale_knots: tuple[float, ...] = ()
    """Scales, in scene units and ascending order, between which the semantic head is interpolated;
    empty for a head without scale. Needed by `random_scale`, and by nothing else."""
    dino_feature_weight: Amount = 0.0
    """Weight of the squared distance to cached DINO tokens (LERF); needs `feature_volume: own`."""
    feature_volume: Literal["appearance", "own"] = "appearance"
    """The semantic head reads the appearance features, or those of a volume of its own. With its
    own, colour trains no further (`joint_start: 1`) and CSE is off."""
    own_ranks: Ranks = (48, 12, 12)
    """Components per axis pair of the volume of its own."""
    rda_weight: Amount = 0.0
    """Weight of 3DOVS's relevancy-distribution alignment (docs/method.md#systems)."""
    label_weight: Amount = 1.0
    """Weight of the cross-entropy to the labels."""
    colour_weight: Amount = 1.0
    """Weight of the colour loss."""
    novel_weight: Amount = 1.0
    """Weight of the cross-entropy on novel views."""
    learning_rate_grid: Amount = 0.02
    """Adam, scale-selection volume, and that of the head's own features."""
    learning_rate_head: Amount = 1e-4
    """Adam, semantic head, and the basis of its own volume."""
    learning_rate_joint_grid: Amount = 5e-3
    """Adam, appearance planes and lines from `joint_start`."""
    learning_rate_joint_head: Amount = 5e-5
    """Adam, appearance basis and colour head from `joint_start`."""
    learning_rate_decay: PositiveNumber = 0.1
    """Learning rates fall to this factor over the run."""
    dino: Dino = Dino()
    cse: Cse = Cse()

    @model_validator(mode="after")
    def something_teaches_the_head(self) -> TrainSemantics:
        weights = (
            *(self.label_weight, self.feature_weight, self.rda_weight, self.dino_feature_weight),
            self.dino.crops * (self.dino.positive_weight + self.dino.negative_weight),
        )
        if not any(weights):
            raise ValueError(
                "found no loss for the semantic head, expected one of `label_weight`, "
                "`feature_weight`, `rda_weight`, `dino_feature_weight` or `dino.crops` above 0"
            )
        return self

    @model_validator(mode="after")
    def own_volume_trains_alone(self) -> TrainSemantics:
        if self.feature_volume == "own" and self.head_start == "fitted":
            raise ValueError(
                "`feature_volume: own` needs `head_start: random`: its features are not trained yet"
            )
        if self.feature_volume == "own" and (self.joint_start < 1 or self.cse.enabled):
            raise ValueError(
                "`feature_volume: own` needs `joint_start: 1` and `cse: {enabled: false}`, found "
                f"{self.joint_start:g} and {str(self.cse.enabled).lower()}"
            )
        return self

    @model_validator(mode="after")
    def random_scales_have_knots(self) -> TrainSemantics:
        knots = self.scale_knots
        if (self.feature_target == "random_scale") != bool(knots):
            raise ValueError("`feature_target: random_scale` and `scale_knots` go together")
        if knots and (len(knots) < 2 or list(knots) != sorted(set(knots))):
            raise ValueError(f"scale_knots: expected two or more, ascending, found {list(knots)}")
        if knots and self.head_start == "fitted":
            raise ValueError("`scale_knots` needs `head_start: random`")
        if knots and (self.label_weight or self.rda_weight or self.dino.crops):
            raise ValueError(
                "`scale_knots`: the other losses know of no scale; set `label_weight: 0`, "
                "`rda_weight: 0` and `dino: {crops: 0}`"
            )
        if self.dino_feature_weight and (
            self.feature_volume != "own" or self.dino.mode != "cached"
        ):
            raise ValueError(
                "`dino_feature_weight` needs `feature_volume: own` and `dino: {mode: cached}`"
            )
        return self
