"""Train the toy SAM with single-point prompts on the instance masks of training rooms.

Cross-entropy and dice loss (a focal loss left logits too soft for the stability filter); of the
three ambiguous outputs only the best is trained; the IoU head regresses each output's true IoU, so
that the generator's score and stability filters mean something.

Two things shorten the long start in which prompts are ignored: attention from prompts to the image
begins as similarity of position codes, and an affinity loss (training only) makes image embeddings
of one instance alike.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, normalize

from ovnerf.toy import WEIGHTS
from tools.toy_models.data import TRAINING_SEEDS, load_views
from tools.toy_models.sam import PATCH, build_toy_sam, decode_points
from tools.toy_models.training import run_training, save_weights, script_options

ITERATIONS = 5000
IMAGES = 6
PROMPTS = 8
"""Points per image and step: half on pixels drawn evenly, half on instances drawn evenly."""
PEAK_RATE = 1e-3
ENTROPY_WEIGHT, SCORE_WEIGHT = 2.0, 4.0
SMALLEST_AREA = 24
"""Instances with fewer pixels are not asked for."""


class Trainee(nn.Module):
    """The model, and the affinity head that is used in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.sam = build_toy_sam().train()
        self.project = nn.Conv2d(self.sam.prompt_encoder.embed_dim, 16, 1)
        self.scale = nn.Parameter(torch.tensor([6.0, -3.0]))
        transformer = self.sam.mask_decoder.transformer
        looks = [layer.cross_attn_token_to_image for layer in transformer.layers]
        with torch.no_grad():
            for attention in (*looks, transformer.final_attn_token_to_image):
                attention.q_proj.weight *= 3
                attention.k_proj.weight.copy_(attention.q_proj.weight)

    def affinity_loss(self, embedding: Tensor, points: Tensor, masks: Tensor) -> Tensor:
        """Cross-entropy of "same instance as the prompt" per cell of one image's embedding."""
        target = avg_pool2d(masks[:, None], PATCH)[:, 0]
        cells = normalize(self.project(embedding)[0].float(), dim=0)
        column, row = (points.long() // PATCH).unbind(1)
        alike = torch.einsum("dp,dhw->phw", cells[:, row, column], cells)
        valid = alike[:, : target.shape[1], : target.shape[2]]
        return binary_cross_entropy_with_logits(valid * self.scale[0] + self.scale[1], target)


def draw_points(instance: NDArray[np.uint16], count: int, rng: Generator) -> NDArray[np.int64]:
    """Prompt pixels (p, 2) as column, row, on instances of at least SMALLEST_AREA pixels."""
    areas = np.bincount(instance.ravel())
    areas[0] = 0
    usable = np.flatnonzero(areas >= SMALLEST_AREA)
    flat = instance.ravel()
    even = rng.choice(np.flatnonzero(np.isin(flat, usable)), count - count // 2)
    wanted = rng.choice(usable, count // 2)
    balanced = np.array([rng.choice(np.flatnonzero(flat == number)) for number in wanted])
    pixels = np.concatenate([even, balanced])
    return np.stack([pixels % instance.shape[1], pixels // instance.shape[1]], axis=1)


def recoloured(image: Tensor, rng: Generator) -> Tensor:
    """Random gain of each colour channel and a common shift; f32 (3, H, W) in 0..255."""
    gain = torch.from_numpy(rng.uniform(0.8, 1.2, (3, 1, 1))).float()
    return (image * gain + float(rng.uniform(-20, 20))).clamp(0, 255)


def mask_losses(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Loss (p, m) and IoU (p, m) of mask logits (p, m, h, w) against coverage (p, 1, h, w)."""
    target = target.expand_as(logits)
    entropy = binary_cross_entropy_with_logits(logits, target, reduction="none")
    probability = logits.sigmoid()
    overlap = 2 * (probability * target).sum((-2, -1)) + 1
    dice = 1 - overlap / (probability.sum((-2, -1)) + target.sum((-2, -1)) + 1)
    with torch.no_grad():
        found, true = logits > 0, target > 0.5
        union = (found | true).sum((-2, -1)).clamp(min=1)
        iou = (found & true).sum((-2, -1)) / union
    return ENTROPY_WEIGHT * entropy.mean((-2, -1)) + dice, iou


def prompt_loss(trainee: Trainee, embedding: Tensor, points: Tensor, masks: Tensor) -> Tensor:
    """Loss of single-point prompts on one image.

    Args:
        embedding: (1, d, g, g). points: (p, 2) input pixels. masks: (p, H, W) 0/1.
    """
    logits, score = decode_points(trainee.sam, embedding, points)
    ratio = trainee.sam.image_encoder.img_size // logits.shape[-1]
    target = avg_pool2d(masks[:, None], ratio)
    valid = logits[..., : target.shape[-2], : target.shape[-1]].float()
    loss, iou = mask_losses(valid, target)
    regression = ((score.float() - iou) ** 2).mean()
    masked = (0.5 * loss[:, 0] + loss[:, 1:].min(1).values).mean()
    return masked + SCORE_WEIGHT * regression + trainee.affinity_loss(embedding, points, masks)


def main() -> int:
    """Train and write the weights."""
    out = WEIGHTS / "sam.safetensors"
    options = script_options(__doc__, out, ITERATIONS, PEAK_RATE)
    views = load_views(options.cache, TRAINING_SEEDS)
    trainee = Trainee()
    sam = trainee.sam

    def step(iteration: int) -> Tensor:
        rng = np.random.default_rng([options.seed, iteration])
        images, prompts = [], []
        for number in rng.integers(0, len(views.rgb), IMAGES):
            rgb, instance = views.rgb[number], views.instance[number]
            if rng.random() < 0.5:
                rgb, instance = rgb[:, ::-1], instance[:, ::-1]
            pixels = torch.from_numpy(rgb.copy()).permute(2, 0, 1).float()
            images.append(sam.preprocess(recoloured(pixels, rng)))
            points = draw_points(instance, PROMPTS, rng)
            masks = instance[None] == instance[points[:, 1], points[:, 0]][:, None, None]
            prompts.append((torch.from_numpy(points).float(), torch.from_numpy(masks).float()))
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = sam.image_encoder(torch.stack(images))
            losses = [
                prompt_loss(trainee, embedding[None], points, masks)
                for embedding, (points, masks) in zip(embeddings, prompts, strict=True)
            ]
        return torch.stack(losses).mean()

    run_training(
        trainee,
        step,
        iterations=options.iterations,
        peak_rate=options.peak_rate,
        checkpoint=options.out.with_suffix(".partial.pt"),
    )
    save_weights(sam, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
