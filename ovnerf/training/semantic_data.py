"""What the losses of the semantic branch read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ovnerf.encoders.pyramid import PyramidFeatures
from ovnerf.training.batches import generator
from ovnerf.training.crops import Tokens
from ovnerf.training.data import Photos


@dataclass(frozen=True)
class SemanticData:
    """What the losses read.

    Two indices are used: `photo` counts the training frames in the order of their sequence, `slot`
    counts those of them that carry labels and CLIP features (a share of `view_fraction`).

    Attributes:
        photos: all training frames.
        labelled: i64 (slots,), the photo of each slot, ascending.
        label: i32 (slots, H, W), the class of each pixel, `VOID` where unknown.
        pyramid: CLIP features by slot.
        tokens: DINO tokens by photo.
        text: unit text vectors f32 (C, D) of the training losses; a blank prompt's comes last.
        max_samples: training rays end after this many samples (`ray_length: as_shipped`,
            docs/method.md#short-rays); None where they cross the box.
        extremes: f32 (slots, K, C, 2), least and greatest cosine of a photo's features with each
            class at each scale; None where no loss reads it.
    """

    photos: Photos
    labelled: Tensor
    label: Tensor
    pyramid: PyramidFeatures
    tokens: Tokens
    text: Tensor
    max_samples: int | None = None
    extremes: Tensor | None = None


def labelled_photos(count: int, share: float, seed: int) -> Tensor:
    """Which of `count` photos carry labels and features: a random share of them, i64, ascending.

    At least one. The published code calls the share `clip_input`. Of the product 6 digits count, so
    that 0.7 of 90 photos are 63.
    """
    order = torch.randperm(count, generator=generator(seed, "labelled", 0))
    return order[: max(1, int(round(share * count, 6)))].sort().values
