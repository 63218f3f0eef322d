"""The toy DINO: a timm vision transformer with patches of 8 pixels, for any size divisible by 8."""

from __future__ import annotations

from pathlib import Path

from timm.models.vision_transformer import VisionTransformer

from ovnerf.encoders.weights import load_weights

TRAINING_SIZE = 96
"""Side of the training crops; position codes are interpolated for other sizes."""
PATCH = 8
WIDTH = 96
DEPTH = 6


def build_toy_dino(weights: Path | None = None) -> VisionTransformer:
    """The model in evaluation mode; random weights when no file is given.

    Takes RGB normalised by ImageNet's mean and standard deviation. The features to use are the last
    block's patch tokens before the final norm (one prefix token), as for the real DINO.
    """
    model = VisionTransformer(
        img_size=TRAINING_SIZE,
        patch_size=PATCH,
        embed_dim=WIDTH,
        depth=DEPTH,
        num_heads=3,
        num_classes=0,
        dynamic_img_size=True,
    )
    if weights is not None:
        load_weights(model, weights, "the toy DINO")
    return model.eval()
