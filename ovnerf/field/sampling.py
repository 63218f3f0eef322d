"""Sample positions along rays: only inside the box and in occupied cells (method 4.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ovnerf.field.occupancy import BLOCK, OccupancyGrid


@dataclass(frozen=True)
class Samples:
    """Packed samples of a batch of r rays, sorted by ray, then by distance.

    Attributes:
        offset: i64 (r + 1,); samples of ray i are offset[i]..offset[i+1]-1.
        ray: i64 (s,). distance: f32 (s,) along the unit direction, scene units.
        delta: f32 (s,) interval lengths; 0 for the last sample of a full-length ray.
        point: f32 (s, 3) normalised to [-1, 1]^3 by the box.
    """

    offset: Tensor
    ray: Tensor
    distance: Tensor
    delta: Tensor
    point: Tensor

    def __len__(self) -> int:
        return len(self.ray)

    def keep(self, mask: Tensor) -> Samples:
        """The samples where `mask` (s,) holds."""
        index = mask.nonzero()[:, 0]
        ray = self.ray[index]
        return Samples(
            ray_offsets(ray, len(self.offset) - 1),
            ray,
            self.distance[index],
            self.delta[index],
            self.point[index],
        )


def ray_offsets(ray: Tensor, rays: int) -> Tensor:
    """Where each ray's samples begin: sorted ray ids (s,) -> i64 (rays + 1,)."""
    return torch.searchsorted(ray, torch.arange(rays + 1, device=ray.device))


def box_entry_exit(origin: Tensor, direction: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
    """Distances (r,) at which rays enter and leave the box (2, 3); exit < entry means a miss."""
    safe = torch.where(direction == 0, torch.full_like(direction, 1e-6), direction)
    one, other = (box[0] - origin) / safe, (box[1] - origin) / safe
    return torch.minimum(one, other).amax(-1), torch.maximum(one, other).amin(-1)


def ray_steps(
    origin: Tensor,
    direction: Tensor,
    box: Tensor,
    step: float,
    limit: int,
    near: float,
    far: float,
    jitter: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Distance f32 (r,) of each ray's first sample, and its number of samples i64 (r,)."""
    entry, leave = box_entry_exit(origin, direction, box)
    begin = entry.clamp(near, far)
    first = begin if jitter is None else begin + jitter * step
    count = (((leave - first) / step).floor() + 1).clamp(0, limit)
    return first, torch.where(leave < entry, torch.zeros_like(count), count).long()


@torch.no_grad()
def march(
    origin: Tensor,
    direction: Tensor,
    box: Tensor,
    step: float,
    limit: int,
    near: float,
    far: float,
    occupancy: OccupancyGrid,
    jitter: Tensor | None = None,
) -> Samples:
    """Samples t_k = t0 + (k + u) step, k < limit, inside the box and in occupied cells.

    Args:
        origin, direction: (r, 3) scene units.
        box: (2, 3). step: sample spacing. limit: S, samples of a full-length ray.
        near, far: clamp the entry distance t0.
        jitter: u in [0, 1), (r,), one per ray in training; None is 0 (evaluation).
    """
    rays = len(origin)
    first, count = ray_steps(origin, direction, box, step, limit, near, far, jitter)
    scale, shift = 2 / (box[1] - box[0]), box[0]

    def normalised(ray: Tensor, distance: Tensor) -> Tensor:
        world = origin[ray] + direction[ray] * distance[:, None]
        return (world - shift) * scale - 1

    blocks = (count + BLOCK - 1) // BLOCK
    block_ray = torch.repeat_interleave(torch.arange(rays, device=origin.device), blocks)
    number = torch.arange(len(block_ray), device=origin.device)
    number = number - (blocks.cumsum(0) - blocks)[block_ray]
    middle = first[block_ray] + (number * BLOCK + (BLOCK - 1) / 2) * step
    active = occupancy.lookup_block(normalised(block_ray, middle)).nonzero()[:, 0]
    block_ray, number = block_ray[active], number[active]

    sample = (number[:, None] * BLOCK + torch.arange(BLOCK, device=origin.device)).flatten()
    ray = block_ray.repeat_interleave(BLOCK)
    inside = (sample < count[ray]).nonzero()[:, 0]
    sample, ray = sample[inside], ray[inside]
    distance = first[ray] + sample * step
    point = normalised(ray, distance)
    hit = (occupancy.lookup(point) & (point.abs().amax(-1) <= 1)).nonzero()[:, 0]
    ray, sample = ray[hit], sample[hit]
    delta = torch.where(sample == limit - 1, 0.0, step).to(distance)
    return Samples(ray_offsets(ray, rays), ray, distance[hit], delta, point[hit])
