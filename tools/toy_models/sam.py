"""The toy SAM: segment_anything's own modules at toy size, for its unmodified mask generator."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ovnerf.regions.sam import build_sam
from ovnerf.storage.weight_loading import load_weights

PATCH = 8
"""Pixels along a cell of the image embedding."""

GENERATOR: dict[str, int | float] = {
    "points_per_side": 12,
    "pred_iou_thresh": 0.5,
    "stability_score_thresh": 0.7,
    "stability_score_offset": 0.5,
}
"""Settings of `SamAutomaticMaskGenerator` for this model; its scores are low, so are they."""
EVERY_MASK: dict[str, int | float] = {
    "points_per_side": 12,
    "pred_iou_thresh": 0.0,
    "stability_score_thresh": 0.0,
    "box_nms_thresh": 0.9,
}
"""Settings that keep nearly every proposal: what the model could say at best."""


def build_toy_sam(weights: Path | None = None) -> nn.Module:
    """The model in evaluation mode; random weights when no file is given."""
    sam = build_sam("toy")
    if weights is not None:
        load_weights(sam, weights, "the toy SAM")
    return sam.eval()


def decode_points(
    sam: nn.Module, embedding: torch.Tensor, points: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """All four masks of single-point prompts on one image.

    Args:
        embedding: (1, d, g, g) of `sam.image_encoder`.
        points: (p, 2) x, y in input pixels.

    Returns:
        logits (p, 4, 4g, 4g) and predicted IoU (p, 4); mask 0 is the single-mask output.
    """
    labels = torch.ones(len(points), 1, dtype=torch.int)
    sparse, dense = sam.prompt_encoder(points=(points[:, None], labels), boxes=None, masks=None)
    return sam.mask_decoder.predict_masks(
        image_embeddings=embedding,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
    )
