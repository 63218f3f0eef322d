"""The toy CLIP: open_clip's own architecture and tokenizer at toy size, and its crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import center_crop, resize

from ovnerf.labels.vocabulary import prompts
from ovnerf.storage.weight_loading import load_weights
from ovnerf.toy import MODELS
from ovnerf.toy.furniture import CLASSES

NAME = "toy-clip"
IMAGE_SIZE = 32


def build_toy_clip(weights: Path | None = None) -> open_clip.CLIP:
    """The model through open_clip; random weights when no file is given."""
    open_clip.add_model_config(MODELS)
    model = open_clip.create_model(NAME)
    if weights is not None:
        load_weights(model, weights, "the toy CLIP")
    return model


def prepare(crop: Tensor) -> Tensor:
    """u8 (3, h, w) -> u8 (3, 32, 32): shorter side to 32 bicubic, centre crop."""
    sized = resize(crop, [IMAGE_SIZE], InterpolationMode.BICUBIC, antialias=True)
    return center_crop(sized, [IMAGE_SIZE, IMAGE_SIZE])


def normalised(crops: Tensor) -> Tensor:
    """u8 (b, 3, 32, 32) -> f32 with CLIP's mean and standard deviation."""
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN)[:, None, None]
    std = torch.tensor(open_clip.OPENAI_DATASET_STD)[:, None, None]
    return (crops.float() / 255 - mean) / std


def random_window(height: int, width: int, rng: Generator, larger: float) -> tuple[int, ...]:
    """A window like the pyramid's (sides min(H, W)/10 to min(H, W)/5, each grown up to 1.5 times).

    Args:
        larger: share of windows up to half the image's short side.

    Returns:
        left, top, right, bottom in pixels, exclusive ends.
    """
    short = min(height, width)
    base = short / (rng.uniform(2, 5) if rng.random() < larger else rng.uniform(5, 10))
    h, w = (round(base * rng.uniform(1, 1.5)) for _ in range(2))
    top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    return left, top, left + w, top + h


def dominant_label(label: NDArray[np.uint8]) -> tuple[int, float]:
    """Most frequent label of the centred square of a window (h, w), and its share."""
    height, width = label.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    counts = np.bincount(label[top : top + side, left : left + side].ravel())
    best = int(counts.argmax())
    return best, float(counts[best] / counts.sum())


def sample_crops(
    rgb: NDArray[np.uint8],
    label: NDArray[np.uint8],
    per_view: int,
    rng: Generator,
    larger: float,
    least_share: float,
) -> tuple[Tensor, Tensor]:
    """Random windows of views with the class that dominates each.

    Args:
        rgb: (n, H, W, 3). label: (n, H, W).
        larger: see `random_window`.
        least_share: windows whose dominant class covers less are skipped.

    Returns:
        crops u8 (m, 3, 32, 32), class numbers i64 (m,) (indices in CLASSES); m <= n * per_view.
    """
    crops, targets = [], []
    for image, classes in zip(rgb, label, strict=True):
        pixels = torch.from_numpy(image).permute(2, 0, 1)
        for _ in range(per_view):
            left, top, right, bottom = random_window(*classes.shape, rng, larger)
            best, share = dominant_label(classes[top:bottom, left:right])
            if best and share >= least_share:
                crops.append(prepare(pixels[:, top:bottom, left:right]))
                targets.append(best - 1)
    return torch.stack(crops), torch.tensor(targets)


@torch.inference_mode()
def text_bank(model: open_clip.CLIP) -> Tensor:
    """Unit text vectors of CLASSES (c, d): normalise each prompt, mean, normalise."""
    tokenizer = open_clip.get_tokenizer(NAME)
    rows = []
    for name in CLASSES:
        tokens = tokenizer(prompts(name, "ensemble"))
        rows.append(normalize(normalize(model.encode_text(tokens), dim=-1).mean(0), dim=-1))
    return torch.stack(rows)


@torch.inference_mode()
def embed(model: open_clip.CLIP, crops: Tensor, batch: int = 512) -> Tensor:
    """Raw image embeddings (m, d) of u8 crops (m, 3, 32, 32)."""
    return torch.cat([model.encode_image(normalised(part)) for part in crops.split(batch)])
