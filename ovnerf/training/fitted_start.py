"""The semantic head's start by least squares (docs/method.md#fitted-start).

While density and appearance are frozen, the ray features u = [X; a] do not change and the head is
an affine map U. The U whose U u is nearest to given vectors is the solution of 28 equations, whose
coefficients are sums over rays: no descent is needed for it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ovnerf.compute.transfer import to_device
from ovnerf.field.heads import ClipHead, text_scores
from ovnerf.labels.void import VOID
from ovnerf.training.batches import PixelBatches
from ovnerf.training.losses import label_loss
from ovnerf.training.semantics import SemanticTraining

BATCHES, BATCH_RAYS = 16, 2048
"""Rays that are fitted: 32 768 pixels, each at most once."""
RIDGE = 1e-5
"""Added to the diagonal of the normal matrix, as a share of its mean."""
FACTORS = torch.logspace(0, 2, 21).tolist()
"""Lengths of the vectors that are tried, for the cross-entropy: 1 to 100."""


def start_fitted(training: SemanticTraining) -> None:
    """Give the head of a training at iteration 0 the map that fits its features and labels best."""
    head = training.field.clip
    assert isinstance(head, ClipHead)  # the settings refuse a head with scales
    ray, target, label = fitted_rays(training)
    matrix = least_squares(ray, target)
    matrix *= best_factor(matrix, ray, label, training.data.text)
    set_affine(head, matrix)


@torch.no_grad()
def fitted_rays(training: SemanticTraining) -> tuple[Tensor, Tensor, Tensor]:
    """Ray features u (n, 28), the vectors they should give (n, D), and labels i64 (n,).

    A vector is the pixel's CLIP feature, averaged over the scales and of unit length, plus the text
    vector of its label where it has one.
    """
    data = training.data
    batches = PixelBatches(len(data.labelled), *data.photos.size, BATCH_RAYS, training.seed)
    per_epoch = max(1, len(data.labelled) * data.photos.size[0] * data.photos.size[1] // BATCH_RAYS)
    rays, targets, labels = [], [], []
    for number in range(min(BATCHES, per_epoch)):
        drawn = batches.at(number)
        slot, row, column = (to_device(part, data.labelled.device) for part in drawn)
        origin, direction = data.photos.rays(data.labelled[slot], row, column)
        samples, weight = training.field.radiance.samples_above_threshold(origin, direction)
        rays.append(training.field.ray_features(samples, weight))
        feature = to_device(data.pyramid.lookup(drawn[0], drawn[2], drawn[1]), origin.device)
        label = training.label[slot, row, column].long()
        known = (label != VOID)[:, None]
        text = torch.where(known, data.text[torch.where(label != VOID, label, 0)], 0)
        targets.append(torch.nn.functional.normalize(feature.mean(1), dim=-1) + text)
        labels.append(label)
    return torch.cat(rays), torch.cat(targets), torch.cat(labels)


def least_squares(ray: Tensor, target: Tensor) -> Tensor:
    """U (D, d) that makes the sum of |U u - t|^2 least, up to `RIDGE`.

    Args:
        ray: u, (n, d). target: t, (n, D).
    """
    square = (ray.T @ ray).double()
    size = len(square)
    square += RIDGE * square.trace() / size * torch.eye(size, device=ray.device)
    return torch.linalg.solve(square, (ray.T @ target).double()).T.float()


def best_factor(matrix: Tensor, ray: Tensor, label: Tensor, text: Tensor) -> float:
    """The factor of `FACTORS` by which U has the least cross-entropy to the labels.

    Cosines do not say how long F should be; the cross-entropy of dot products does.
    """
    scores = text_scores(matrix, text, ray)
    losses = [float(label_loss(factor * scores, label)) for factor in FACTORS]
    return FACTORS[losses.index(min(losses))]


@torch.no_grad()
def set_affine(head: ClipHead, matrix: Tensor) -> None:
    """Set the three layers so that they are the map U = [A b] (D, d + 1).

    A's singular values are shared evenly by the layers, which makes them learn at one pace. What
    the layers have beyond A's rank keeps its random first weights, and is multiplied by 0 in the
    last layer until that learns.
    """
    left, values, right = torch.linalg.svd(matrix[:, :-1], full_matrices=False)
    rank = min(len(values), head.second.out_features)
    share = values[:rank].pow(1 / 3)
    for layer in (head.first, head.second):
        layer.bias.zero_()
    head.first.weight[:rank] = share[:, None] * right[:rank]
    head.second.weight[:rank] = 0
    head.second.weight[:rank, :rank] = torch.diag(share)
    head.third.weight.zero_()
    head.third.weight[:, :rank] = left[:, :rank] * share
    head.third.bias.copy_(matrix[:, -1])
