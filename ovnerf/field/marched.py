"""What marching by tensor operations finds, before the host knows how many samples there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ovnerf.compute.transfer import to_host
from ovnerf.field.compositing import transmittance
from ovnerf.field.sampling import UNREAD, Samples, WeightedSamples, indices, kept_offsets

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Bool, Float32, Int64
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Marched:
    """Samples of r rays in a fixed number of places p, and which of them are to be kept.

    Places that are left over come last. They belong to a ray r that does not exist, and have no
    length, so that neither values nor gradients depend on them.

    Attributes:
        samples: of all places; `bounds` is empty.
        weight, transmittance: f32 (p,), of each.
        kept: for each set of samples, which places belong to it, bool (p,).
        ends: for each set, i64 (r + 1,), where each ray's samples of this set begin.
        needed: i64 (2,), blocks and samples that there really are.
    """

    samples: Samples
    weight: Float32[Tensor, " p"]
    transmittance: Float32[Tensor, " p"]
    kept: list[Bool[Tensor, " p"]]
    ends: list[Int64[Tensor, " ends"]]
    needed: Int64[Tensor, 2]

    @classmethod
    def of(
        cls,
        samples: Samples,
        depth: Float32[Tensor, " p"],
        needed: Int64[Tensor, 2],
        early_stop_transmittance: float,
        min_weights: Sequence[float],
    ) -> Marched:
        """One set for each of `min_weights`, from what `sampling.march` found.

        A set holds the samples of greater weight up to where the ray's transmittance is not above
        `early_stop_transmittance`. `depth` are the optical depths of the samples.
        """
        offset = samples.offset
        reached = transmittance(depth, offset, samples.ray)
        weight = -torch.expm1(-depth) * reached
        lit = reached > early_stop_transmittance
        kept = [(weight > min_weight) & lit for min_weight in min_weights]
        ends = [kept_offsets(mask, offset) for mask in kept]
        return cls(samples, weight, reached, kept, ends, needed)

    def read(self) -> tuple[NDArray[np.int64], list[int]]:
        """`ends` (sets, r + 1) and `needed` on the host, which waits for the device."""
        host = to_host(torch.cat([*self.ends, self.needed]))
        return host[:-2].reshape(len(self.ends), -1), host[-2:].tolist()

    def keep(self, number: int, bounds: NDArray[np.int64]) -> WeightedSamples:
        """The samples of a set, given its `ends` on the host."""
        index = indices(self.kept[number], int(bounds[-1]))
        samples = self.samples.keep(index, self.ends[number], bounds)
        return WeightedSamples(samples, self.weight[index], self.transmittance[index])

    def keep_in(self, number: int, places: int) -> WeightedSamples:
        """The samples of a set in a fixed number of places, more than it has samples.

        No value is needed on the host; `bounds` is empty. Places that are left over have the points
        of any other samples: that of a single cell would get their gradients, all 0, one by one.
        """
        index = self.kept[number].nonzero_static(size=places, fill_value=-1)[:, 0]
        empty = index < 0
        other = torch.arange(places, device=index.device) % len(self.weight)
        index = torch.where(empty, other, index)
        all_of, ends = self.samples, self.ends[number]
        samples = Samples(
            ends,
            all_of.ray[index].masked_fill(empty, len(ends) - 1),
            all_of.distance[index],
            all_of.delta[index].masked_fill(empty, 0),
            all_of.point[index],
            UNREAD,
        )
        weight = self.weight[index].masked_fill(empty, 0)
        return WeightedSamples(samples, weight, self.transmittance[index])
