"""DINO patch tokens: output of the last block before its norm (docs/method.md#dino-tokens)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ovnerf.compute.device import resolve_device
from ovnerf.runtime.errors import UserError
from ovnerf.storage.weight_loading import load_weights

PATCH = 8
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet statistics, which DINO was trained with."""
TOY: dict[str, Any] = {
    "img_size": 96,
    "patch_size": PATCH,
    "embed_dim": 96,
    "depth": 6,
    "num_heads": 3,
}
"""Sizes of the DINO that ships with the package, a timm vision transformer."""


def build_dino(name: str) -> nn.Module:
    """The architecture of a DINO model without weights: a timm name, or `toy`.

    Raises:
        UserError: unknown name, or a patch size other than 8.
    """
    if name == "toy":
        from timm.models.vision_transformer import VisionTransformer

        return VisionTransformer(**TOY, num_classes=0, dynamic_img_size=True)
    import timm

    if not timm.is_model(name):
        raise UserError(
            f"cache_dino.model: timm knows no model {name!r}", "vit_base_patch8_224.dino is one"
        )
    model: Any = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True)
    patch = tuple(model.patch_embed.patch_size)
    if patch != (PATCH, PATCH):
        raise UserError(f"cache_dino.model: {name} has patches of {patch}, expected 8x8")
    return model


class DinoEncoder:
    """A frozen DINO vision transformer with 8x8 patches."""

    def __init__(self, model: nn.Module, device: torch.device | None = None) -> None:
        """Take a timm vision transformer that accepts any size that is a multiple of 8."""
        self.device = device or resolve_device()
        self.model: Any = model.eval().requires_grad_(False).to(self.device)
        self.mean = torch.tensor(MEAN, device=self.device)[:, None, None]
        self.std = torch.tensor(STD, device=self.device)[:, None, None]

    @classmethod
    def load(cls, name: str, weights: Path, device: torch.device | None = None) -> DinoEncoder:
        """The model of this name (`build_dino`) with the weights of a file.

        Raises:
            UserError: unknown name, or the file does not hold this model's weights.
        """
        model = build_dino(name)
        load_weights(model, weights, "cache_dino.model")
        return cls(model, device)

    @torch.no_grad()
    def tokens(self, images: Tensor) -> Tensor:
        """Patch tokens of images or crops.

        Args:
            images: f32 (b, 3, h, w) RGB in [0, 1], any size; the right and bottom edges are
                repeated up to a multiple of 8.

        Returns:
            f32 (b, ceil(h / 8), ceil(w / 8), d), not normalised. Cells beyond floor(h / 8) or
            floor(w / 8) saw padding and must not be sampled.
        """
        height, width = images.shape[-2:]
        padded = pad(
            images.to(self.device), (0, -width % PATCH, 0, -height % PATCH), mode="replicate"
        )
        half = self.device.type == "cuda"  # stores keep binary16; CPUs gain nothing by it
        with torch.autocast(self.device.type, torch.float16, enabled=half):
            tokens = self.model.forward_intermediates(
                (padded - self.mean) / self.std,
                indices=1,
                norm=False,
                output_fmt="NLC",
                intermediates_only=True,
            )[0].float()
        return tokens.unflatten(1, (padded.shape[-2] // PATCH, padded.shape[-1] // PATCH))
