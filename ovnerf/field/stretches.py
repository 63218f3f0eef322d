"""Samples of a ray that lie close together, joined to one (docs/method.md#colour-per-voxel)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from ovnerf.field import native
from ovnerf.field.compositing import composite
from ovnerf.field.sampling import UNREAD, Samples, indices, ray_offsets

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32


def begins(samples: Samples, length: float) -> Bool[Tensor, " s"]:
    """Whether a sample is the first of its stretch.

    Stretches are the parts of a ray between neighbouring multiples of `length`, scene units, from
    its origin on. Every empty place is one of its own: all in one, they would be added up one by
    one.
    """
    number, empty = (samples.distance / length).floor(), len(samples.offset) - 1
    other = (samples.ray[1:] != samples.ray[:-1]) | (number[1:] != number[:-1])
    other |= samples.ray[1:] == empty
    return functional.pad(other, (1, 0), value=True)


def joined(
    samples: Samples, weight: Float32[Tensor, " s"], length: float
) -> tuple[Samples, Float32[Tensor, " g"]]:
    """One sample for each stretch that holds samples, and its weight: the sum of theirs.

    It lies at their weighted mean, as if that were fixed: weights get gradients through the sum
    alone. Without the compiled loops there are as many places as samples, so that a host need not
    wait for the number of stretches; those left over weigh nothing and are of no ray.

    Args:
        weight: of each sample, above 0 but for empty places.
        length: of a stretch, scene units.
    """
    if len(samples) == 0:
        return samples, weight
    rays, first = len(samples.offset) - 1, begins(samples, length)
    counted = native.usable(weight)
    start = indices(first, int(first.sum()) if counted else len(first))
    ends = functional.pad(start, (0, 1), value=len(first))
    packed = ends, first.cumsum(0) - 1
    total = composite(weight, torch.ones_like(weight)[:, None], *packed)
    place = torch.cat([samples.distance[:, None], samples.point], -1)
    with torch.no_grad():
        mean = composite(weight, place, *packed) / total
        # Empty places keep the places of any samples: all at one, they would be added one by one.
        mean = torch.where(total > 0, mean, place[: len(mean)])
    ray = functional.pad(samples.ray, (0, 1), value=rays)[start]
    offset = ray_offsets(ray, rays)
    along, point = mean.split([1, 3], -1)
    delta = torch.full_like(total[:, 0], length)
    bounds = offset.numpy() if counted else UNREAD
    return Samples(offset, ray, along[:, 0], delta, point.contiguous(), bounds), total[:, 0]
