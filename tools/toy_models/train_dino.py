"""Train the toy DINO by self-distillation on training rooms; no label is read.

The student sees two large and two small crops around a common point, the teacher (its moving
average) the two large ones; centred and sharpened teacher outputs are the student's targets. Rooms
show many things at once, so besides the class token the patch tokens at points seen by both large
crops are distilled as well, and a share of the student's cells is blanked so that it must use what
surrounds them (as in iBOT, a dense variant of DINO). Patch targets are balanced over the prototypes
by Sinkhorn's iteration (as in DINOv2), which learns far faster than centring with so few images.
"""

from __future__ import annotations

import sys
from copy import deepcopy

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample, linear, normalize

from ovnerf.toy import WEIGHTS
from tools.toy_models.data import TRAINING_SEEDS, load_views
from tools.toy_models.dino import TRAINING_SIZE, WIDTH, build_toy_dino
from tools.toy_models.training import run_training, save_weights, script_options

ITERATIONS = 2200
IMAGES = 12
PROTOTYPES = 192
SMALL_CROPS, SMALL_SIZE = 2, 32
POINTS = 40
"""Matched points per image for the patch loss."""
PATCH_WEIGHT = 2.0
BLANKED = 0.3
"""Share of the student's cells that are blanked in large crops."""
STUDENT_TEMPERATURE, TEACHER_TEMPERATURE = 0.1, 0.05
CENTRE_MOMENTUM, TEACHER_MOMENTUM = 0.9, 0.98
PEAK_RATE = 1e-3
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Head(nn.Module):
    """Features (..., d) -> prototype logits (..., PROTOTYPES), both sides of unit length."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 256), nn.GELU(), nn.Linear(256, 64))
        self.prototypes = nn.Parameter(torch.randn(PROTOTYPES, 64))

    def forward(self, features: Tensor) -> Tensor:
        return linear(normalize(self.mlp(features), dim=-1), normalize(self.prototypes, dim=-1))


class Branch(nn.Module):
    """Backbone and head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = build_toy_dino()
        self.head = Head()

    def forward(self, crops: Tensor, points: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Logits of the class token (b, k), and of patch tokens at `points` (b, p, k).

        Args:
            crops: (b, 3, s, s). points: (b, p, 2) in [-1, 1] of the crop, or None.
        """
        tokens = self.backbone.forward_features(crops)
        logits = self.head(tokens[:, 0])
        if points is None:
            return logits, None
        side = crops.shape[-1] // 8
        grid = tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side)).float()
        picked = grid_sample(grid, points[:, None], align_corners=False, padding_mode="border")
        return logits, self.head(picked[:, :, 0].transpose(1, 2))


class Distillation(nn.Module):
    """Student, teacher, and the centres of the teacher's outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.student = Branch().train()
        self.teacher = deepcopy(self.student).requires_grad_(False)
        self.register_buffer("centre", torch.zeros(PROTOTYPES))

    @torch.no_grad()
    def follow(self) -> None:
        """Move the teacher towards the student."""
        for old, new in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            old.lerp_(new, 1 - TEACHER_MOMENTUM)

    @torch.no_grad()
    def centred(self, logits: Tensor) -> Tensor:
        """Centred and sharpened class-token targets (b, k); the centre moves along."""
        logits = logits.float()
        target = ((logits - self.centre) / TEACHER_TEMPERATURE).softmax(-1)
        self.centre.lerp_(logits.mean(0), 1 - CENTRE_MOMENTUM)
        return target


@torch.no_grad()
def balanced(logits: Tensor, rounds: int = 3) -> Tensor:
    """Sharpened targets (b, p, k) in which every prototype gets the same share of the patches."""
    scaled = logits.float().flatten(0, 1) / TEACHER_TEMPERATURE
    target = (scaled - scaled.max()).exp()
    for _ in range(rounds):
        target = target / target.sum(0, keepdim=True).clamp(min=1e-12)
        target = target / target.sum(1, keepdim=True).clamp(min=1e-12)
    return target.view(logits.shape)


def crop_boxes(
    anchor: Tensor, count: int, sides: tuple[float, float], shape: tuple[int, int], rng: Generator
) -> Tensor:
    """Random boxes that contain an anchor, as centre x, y and half width, half height in [-1, 1].

    Args:
        anchor: (b, 2) x, y in [-1, 1]. sides: least and largest box side in pixels.
        shape: image height and width.

    Returns:
        (b, count, 4); a negative half width mirrors the crop.
    """
    height, width = shape
    b = len(anchor)
    side = np.exp(rng.uniform(*np.log(sides), (b, count, 1)))
    aspect = np.exp(rng.uniform(-0.2, 0.2, (b, count, 1)))
    half = np.concatenate([side * aspect / width, side / aspect / height], axis=2).clip(0, 1)
    centre = anchor[:, None].numpy() + rng.uniform(-0.8, 0.8, (b, count, 2)) * half
    centre = np.clip(centre, half - 1, 1 - half)
    half[..., 0] *= rng.choice([-1.0, 1.0], (b, count))
    return torch.from_numpy(np.concatenate([centre, half], axis=2)).float()


def cut(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Resample boxes (b, n, 4) of images (b, 3, H, W) to (n * b, 3, size, size), crop-major."""
    theta = torch.zeros(boxes.shape[1], len(images), 2, 3)
    theta[..., 0, 0], theta[..., 1, 1] = boxes[..., 2].T, boxes[..., 3].T
    theta[..., 0, 2], theta[..., 1, 2] = boxes[..., 0].T, boxes[..., 1].T
    grid = affine_grid(theta.flatten(0, 1), [theta.shape[0] * len(images), 3, size, size], False)
    repeated = images.repeat(boxes.shape[1], 1, 1, 1)
    return grid_sample(repeated, grid, align_corners=False, padding_mode="border")


def common_points(boxes: Tensor, count: int, rng: Generator) -> Tensor:
    """Points in the overlap of two boxes (b, 2, 4), in each crop's own coordinates.

    Returns:
        (b, 2, count, 2) in [-1, 1].
    """
    half = boxes[..., 2:].abs()
    low = (boxes[..., :2] - half).amax(1)
    high = (boxes[..., :2] + half).amin(1)
    share = torch.from_numpy(rng.uniform(0, 1, (len(boxes), count, 2))).float()
    points = low[:, None] + share * (high - low)[:, None]
    return (points[:, None] - boxes[:, :, None, :2]) / boxes[:, :, None, 2:]


def jittered(crops: Tensor, rng: Generator) -> Tensor:
    """Random colour gains and offset, then MEAN and STD; f32 (n, 3, s, s) in [0, 1]."""
    n = len(crops)
    gain = torch.from_numpy(rng.uniform(0.85, 1.15, (n, 3, 1, 1))).float()
    shift = torch.from_numpy(rng.uniform(-0.08, 0.08, (n, 1, 1, 1))).float()
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return ((crops * gain + shift).clamp(0, 1) - mean) / std


def blanked(crops: Tensor, rng: Generator) -> Tensor:
    """Set a random share of the 8x8 cells of crops (n, 3, s, s) to the mean colour."""
    n, side = len(crops), crops.shape[-1] // 8
    kept = torch.from_numpy(rng.random((n, 1, side, side)) >= BLANKED).float()
    return crops * kept.repeat_interleave(8, 2).repeat_interleave(8, 3)


def cross_entropy(target: Tensor, logits: Tensor) -> Tensor:
    """Mean of -target log softmax(logits / student temperature)."""
    return -(target * (logits.float() / STUDENT_TEMPERATURE).log_softmax(-1)).sum(-1).mean()


def distillation_loss(model: Distillation, images: Tensor, rng: Generator) -> Tensor:
    """Loss of a batch of images (b, 3, H, W) in [0, 1]."""
    shape = (images.shape[-2], images.shape[-1])
    anchor = torch.from_numpy(rng.uniform(-0.7, 0.7, (len(images), 2)))
    large = crop_boxes(anchor, 2, (72.0, 118.0), shape, rng)
    small = crop_boxes(anchor, SMALL_CROPS, (22.0, 48.0), shape, rng)
    points = common_points(large, POINTS, rng).transpose(0, 1).flatten(0, 1)
    views = blanked(jittered(cut(images, large, TRAINING_SIZE), rng), rng)
    teacher_views = jittered(cut(images, large, TRAINING_SIZE), rng)
    details = jittered(cut(images, small, SMALL_SIZE), rng)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            whole, patches = model.teacher(teacher_views, points)
        whole_target = model.centred(whole).chunk(2)
        patch_target = balanced(patches).chunk(2)
        whole_logits, patch_logits = model.student(views, points)
        detail_logits, _ = model.student(details, None)
    first, second = whole_logits.chunk(2)
    patch_first, patch_second = patch_logits.chunk(2)
    terms = [cross_entropy(whole_target[0], second), cross_entropy(whole_target[1], first)]
    for logits in detail_logits.chunk(SMALL_CROPS):
        terms += [cross_entropy(target, logits) for target in whole_target]
    dense = cross_entropy(patch_target[0], patch_second)
    dense = dense + cross_entropy(patch_target[1], patch_first)
    return torch.stack(terms).mean() + PATCH_WEIGHT * dense / 2


def main() -> int:
    """Train and write the teacher's backbone."""
    options = script_options(__doc__, WEIGHTS / "dino.safetensors", ITERATIONS, PEAK_RATE)
    views = load_views(options.cache, TRAINING_SEEDS)
    model = Distillation()

    def step(iteration: int) -> Tensor:
        rng = np.random.default_rng([options.seed, iteration])
        chosen = views.rgb[rng.integers(0, len(views.rgb), IMAGES)]
        images = torch.from_numpy(chosen).permute(0, 3, 1, 2).float() / 255
        return distillation_loss(model, images, rng)

    run_training(
        model,
        step,
        iterations=options.iterations,
        peak_rate=options.peak_rate,
        checkpoint=options.out.with_suffix(".partial.pt"),
        after=lambda _: model.follow(),
    )
    save_weights(model.teacher.backbone, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
