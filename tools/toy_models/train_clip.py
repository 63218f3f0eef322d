"""Train the toy CLIP contrastively on crops of training rooms and captions of what they show.

Each step pairs a batch of crops with captions of every class (random templates). Crops of one class
share captions, so a caption's positives are all crops of its class. Stopped early on purpose: the
demo studies how labels of an imperfect CLIP get better.
"""

from __future__ import annotations

import sys

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from ovnerf.labels.vocabulary import templates
from ovnerf.toy import WEIGHTS
from ovnerf.toy.furniture import CLASSES
from tools.toy_models.clip import NAME, build_toy_clip, normalised, sample_crops
from tools.toy_models.data import TRAINING_SEEDS, load_views
from tools.toy_models.training import run_training, save_weights, script_options

ITERATIONS = 220
BATCH = 192
CAPTIONS = 3
"""Captions per class and step."""
PEAK_RATE = 1e-3
CROPS_PER_VIEW = 32


def augment(crops: Tensor, rng: np.random.Generator) -> Tensor:
    """Random mirror images and changes of brightness and contrast; u8 in, u8 out."""
    count = len(crops)
    mirrored = torch.from_numpy(rng.random(count) < 0.5)[:, None, None, None]
    crops = torch.where(mirrored, crops.flip(-1), crops).float()
    gain = torch.from_numpy(rng.uniform(0.8, 1.2, (count, 1, 1, 1))).float()
    shift = torch.from_numpy(rng.uniform(-16, 16, (count, 1, 1, 1))).float()
    return (crops * gain + shift).clamp(0, 255).to(torch.uint8)


def class_weights(targets: Tensor) -> Tensor:
    """Sampling weight of each crop: its class's frequency to the power -0.8."""
    counts = torch.bincount(targets, minlength=len(CLASSES)).clamp(min=1)
    weights = counts.double().pow(-0.8)[targets]
    return weights / weights.sum()


def contrastive_loss(
    model: open_clip.CLIP, crops: Tensor, targets: Tensor, tokens: Tensor
) -> Tensor:
    """Symmetric contrastive loss whose positives are all pairs of one class.

    Args:
        crops: u8 (b, 3, 32, 32). targets: (b,).
        tokens: (captions, classes, context) of every class.
    """
    image = normalize(model.encode_image(normalised(crops)), dim=-1)
    text = normalize(model.encode_text(tokens.flatten(0, 1)), dim=-1)
    logits = model.logit_scale.exp().clamp(max=30) * image @ text.T
    logits = logits.view(len(crops), *tokens.shape[:2])  # (b, captions, classes)
    wanted = targets[:, None].expand(-1, tokens.shape[0])
    to_text = cross_entropy(logits.flatten(0, 1), wanted.flatten())
    share = torch.zeros(len(crops), tokens.shape[1]).scatter_(1, targets[:, None], 1.0)
    present = share.sum(0) > 0
    share = (share / share.sum(0).clamp(min=1)).T[present]  # (present classes, b)
    to_image = -(share[None] * logits.permute(1, 2, 0)[:, present].log_softmax(-1)).sum(-1).mean()
    return to_text + 0.2 * to_image


def main() -> int:
    """Train and write the weights."""
    options = script_options(__doc__, WEIGHTS / "clip.safetensors", ITERATIONS, PEAK_RATE)
    views = load_views(options.cache, TRAINING_SEEDS)
    crops, targets = sample_crops(
        views.rgb, views.label, CROPS_PER_VIEW, np.random.default_rng(options.seed), 0.25, 0.5
    )
    print(f"{len(crops)} crops", flush=True)
    weights = class_weights(targets).numpy()
    model = build_toy_clip().train()
    tokenizer = open_clip.get_tokenizer(NAME)
    texts = ("{}", *templates())
    captions = torch.stack([tokenizer([text.format(c) for c in CLASSES]) for text in texts])

    def step(iteration: int) -> Tensor:
        rng = np.random.default_rng([options.seed, iteration])
        chosen = torch.from_numpy(rng.choice(len(crops), BATCH, p=weights))
        spoken = captions[torch.from_numpy(rng.integers(0, len(captions), CAPTIONS))]
        return contrastive_loss(model, augment(crops[chosen], rng), targets[chosen], spoken)

    run_training(
        model,
        step,
        iterations=options.iterations,
        peak_rate=options.peak_rate,
        checkpoint=options.out.with_suffix(".partial.pt"),
    )
    save_weights(model, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
