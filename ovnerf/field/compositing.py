"""Rendering weights and weighted sums along packed rays (paper Eq. 1-2, docs/method.md#weights)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def before(value: Tensor, offset: Tensor, ray: Tensor) -> Tensor:
    """Sum of the earlier samples of the same ray, per sample: f64 (s,).

    One running sum over all rays in double precision, less its value where the ray begins.
    """
    total = value.double().cumsum(0)
    start = functional.pad(total, (1, 0))[offset]
    return total - value.double() - start[ray]


class RenderingWeights(torch.autograd.Function):
    """w_k = T_k (1 - exp(-tau_k)), T_k = exp(-sum_{j<k} tau_j), tau the optical depth (s,)."""

    @staticmethod
    def forward(context: Any, depth: Tensor, offset: Tensor, ray: Tensor) -> Tensor:
        transmittance = torch.exp(-before(depth, offset, ray)).to(depth)
        weight = -torch.expm1(-depth) * transmittance
        context.save_for_backward(depth, transmittance, weight, offset, ray)
        return weight

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        depth, transmittance, weight, offset, ray = context.saved_tensors
        product = (gradient * weight).double()
        total = functional.pad(product.cumsum(0), (1, 0))
        after = total[offset[1:]][ray] - total[1:]
        return gradient * transmittance * torch.exp(-depth) - after.to(depth), None, None


def rendering_weights(depth: Tensor, offset: Tensor, ray: Tensor) -> Tensor:
    """Rendering weights (s,) of packed samples.

    Args:
        depth: optical depth sigma x delta x distance_scale, (s,), at least 0.
        offset, ray: as in `Samples`.
    """
    return RenderingWeights.apply(depth, offset, ray)


def transmittance(depth: Tensor, offset: Tensor, ray: Tensor) -> Tensor:
    """T_k = share of light that reaches sample k, (s,). No gradient."""
    return torch.exp(-before(depth, offset, ray)).to(depth)


class WeightedSum(torch.autograd.Function):
    """Sum over each ray's samples of weight (s,) x value (s, d): (r, d)."""

    @staticmethod
    def forward(context: Any, weight: Tensor, value: Tensor, offset: Tensor, ray: Tensor) -> Tensor:
        context.save_for_backward(weight, value, ray)
        order = torch.arange(len(ray), device=ray.device)
        return functional.embedding_bag(
            order,
            value,
            offset,
            mode="sum",
            per_sample_weights=weight,
            include_last_offset=True,
        )

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, value, ray = context.saved_tensors
        spread = gradient[ray]
        to_weight = (spread * value).sum(-1) if context.needs_input_grad[0] else None
        to_value = spread * weight[:, None] if context.needs_input_grad[1] else None
        return to_weight, to_value, None, None


def composite(weight: Tensor, value: Tensor, offset: Tensor, ray: Tensor) -> Tensor:
    """Weighted sum along each ray: (s,), (s, d) -> (r, d). Rays without samples give 0."""
    if len(ray) == 0:
        return value.new_zeros(len(offset) - 1, value.shape[-1])
    return WeightedSum.apply(weight, value, offset, ray)
