"""Region proposals: segment_anything's automatic mask generator (docs/method.md#regions)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ovnerf.compute.device import resolve_device
from ovnerf.config.regions import ProposeRegions
from ovnerf.regions.proposals import Proposals
from ovnerf.storage.weight_loading import load_weights


def build_sam(architecture: str) -> nn.Module:
    """A SAM without weights: `toy`, `vit_b`, `vit_l` or `vit_h`."""
    if architecture == "toy":
        return build_toy_sam()
    from segment_anything import sam_model_registry

    return sam_model_registry[architecture](checkpoint=None)


def build_toy_sam() -> nn.Module:
    """The demo's SAM without weights: segment_anything's own modules in a small size.

    Its masks have half the resolution of its input, so thin parts (chair legs) are lost.
    """
    from segment_anything.modeling import (
        ImageEncoderViT,
        MaskDecoder,
        PromptEncoder,
        Sam,
        TwoWayTransformer,
    )

    image_size, patch, width, decoder_width = 160, 8, 128, 96
    grid = image_size // patch
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=image_size,
            patch_size=patch,
            embed_dim=width,
            depth=6,
            num_heads=4,
            mlp_ratio=3,
            out_chans=decoder_width,
            qkv_bias=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=False,
            window_size=grid // 2,
            global_attn_indexes=(1, 3, 5),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=decoder_width,
            image_embedding_size=(grid, grid),
            input_image_size=(image_size, image_size),
            mask_in_chans=8,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=decoder_width, mlp_dim=256, num_heads=4
            ),
            transformer_dim=decoder_width,
            iou_head_depth=3,
            iou_head_hidden_dim=decoder_width,
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )


class RegionProposer:
    """SAM with local weights and its automatic mask generator."""

    def __init__(
        self, sam: nn.Module, settings: ProposeRegions, device: torch.device | None = None
    ) -> None:
        """Take a SAM model; `settings` holds the generator's thresholds."""
        from segment_anything import SamAutomaticMaskGenerator

        self.generator = SamAutomaticMaskGenerator(
            sam.eval().requires_grad_(False).to(device or resolve_device()),
            points_per_side=settings.points_per_side,
            points_per_batch=settings.points_per_batch,
            pred_iou_thresh=settings.pred_iou_thresh,
            stability_score_thresh=settings.stability_score_thresh,
            stability_score_offset=settings.stability_score_offset,
            box_nms_thresh=settings.box_nms_thresh,
            min_mask_region_area=settings.min_mask_region_area,
        )

    @classmethod
    def load(
        cls, settings: ProposeRegions, weights: Path, device: torch.device | None = None
    ) -> RegionProposer:
        """SAM of `settings.architecture` with the weights of a file.

        Raises:
            UserError: the file does not hold the weights of this architecture.
        """
        sam = build_sam(settings.architecture)
        load_weights(sam, weights, "propose_regions.architecture")
        return cls(sam, settings, device)

    def propose(self, image: np.ndarray) -> Proposals:
        """Regions of an RGB image u8 (H, W, 3), highest predicted IoU first."""
        records = self.generator.generate(np.ascontiguousarray(image))
        masks = np.zeros((len(records), *image.shape[:2]), dtype=bool)
        for mask, record in zip(masks, records, strict=True):
            mask[...] = record["segmentation"]
        return Proposals(
            masks=masks,
            score=np.array([record["predicted_iou"] for record in records], dtype=np.float32),
            area=masks.sum((1, 2)).astype(np.int32),
        )
