"""Settings of region proposals."""

from __future__ import annotations

from typing import Literal

from ovnerf.config.base import Positive, Strict


class ProposeRegions(Strict):
    """SAM automatic masks (segment_anything's own generator; names and defaults are its own)."""

    architecture: Literal["toy", "vit_b", "vit_l", "vit_h", "truth"] = "vit_h"
    """SAM's size; `toy` is the one that ships with the repository. `truth`: no SAM but the
    connected parts of each true class, to measure what better regions could give."""
    weights: str = "weights/sam_vit_h_4b8939.pth"
    """Weight file, relative to the directory the workflow runs in; not read for `truth`."""
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
