"""Losses of the semantic branch (paper Eq. 3-12, method 3.3, 5, 8)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ovnerf.config import Dino
from ovnerf.stores import VOID


def label_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy over rays with a label; void is ignored; 0 when every ray is void.

    Args:
        logits: (r, C). label: i64 (r,), `VOID` where unknown.
    """
    total = functional.cross_entropy(logits, label, ignore_index=VOID, reduction="sum")
    return total / (label != VOID).sum().clamp_min(1)


def feature_loss(feature: Tensor, scales: Tensor, pyramid: Tensor) -> Tensor:
    """Mean of 1 - cos(F, normalise(sum_k s_k f_k)) (paper L_feat).

    Args:
        feature: composited CLIP features F (r, D). scales: s(r) (r, K).
        pyramid: L2-normalised scale features f_k (r, K, D).
    """
    target = torch.einsum("rk,rkd->rd", scales, pyramid)
    return (1 - functional.cosine_similarity(feature, target, dim=-1)).mean()


def kl_matrix(log_p: Tensor) -> Tensor:
    """D_ij = KL(p_i || p_j) as one product: (k, L, C) -> (k, L, L) (method 13.6)."""
    p = log_p.exp()
    own = (p * log_p).sum(-1)
    return own[..., None] - p @ log_p.transpose(-1, -2)


def js_matrix(log_p: Tensor) -> Tensor:
    """True Jensen-Shannon divergence of all pairs, one row block at a time: (k, L, L)."""
    p = log_p.exp()
    own = (p * log_p).sum(-1)
    blocks = []
    for rows in p.split(64, dim=1):
        mean = 0.5 * (rows[:, :, None] + p[:, None])
        blocks.append((mean * mean.clamp_min(1e-12).log()).sum(-1))
    return 0.5 * (own[:, :, None] + own[:, None]) - torch.cat(blocks, 1)


def correlation_loss(cosine: Tensor, token: Tensor, settings: Dino) -> tuple[Tensor, Tensor]:
    """Feature-distribution alignment: alike in DINO -> alike in class distribution (method 3.3).

    Args:
        cosine: cos(F_i, t_c) of the crops' positions (k, L, C).
        token: DINO tokens at the same positions (k, L, d).

    Returns:
        L_pos and L_neg, unweighted; counts run over all crops together.
    """
    log_p = (cosine / settings.temperature).log_softmax(-1)
    unit = functional.normalize(token, dim=-1)
    alike = unit @ unit.transpose(-1, -2) - settings.shift
    positive, negative = alike.clamp_min(0), alike.clamp_max(0)
    positive = positive / (alike > 0).sum().clamp_min(1)
    negative = negative / (alike < 0).sum().clamp_min(1)
    if settings.divergence == "js":
        divergence = js_matrix(log_p)
        return (positive * divergence).sum(), (negative * divergence).sum()
    return weighted_kl(positive, log_p), weighted_kl(negative, log_p)


def weighted_kl(weight: Tensor, log_p: Tensor) -> Tensor:
    """Sum of W_ij KL(p_i || p_j) for symmetric W without the divergence matrix (method 13.6)."""
    p = log_p.exp()
    own = (p * log_p).sum(-1)
    return (weight.sum(-1) * own).sum() - ((weight @ p) * log_p).sum()
