"""The toy SAM: segment_anything's own modules at toy size, for its unmodified mask generator."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import nn

from ovnerf.encoders.weights import load_weights

IMAGE_SIZE = 160
"""Longer side of the input in pixels: demo frames go in unscaled."""
PATCH = 8
WIDTH = 128
DEPTH = 6
DECODER_WIDTH = 96

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


def build_toy_sam(weights: Path | None = None) -> Sam:
    """The model in evaluation mode; random weights when no file is given.

    Masks come out at half the input resolution, so thin parts (chair legs) are lost.
    """
    grid = IMAGE_SIZE // PATCH
    sam = Sam(
        image_encoder=ImageEncoderViT(
            img_size=IMAGE_SIZE,
            patch_size=PATCH,
            embed_dim=WIDTH,
            depth=DEPTH,
            num_heads=4,
            mlp_ratio=3,
            out_chans=DECODER_WIDTH,
            qkv_bias=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=False,
            window_size=grid // 2,
            global_attn_indexes=(1, 3, 5),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=DECODER_WIDTH,
            image_embedding_size=(grid, grid),
            input_image_size=(IMAGE_SIZE, IMAGE_SIZE),
            mask_in_chans=8,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=DECODER_WIDTH, mlp_dim=256, num_heads=4
            ),
            transformer_dim=DECODER_WIDTH,
            iou_head_depth=3,
            iou_head_hidden_dim=DECODER_WIDTH,
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )
    if weights is not None:
        load_weights(sam, weights, "the toy SAM")
    return sam.eval()


def decode_points(
    sam: Sam, embedding: torch.Tensor, points: torch.Tensor
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
