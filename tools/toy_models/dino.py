"""The toy DINO: a timm vision transformer with patches of 8 pixels, for any size divisible by 8."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ovnerf.encoders.dino import TOY, build_dino
from ovnerf.storage.weight_loading import load_weights

TRAINING_SIZE, WIDTH = TOY["img_size"], TOY["embed_dim"]
"""Side of the training crops (position codes are interpolated for other sizes), token width."""


def build_toy_dino(weights: Path | None = None) -> nn.Module:
    """The model in evaluation mode; random weights when no file is given.

    Takes RGB normalised by ImageNet's mean and standard deviation. The features to use are the last
    block's patch tokens before the final norm (one prefix token), as for the real DINO.
    """
    model = build_dino("toy")
    if weights is not None:
        load_weights(model, weights, "the toy DINO")
    return model.eval()
