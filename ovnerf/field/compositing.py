"""Rendering weights and weighted sums along packed rays (paper Eq. 1-2, docs/method.md#weights)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from ovnerf.compute.order import any_order
from ovnerf.field import native

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Int64


def sum_before(
    value: Float[Tensor, " s"], offset: Int64[Tensor, " ends"], ray: Int64[Tensor, " s"]
) -> Float64[Tensor, " s"]:
    """For each sample, the sum of `value` over the earlier samples of its ray: f64 (s,).

    It is the running sum over all rays less its value where the ray begins, in double precision
    because that difference would lose most digits of a single-precision sum.
    """
    total = value.double().cumsum(0)
    start = functional.pad(total, (1, 0))[offset]
    return total - value.double() - start[ray]


class RenderingWeights(torch.autograd.Function):
    """w_k = T_k (1 - exp(-tau_k)), T_k = exp(-sum_{j<k} tau_j) (paper Eq. 2); tau: optical depth.

    The gradient is written out, which needs fewer tensors of size s than autograd would keep.
    """

    @staticmethod
    def forward(context: Any, depth: Tensor, offset: Tensor, ray: Tensor) -> Tensor:
        transmittance = torch.exp(-sum_before(depth, offset, ray)).to(depth)
        weight = -torch.expm1(-depth) * transmittance
        context.save_for_backward(depth, transmittance, weight, offset, ray)
        return weight

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        depth, transmittance, weight, offset, ray = context.saved_tensors
        product = (gradient * weight).double()
        total = functional.pad(product.cumsum(0), (1, 0))
        ends = torch.cat([offset[1:], offset[-1:]])  # Empty places belong to ray r.
        after = total[ends][ray] - total[1:]
        return gradient * transmittance * torch.exp(-depth) - after.to(depth), None, None


def rendering_weights(
    depth: Float[Tensor, " s"], offset: Int64[Tensor, " ends"], ray: Int64[Tensor, " s"]
) -> Float[Tensor, " s"]:
    """Rendering weights of packed samples, f32 (s,) in [0, 1] (docs/method.md#weights).

    Args:
        depth: optical depth sigma x delta x distance_scale, at least 0.
        offset, ray: as in `Samples`.
    """
    return RenderingWeights.apply(depth, offset, ray)


def transmittance(
    depth: Float[Tensor, " s"], offset: Int64[Tensor, " ends"], ray: Int64[Tensor, " s"]
) -> Float[Tensor, " s"]:
    """T_k: the share of light that is left when a ray reaches sample k, f32 (s,) in [0, 1].

    Arguments as in `rendering_weights`.
    """
    return torch.exp(-sum_before(depth, offset, ray)).to(depth)


class Picked(torch.autograd.Function):
    """value[index] of a vector, where an index that occurs twice gets gradients 0 alone.

    So a gradient is put in its place and nothing is added up, for which torch would sort.
    """

    @staticmethod
    def forward(context: Any, value: Tensor, index: Tensor) -> Tensor:
        context.save_for_backward(index)
        context.size = len(value)
        return value.index_select(0, index)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (index,) = context.saved_tensors
        with any_order():
            return gradient.new_zeros(context.size).scatter_(0, index, gradient), None


class WeightedSum(torch.autograd.Function):
    """`composite` with gradients for weights and values; no (s, d) product is stored."""

    @staticmethod
    def forward(context: Any, weight: Tensor, value: Tensor, offset: Tensor, ray: Tensor) -> Tensor:
        context.save_for_backward(weight, value, offset, ray)
        if native.usable(weight, value):
            return native.ray_sums(weight, value, offset)
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
        weight, value, offset, ray = context.saved_tensors
        if native.usable(gradient, weight, value):
            made = native.ray_sum_gradients(gradient, weight, value, offset)
            needed = zip(made, context.needs_input_grad, strict=False)
            return *(part if wanted else None for part, wanted in needed), None, None
        spread = functional.pad(gradient, (0, 0, 0, 1))[ray]  # Empty places belong to ray r.
        to_weight = (spread * value).sum(-1) if context.needs_input_grad[0] else None
        to_value = spread * weight[:, None] if context.needs_input_grad[1] else None
        return to_weight, to_value, None, None


def composite(
    weight: Float[Tensor, " s"],
    value: Float[Tensor, "s d"],
    offset: Int64[Tensor, " ends"],
    ray: Int64[Tensor, " s"],
) -> Float[Tensor, "ends-1 d"]:
    """Sum over each ray's samples of weight x value, f32 (r, d) (paper Eq. 1).

    Rays without samples give 0. `offset` and `ray` as in `Samples`; offset has r + 1 entries.
    """
    if len(ray) == 0:
        # Zeros that are still computed from their inputs: a loss of them has gradients, all 0.
        return (value.sum(0) + weight.sum()).repeat(len(offset) - 1, 1)
    return WeightedSum.apply(weight, value, offset, ray)
