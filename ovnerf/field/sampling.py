"""Sample positions along rays: inside the box, in occupied cells (docs/method.md#sampling)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ovnerf.field.occupancy import BLOCK, OccupancyGrid

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64


UNREAD = np.zeros(0, np.int64)
"""Stands for `Samples.bounds` where the host has not asked the device for them."""


@dataclass(frozen=True)
class Samples:
    """Packed samples of a batch of r rays, sorted by ray, then by distance.

    Attributes:
        offset: i64 (r + 1,); samples of ray i are offset[i]..offset[i+1]-1.
        ray: i64 (s,). distance: f32 (s,) along the unit direction, scene units.
        delta: f32 (s,) interval lengths; 0 for the last sample of a full-length ray.
        point: f32 (s, 3) normalised to [-1, 1]^3 by the box.
        bounds: `offset` as an array on the host, where reading it does not wait for the device;
            `UNREAD` before it was read.
    """

    offset: Int64[Tensor, " ends"]
    ray: Int64[Tensor, " s"]
    distance: Float32[Tensor, " s"]
    delta: Float32[Tensor, " s"]
    point: Float32[Tensor, "s 3"]
    bounds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ray)

    def keep(self, index: Tensor, offset: Tensor, bounds: NDArray[np.int64]) -> Samples:
        """The samples at `index` i64 (k,), ascending.

        `offset` and `bounds` are the result's, which the caller knows already.
        """
        return Samples(
            offset,
            self.ray.index_select(0, index),
            self.distance.index_select(0, index),
            self.delta.index_select(0, index),
            self.point.index_select(0, index),
            bounds,
        )

    def split(self, count: int) -> tuple[Samples, Samples]:
        """The samples of the first `count` rays and of the other rays, which then count from 0."""
        end = int(self.bounds[count])
        first = Samples(
            self.offset[: count + 1],
            self.ray[:end],
            self.distance[:end],
            self.delta[:end],
            self.point[:end],
            self.bounds[: count + 1],
        )
        rest = Samples(
            self.offset[count:] - end,
            self.ray[end:] - count,
            self.distance[end:],
            self.delta[end:],
            self.point[end:],
            self.bounds[count:] - end,
        )
        return first, rest


@dataclass(frozen=True)
class WeightedSamples:
    """Samples with their rendering weights w, f32 (s,), and transmittances T, f32 (s,)."""

    samples: Samples
    weight: Float32[Tensor, " s"]
    transmittance: Float32[Tensor, " s"]


@dataclass
class SampleCapacity:
    """How large the buffers of a march must be, learned from earlier marches.

    How many blocks and samples a batch has is known on the device only, and asking for it makes the
    host wait. Buffers are therefore allocated before it is known, a quarter larger than any batch
    of as many rays has needed so far; afterwards `fits` says whether they were large enough.
    """

    needed: dict[int, tuple[int, int]] = field(default_factory=dict)

    def of(self, rays: int) -> tuple[int, int]:
        """Buffer sizes for this many rays: blocks, samples."""
        blocks, samples = self.needed.get(rays, (4 * rays, 32 * rays))
        return blocks + blocks // 4, samples + samples // 4

    def fits(self, rays: int, blocks: int, samples: int) -> bool:
        """Whether the buffers held this many blocks and samples; remembers both for next time."""
        place = self.of(rays)
        known = self.needed.get(rays, (0, 0))
        self.needed[rays] = max(blocks, known[0]), max(samples, known[1])
        return blocks <= place[0] and samples <= place[1]


def ray_offsets(ray: Tensor, rays: int) -> Tensor:
    """Where each ray's samples begin: sorted ray ids (s,) -> i64 (rays + 1,)."""
    return torch.searchsorted(ray, torch.arange(rays + 1, device=ray.device))


def kept_offsets(mask: Tensor, offset: Tensor) -> Tensor:
    """`offset` after samples where `mask` (s,) does not hold are dropped."""
    return functional.pad(mask.cumsum(0), (1, 0))[offset]


def box_entry_exit(
    origin: Float32[Tensor, "r 3"], direction: Float32[Tensor, "r 3"], box: Float32[Tensor, "2 3"]
) -> tuple[Float32[Tensor, " r"], Float32[Tensor, " r"]]:
    """Distances at which rays enter and leave a box, scene units; exit < entry means a miss."""
    safe = torch.where(direction == 0, torch.full_like(direction, 1e-6), direction)
    one, other = (box[0] - origin) / safe, (box[1] - origin) / safe
    return torch.minimum(one, other).amax(-1), torch.maximum(one, other).amin(-1)


@dataclass(frozen=True)
class Rays:
    """A batch of rays, and where on them samples may lie: t_k = first + k step, k < count.

    Attributes:
        origin, direction: f32 (r, 3), scene units.
        first: f32 (r,) distance of the first sample. count: i64 (r,).
        step: sample spacing. max_samples: S, samples of a full-length ray.
    """

    origin: Float32[Tensor, "r 3"]
    direction: Float32[Tensor, "r 3"]
    first: Float32[Tensor, " r"]
    count: Int64[Tensor, " r"]
    step: float
    max_samples: int

    def __len__(self) -> int:
        return len(self.origin)

    @classmethod
    def inside(
        cls,
        box: Float32[Tensor, "2 3"],
        origin: Float32[Tensor, "r 3"],
        direction: Float32[Tensor, "r 3"],
        jitter: Float32[Tensor, " r"] | None,
        step: float,
        max_samples: int,
        near: float,
        far: float,
    ) -> Rays:
        """Rays with samples inside the box, at most `max_samples` a ray.

        Args:
            jitter: in [0, 1), by how many steps a ray's samples move; None is 0 (evaluation).
            near, far: clamp the distance at which a ray enters, scene units. In evaluation a ray
                that would end before it leaves the box begins where it enters, however far that is.
        """
        entry, leave = box_entry_exit(origin, direction, box)
        begin = entry.clamp(near, far)
        if jitter is None:
            # Cameras of films and viewers may be anywhere. All other rays keep their samples.
            cut = (entry > far) & (((leave - begin) / step).floor() >= max_samples)
            begin = torch.where(cut, entry, begin)
        first = begin if jitter is None else begin + jitter * step
        count = (((leave - first) / step).floor() + 1).clamp(0, max_samples)
        count = torch.where(leave < entry, torch.zeros_like(count), count).long()
        return cls(origin, direction, first, count, step, max_samples)


def indices(mask: Bool[Tensor, " s"], size: int) -> Int64[Tensor, " found"]:
    """The first `size` indices at which `mask` holds, ascending, padded with s to min(size, s).

    The size is given so that the host need not wait for the device to count.
    """
    return mask.nonzero_static(size=min(size, len(mask)), fill_value=len(mask))[:, 0]


@torch.no_grad()
def march(
    rays: Rays,
    box: Float32[Tensor, "2 3"],
    occupancy: OccupancyGrid,
    capacity: tuple[int, int],
) -> tuple[Samples, Int64[Tensor, 2]]:
    """The samples of r rays that lie in occupied cells.

    Args:
        box: scene units; `occupancy` divides it into cells.
        capacity: buffer sizes, in blocks and in samples. What does not fit is left out, so the
            caller must compare them with the counts that are returned.

    Returns:
        The samples, filled up to the buffer's size with entries of ray r and delta 0, `bounds`
        unread; and how many blocks and samples there really are, i64 (2,).
    """
    origin, direction, step, max_samples = rays.origin, rays.direction, rays.step, rays.max_samples
    device = origin.device
    scale, shift = 2 / (box[1] - box[0]), box[0]

    def normalised(ray: Tensor, distance: Tensor) -> Tensor:
        world = origin[ray] + direction[ray] * distance[..., None]
        return (world - shift) * scale - 1

    per_ray = (max_samples + BLOCK - 1) // BLOCK
    number = torch.arange(len(rays) * per_ray, device=device)
    ray, number = number // per_ray, number % per_ray
    middle = rays.first[ray] + (number * BLOCK + (BLOCK - 1) / 2) * step
    active = occupancy.lookup_block(normalised(ray, middle)) & (number * BLOCK < rays.count[ray])
    block = indices(active, capacity[0])

    # Rows past the last block belong to a ray r of no samples.
    count = functional.pad(rays.count, (0, 1))
    sample = (block % per_ray)[:, None] * BLOCK + torch.arange(BLOCK, device=device)
    ray = (block // per_ray)[:, None].expand_as(sample)
    real = ray.clamp_max(len(rays) - 1)
    distance = rays.first[real] + sample * step
    point = normalised(real, distance)
    hit = occupancy.lookup(point.view(-1, 3)) & (
        (sample < count[ray]) & (point.abs().amax(-1) <= 1)
    ).view(-1)
    index = indices(hit, capacity[1])

    def packed(value: Tensor, fill: int) -> Tensor:
        return functional.pad(value.reshape(-1), (0, 1), value=fill)[index]

    delta = torch.where(sample == max_samples - 1, 0.0, step).to(distance)
    point = functional.pad(point.view(-1, 3), (0, 0, 0, 1))[index]
    found = torch.stack([active.sum(), hit.sum()])
    ray = packed(ray, len(rays))
    offset = ray_offsets(ray, len(rays))
    return Samples(offset, ray, packed(distance, 0), packed(delta, 0), point, UNREAD), found
