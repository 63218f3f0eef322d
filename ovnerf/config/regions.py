"""Settings of region proposals."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ovnerf.config.base import Positive, PositiveNumber, Strict


class Superpixels(Strict):
    """Graph-based superpixels (Felzenszwalb and Huttenlocher 2004; docs/method.md#regions)."""

    scales: tuple[PositiveNumber, ...] = Field(default=(1600.0, 400.0, 100.0), min_length=1)
    """How readily neighbours join, one set of regions each; larger gives larger regions. The last
    scale wins where the last region does (`rank_regions.order: generator`)."""
    sigma: float = Field(default=0.5, ge=0)
    """Pixels by which the photo is blurred first."""
    min_share: float = Field(default=0.0025, gt=0, le=1)
    """Smallest superpixel as a share of the image's pixels; smaller ones join a neighbour."""


class ProposeRegions(Strict):
    """Regions of each view: SAM's automatic masks (segment_anything's own generator; names and
    defaults are its own), or what `architecture` puts in their place."""

    architecture: Literal["superpixels", "toy", "vit_b", "vit_l", "vit_h", "truth"] = "vit_h"
    """SAM's size; `toy` is the one that ships with the repository and knows toy rooms only.
    `superpixels`: no network but parts of one colour, for any photo where no SAM weights are at
    hand. `truth`: the connected parts of each true class, to measure what better regions could
    give."""
    weights: str = "weights/sam_vit_h_4b8939.pth"
    """SAM's weight file, relative to the directory the workflow runs in; read for SAM only."""
    superpixels: Superpixels = Superpixels()
    views: Literal["train", "all"] = "train"
    """`all` also proposes regions on test views (used for scoring label maps only)."""
    points_per_side: Positive = 32
    """Prompts along each image side; time grows with the square."""
    points_per_batch: Positive = 64
    """Prompts decoded at once; memory, not results."""
    pred_iou_thresh: float = 0.88
    """Masks with a lower predicted IoU are dropped."""
    stability_score_thresh: float = 0.95
    """Masks that change more when the logit cut moves are dropped."""
    stability_score_offset: float = 1.0
    """How far the logit cut moves for that test."""
    box_nms_thresh: float = 0.7
    """Of two masks whose boxes overlap more than this IoU the worse is dropped."""
    min_mask_region_area: int = 0
    """Holes and islands smaller than this (pixels) are removed; 0 removes none."""

    @property
    def reads_weights(self) -> bool:
        """Whether the regions are SAM's, which needs a weight file."""
        return self.architecture not in ("superpixels", "truth")
