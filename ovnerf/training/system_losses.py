"""Losses of the compared systems (docs/method.md#systems)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

DELTA = 1.25
"""Where LERF's Huber loss becomes linear."""


def min_max(cosine: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Where a value lies between two others, in [0, 1]; 0 where the two are equal.

    Args:
        cosine, low, high: of one shape.
    """
    span = high - low
    return torch.where(span > 0, (cosine - low) / span.clamp_min(1e-12), 0)


def jensen_shannon(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Divergence of each row's two distributions, given as natural logarithms (r, C): (r,)."""
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    apart = log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)
    return 0.5 * apart.sum(-1)


def rda_loss(logits: Tensor, scales: Tensor, relevancy: Tensor) -> Tensor:
    """Relevancy-distribution alignment of 3DOVS: mean divergence of field and selected relevancy.

    Args:
        logits: t_c . F of the field, not normalised, (r, C).
        scales: s(r), (r, K). relevancy: in [0, 1] by scale and class (`min_max`), (r, K, C).
    """
    selected = torch.einsum("rk,rkc->rc", scales, relevancy)
    return jensen_shannon(logits.log_softmax(-1), selected.log_softmax(-1)).mean()


def squared_loss(feature: Tensor, target: Tensor) -> Tensor:
    """Mean over rays of the squared distance of two features (r, D) (DFF)."""
    return (feature - target).square().sum(-1).mean()


def huber_loss(feature: Tensor, target: Tensor) -> Tensor:
    """Mean over rays of the summed Huber losses (delta 1.25) of normalised features (r, D) (LERF).

    Args:
        target: not normalised: a mixture of unit vectors.
    """
    unit = functional.normalize(feature, dim=-1)
    return functional.huber_loss(unit, target, reduction="none", delta=DELTA).sum(-1).mean()


def between_scales(pyramid: Tensor, lower: Tensor, share: Tensor) -> Tensor:
    """Features between two neighbouring scales, not renormalised: (r, D).

    Args:
        pyramid: f_k by ascending window side, (r, K, D).
        lower: i64 (r,), the smaller of the two. share: of the larger, in [0, 1].
    """
    ray = torch.arange(len(lower), device=lower.device)
    return torch.lerp(pyramid[ray, lower], pyramid[ray, lower + 1], share[:, None])


def dominant_share(logits: Tensor) -> Tensor:
    """Share of the rays (r, C) whose greatest class is the commonest one; near 1 is a collapse."""
    return logits.argmax(-1).bincount(minlength=logits.shape[-1]).max() / max(1, len(logits))
