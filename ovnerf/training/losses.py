"""Losses of the semantic branch (paper Eq. 3-12, docs/method.md#losses)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ovnerf.compute.onednn import onednn
from ovnerf.compute.threads import on_each
from ovnerf.config.semantics import Dino
from ovnerf.field import native
from ovnerf.field.compiled import SUMS, compiled
from ovnerf.field.heads import feature_norm
from ovnerf.labels.void import VOID

BLOCK = 256
"""Positions per side of a block of similarities on a CPU: 256 KiB, which a core's cache holds."""


def label_loss(logits: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy over rays with a label; void is ignored; 0 when every ray is void.

    Args:
        logits: (r, C). label: i64 (r,), `VOID` where unknown.
        weight: of each class, f32 (C,); all weigh 1 when None.
    """
    total = functional.cross_entropy(logits, label, weight, ignore_index=VOID, reduction="sum")
    return total / (label != VOID).sum().clamp_min(1)


def class_weights(label: Tensor, classes: int, balance: float) -> Tensor:
    """Weights f32 (C,) that favour rare classes (docs/method.md#class-balance).

    With n_c of N labelled pixels in class c, w_c = N n_c^-balance / sum_k n_k^(1 - balance), so
    that a labelled pixel weighs 1 on average. Classes without a pixel weigh 0.

    Args:
        label: integers of any shape, the class of each pixel; `VOID` does not count.
    """
    count = torch.bincount(label[label != VOID].flatten().long(), minlength=classes).double()
    weight = torch.where(count > 0, count.clamp_min(1) ** -balance, 0)
    return (weight * count.sum() / (weight * count).sum().clamp_min(1e-12)).float()


def feature_loss(matrix: Tensor, ray: Tensor, scales: Tensor, pyramid: Tensor) -> Tensor:
    """Mean of 1 - cos(F, normalise(sum_k s_k f_k)) (paper L_feat), F = U u.

    By inner products, F . f_k = u . (U' f_k): neither F nor the mixture, which are (r, D), is made
    (docs/method.md#cosines-without-features).

    Args:
        matrix: U of the semantic head, (D, d). ray: u (r, d). scales: s(r) (r, K).
        pyramid: L2-normalised scale features f_k (r, K, D).
    """
    seen = ((pyramid @ matrix) * ray[:, None]).sum(-1)  # F . f_k (r, K)
    gram = pyramid @ pyramid.transpose(1, 2)
    square = torch.einsum("rk,rkl,rl->r", scales, gram, scales)
    length = feature_norm(matrix, ray)[:, 0] * square.clamp_min(1e-16).sqrt()
    return (1 - (scales * seen).sum(-1) / length).mean()


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
    """Feature-distribution alignment: alike in DINO -> alike in class distribution.

    What the published code has for the paper's L_dino (docs/method.md#correlation-loss).

    Args:
        cosine: cos(F_i, t_c) of the crops' positions (k, L, C).
        token: DINO tokens at the same positions (k, L, d).

    Returns:
        L_pos and L_neg, unweighted; counts run over all crops together.
    """
    log_p = (cosine / settings.temperature).log_softmax(-1)
    if settings.divergence == "kl":
        positive, negative = KullbackLeiblerSums.apply(log_p, token, settings.shift)
        return positive, negative
    unit = functional.normalize(token, dim=-1)
    alike = unit @ unit.transpose(-1, -2) - settings.shift
    divergence = js_matrix(log_p)
    positive = (alike.clamp_min(0) * divergence).sum() / (alike > 0).sum().clamp_min(1)
    negative = (alike.clamp_max(0) * divergence).sum() / (alike < 0).sum().clamp_min(1)
    return positive, negative


@contextmanager
def tf32() -> Iterator[None]:
    """On CUDA: tensor cores multiply fp32 matrices, whose entries are rounded to ten bits."""
    products = torch.backends.cuda.matmul
    before = products.fp32_precision
    products.fp32_precision = "tf32"
    try:
        yield
    finally:
        products.fp32_precision = before


class KullbackLeiblerSums(torch.autograd.Function):
    """L_pos and L_neg with KL, without the divergence matrix.

    With W the positive (or negative) part of the similarities, divided by its count, and p' and l'
    for p and log p less their means over the crop, which cancel in every difference below,

        P = (W 1) p' - W p',  Q = (W 1) l' - W l',
        sum_ij W_ij KL(p_i || p_j) = sum_i l'_i . P_i,
        its gradient in log p_i    = P_i + p_i Q_i,

    so W only multiplies [p', l', 1], block by block: W is symmetric, half of the blocks are enough,
    each stays in the cache, and the gradient is ready when the value is. Nothing large cancels, so
    tensor cores are exact enough: they move losses and gradients by less than 1e-3. Derived in
    docs/method.md#correlation-by-moments.
    """

    @staticmethod
    def forward(context: Any, log_p: Tensor, token: Tensor, shift: float) -> Tensor:
        gradient = log_p.new_zeros(2, *log_p.shape)

        total, count = log_p.new_zeros(2, len(token), 2)

        def add(crop: int) -> None:
            q, log_q = log_p[crop].exp(), log_p[crop]
            centred, log_centred = q - q.mean(0), log_q - log_q.mean(0)
            value = torch.cat([centred, log_centred, torch.ones_like(q[:, :1])], -1)
            products = similarity_products(token[crop], value, shift, count[crop])
            for sign, product in enumerate(products):
                by_q, by_log_q, rows = product.split([q.shape[1], q.shape[1], 1], -1)
                apart = rows * centred - by_q
                total[crop, sign] = (log_centred * apart).sum()
                gradient[sign, crop] = apart + q * (rows * log_centred - by_log_q)

        with tf32():
            if log_p.device.type == "cpu":
                on_each(add, range(len(token)))
            else:
                for crop in range(len(token)):
                    add(crop)
        total, count = total.sum(0), count.sum(0).clamp_min(1)
        context.save_for_backward(gradient.div_(count.view(2, 1, 1, 1)))
        return total / count

    @staticmethod
    def backward(context: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = context.saved_tensors
        return torch.einsum("s,sklc->klc", slope, gradient), None, None


def similarity_products(token: Tensor, value: Tensor, shift: float, count: Tensor) -> list[Tensor]:
    """Positive and negative part of (cos(token_i, token_j) - shift), each times `value`.

    Args:
        token: (L, d). value: (L, v).
        count: (2,); the numbers of positive and negative pairs are added to it.

    Returns:
        Two (L, v).
    """
    unit = functional.normalize(token.to(value), dim=-1)
    # A block of a CPU's size; one block on a GPU, where launches cost more than arithmetic.
    side = BLOCK if value.device.type == "cpu" else len(value)
    units = unit.split(side)
    lefts, values = [onednn(part) for part in units], [onednn(part.T) for part in value.split(side)]
    out = value.new_zeros(2, value.shape[1], len(value))
    columns = out.split(side, dim=-1)
    for i in range(len(units)):
        for j in range(i + 1):
            alike = functional.linear(lefts[i], units[j]).to_dense()
            for sign, part in enumerate(signed_parts(alike, shift, 1 if i == j else 2, count)):
                columns[i][sign] += functional.linear(values[j], part).to_dense()
                if i != j:
                    columns[j][sign] += functional.linear(values[i], part.T).to_dense()
    return list(out.transpose(1, 2))


def signed_parts(alike: Tensor, shift: float, times: int, count: Tensor) -> tuple[Tensor, Tensor]:
    """Positive and negative part of (alike - shift), each of the shape (a, b) of `alike`.

    The numbers of their entries, `times` each, are added to `count` (2,).
    """
    if native.usable(alike):
        positive, negative = torch.empty_like(alike), torch.empty_like(alike)
        arrays = native.array(alike), np.float32(shift), positive.numpy(), negative.numpy()
        count += times * torch.tensor(sign_loop(*arrays), dtype=count.dtype)
        return positive, negative
    apart = alike - shift
    parts = apart.clamp_min(0), apart.clamp_max(0)
    count += times * torch.stack([part.count_nonzero() for part in parts])
    return parts


@compiled(**SUMS)
def sign_loop(alike: Any, shift: Any, positive: Any, negative: Any) -> Any:
    """`signed_parts` in one pass; returns how many entries are above and below `shift`."""
    above, below = 0, 0
    for i in range(alike.shape[0]):
        for j in range(alike.shape[1]):
            apart = alike[i, j] - shift
            positive[i, j] = max(apart, np.float32(0))
            negative[i, j] = min(apart, np.float32(0))
            above += apart > 0
            below += apart < 0
    return above, below
