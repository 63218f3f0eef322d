"""How good the toy models are on rooms they were not trained on; the cards quote this output.

`python -m tools.toy_models.measure clip sam dino` prints one JSON object per model.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn.functional import normalize

from ovnerf.encoders.dino import PATCH
from ovnerf.encoders.pyramid import class_scores, window_boxes, window_grids, window_scales
from ovnerf.toy import WEIGHTS
from ovnerf.toy.furniture import CLASSES
from tools.toy_models.clip import build_toy_clip, embed, prepare, sample_crops, text_bank
from tools.toy_models.data import CACHE, DEMO_SEEDS, UNSEEN_SEEDS, Views, load_views
from tools.toy_models.dino import build_toy_dino
from tools.toy_models.sam import EVERY_MASK, GENERATOR, build_toy_sam
from tools.toy_models.train_dino import MEAN, STD

NEIGHBOURS = 20
SMALLEST_SHARE = 0.01
"""Instances below this share of the image are not scored."""


def percent(share: float) -> float:
    """A share as percent with one decimal."""
    return round(100 * float(share), 1)


# --- CLIP -----------------------------------------------------------------------------------------


def crop_accuracy(model: torch.nn.Module, views: Views, per_view: int) -> dict[str, object]:
    """Top-1 over pyramid-sized crops of views: of all crops, and the mean over classes."""
    crops, targets = sample_crops(
        views.rgb, views.label, per_view, np.random.default_rng(0), larger=0.0, least_share=0.5
    )
    scores = normalize(embed(model, crops), dim=-1) @ text_bank(model).T
    right = (scores.argmax(1) == targets).float()
    by_class = {
        name: percent(right[targets == k].mean())
        for k, name in enumerate(CLASSES)
        if (targets == k).any()
    }
    return {
        "crops": len(crops),
        "crop_top1": percent(right.mean()),
        "crop_top1_class_mean": round(float(np.mean(list(by_class.values()))), 1),
        "crop_top1_by_class": by_class,
    }


def label_map(
    model: torch.nn.Module, image: NDArray[np.uint8], bank: Tensor, stride: float, frame: int
) -> NDArray[np.int64]:
    """Raw CLIP labels (H, W) of an image: mean cosine over the pyramid's three scales, argmax."""
    height, width = image.shape[:2]
    grids = window_grids(height, width, (5, 7, 10), stride, 0.25)
    boxes = window_boxes(height, width, grids, 0, frame)
    pixels = torch.from_numpy(image).permute(2, 0, 1)
    crops = torch.stack([prepare(pixels[:, t:b, x:r]) for x, t, r, b in boxes.tolist()])
    scales = torch.from_numpy(window_scales(grids))
    scores = class_scores(embed(model, crops), torch.from_numpy(boxes), scales, bank, height, width)
    return scores.mean(0).argmax(0).numpy()


def map_accuracy(
    model: torch.nn.Module, views: Views, numbers: Sequence[int], stride: float
) -> float:
    """Pixel accuracy of raw CLIP label maps of some views, among the classes of the vocabulary."""
    bank = text_bank(model)
    right = [
        (label_map(model, views.rgb[n], bank, stride, n) + 1 == views.label[n]).mean()
        for n in numbers
    ]
    return float(np.mean(right))


def measure_clip(weights: Path, cache: Path) -> dict[str, object]:
    """Crop top-1 on unseen rooms; pixel accuracy of raw label maps on the demo rooms."""
    model = build_toy_clip(weights / "clip.safetensors").eval()
    report = crop_accuracy(model, load_views(cache, UNSEEN_SEEDS), 40)
    for seed in DEMO_SEEDS:
        views = load_views(cache, [seed], 40)
        accuracy = map_accuracy(model, views, range(0, 40, 4), stride=0.5)
        report[f"map_pixel_accuracy_room{seed}"] = percent(accuracy)
    return report


# --- SAM ------------------------------------------------------------------------------------------


def best_overlaps(
    masks: NDArray[np.bool_], instance: NDArray[np.uint16], smallest: float = SMALLEST_SHARE
) -> NDArray[np.float64]:
    """Best IoU of any mask (m, H, W) with each instance larger than `smallest` of the image."""
    numbers, areas = np.unique(instance[instance > 0], return_counts=True)
    true = instance[None] == numbers[areas > smallest * instance.size][:, None, None]
    found = masks.reshape(len(masks), instance.size).astype(np.float32)
    wanted = true.reshape(len(true), instance.size).astype(np.float32)
    if not len(found):
        return np.zeros(len(wanted))
    inter = wanted @ found.T
    union = wanted.sum(1)[:, None] + found.sum(1)[None] - inter
    return (inter / union).max(1).astype(np.float64)


def instance_overlaps(
    sam: Sam, views: Views, numbers: Sequence[int], settings: dict[str, int | float] = GENERATOR
) -> dict[str, object]:
    """Best IoU per instance with the automatic generator, mask count and seconds per frame."""
    generator = SamAutomaticMaskGenerator(sam, **settings)
    overlaps, counts, covered = [], [], []
    begin = time.perf_counter()
    for number in numbers:
        records = generator.generate(views.rgb[number])
        masks = np.array([record["segmentation"] for record in records], bool)
        masks = masks.reshape(-1, *views.label.shape[1:])
        overlaps.append(best_overlaps(masks, views.instance[number]))
        counts.append(len(masks))
        covered.append(masks.any(0).mean())
    every = np.concatenate(overlaps)
    return {
        "generator": settings,
        "frames": len(counts),
        "instances": len(every),
        "mean_best_iou": round(float(every.mean()), 3),
        "share_above_0.5": percent((every > 0.5).mean()),
        "masks_per_frame": round(float(np.mean(counts)), 1),
        "pixels_covered": percent(np.mean(covered)),
        "seconds_per_frame": round((time.perf_counter() - begin) / len(counts), 2),
    }


def measure_sam(weights: Path, cache: Path) -> dict[str, object]:
    """Mean best IoU over instances larger than 1 % of the image, unseen rooms."""
    views = load_views(cache, UNSEEN_SEEDS)
    sam = build_toy_sam(weights / "sam.safetensors")
    numbers = range(0, len(views.rgb), 5)
    return {
        name: instance_overlaps(sam, views, numbers, settings)
        for name, settings in (("recommended", GENERATOR), ("every_mask", EVERY_MASK))
    }


# --- DINO -----------------------------------------------------------------------------------------


def patch_labels(label: NDArray[np.uint8]) -> Tensor:
    """Label of each 8x8 patch (n, h * w) where one class fills at least half of it, else 0."""
    n, height, width = label.shape
    rows, columns = height // PATCH, width // PATCH
    cells = torch.from_numpy(label[:, : rows * PATCH, : columns * PATCH])
    cells = cells.view(n, rows, PATCH, columns, PATCH).permute(0, 1, 3, 2, 4).flatten(3)
    mode = cells.mode(-1).values
    share = (cells == mode[..., None]).float().mean(-1)
    return torch.where(share >= 0.5, mode, 0).flatten(1)


def raw_patches(rgb: NDArray[np.uint8]) -> Tensor:
    """Pixels of each 8x8 patch (n, h * w, 192) in [0, 1]."""
    images = torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 255
    cells = images.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)
    return cells.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


@torch.inference_mode()
def patch_tokens(model: VisionTransformer, rgb: NDArray[np.uint8]) -> Tensor:
    """Unit patch tokens (n, h * w, d) of the last block, before the final norm."""
    images = torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    tokens = [
        model.forward_intermediates(
            (part - mean) / std, indices=1, norm=False, output_fmt="NLC", intermediates_only=True
        )[0]
        for part in images.split(8)
    ]
    return normalize(torch.cat(tokens), dim=-1)


def neighbour_accuracy(
    features: Tensor, labels: Tensor, banked: Sequence[int], asked: Sequence[int]
) -> float:
    """k-nearest-neighbour label accuracy (Euclidean) of the patches of some views.

    Args:
        features: (n, p, d). labels: (n, p), 0 where a patch has no clear class.
        banked, asked: views whose patches are the bank, and the queries.
    """
    bank, queries = features[list(banked)].flatten(0, 1), features[list(asked)].flatten(0, 1)
    known, wanted = labels[list(banked)].flatten(), labels[list(asked)].flatten()
    bank, known = bank[known > 0], known[known > 0].long()
    queries, wanted = queries[wanted > 0], wanted[wanted > 0]
    right = 0
    for part, truth in zip(queries.split(1024), wanted.split(1024), strict=True):
        near = torch.cdist(part, bank).topk(NEIGHBOURS, largest=False).indices
        votes = torch.nn.functional.one_hot(known[near], len(CLASSES) + 1).sum(1)
        right += int((votes.argmax(1) == truth).sum())
    return right / len(wanted)


def patch_comparison(
    model: VisionTransformer, views: Views, banked: Sequence[int], asked: Sequence[int]
) -> dict[str, float]:
    """Accuracy of DINO tokens and of raw patches (Euclidean in both cases), percent."""
    labels = patch_labels(views.label)
    tokens, raw = (
        neighbour_accuracy(features, labels, banked, asked)
        for features in (patch_tokens(model, views.rgb), raw_patches(views.rgb))
    )
    return {
        "knn_accuracy": percent(tokens),
        "raw_patch_knn_accuracy": percent(raw),
        "points_above_raw": round(100 * (tokens - raw), 1),
    }


def measure_dino(weights: Path, cache: Path) -> dict[str, object]:
    """Label transfer by k nearest neighbours among views of unseen rooms, 90 degrees apart.

    `other_views`: queries and bank are different views of the same rooms (all rooms in one bank),
    which is how the correlation loss uses the features. `other_rooms`: the bank holds none of the
    queries' rooms.
    """
    every = load_views(cache, UNSEEN_SEEDS)
    views = Views(every.rgb[::3], every.label[::3], every.instance[::3])
    model = build_toy_dino(weights / "dino.safetensors")
    numbers = range(len(views.rgb))
    half = len(numbers) // 2
    return {
        "other_views": patch_comparison(model, views, numbers[::2], numbers[1::2]),
        "other_rooms": patch_comparison(model, views, numbers[:half], numbers[half:]),
    }


MEASURES: dict[str, Callable[[Path, Path], dict[str, object]]] = {
    "clip": measure_clip,
    "sam": measure_sam,
    "dino": measure_dino,
}


def main() -> int:
    """Print one JSON object per model asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=sorted(MEASURES), metavar="MODEL")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of the weights")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.models:
        report = MEASURES[name](options.weights, options.cache)
        print(json.dumps({"model": name, **report}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
