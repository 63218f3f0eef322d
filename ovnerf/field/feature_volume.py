"""A volume of features that only the semantic head reads (docs/method.md#systems)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ovnerf.field.compositing import composite
from ovnerf.field.sampling import Samples
from ovnerf.field.vm import VectorMatrixGrid

if TYPE_CHECKING:
    from jaxtyping import Float32


class FeatureVolume(nn.Module):
    """Features for the semantic head alone, as wide as the appearance features.

    Args:
        resolution: corners per axis. ranks: components per axis pair. width: of a feature.
        token_width: width of the DINO tokens that a head of their own gives; 0 for no such head.
        generator: draws the grid.
    """

    def __init__(
        self,
        resolution: Sequence[int],
        ranks: Sequence[int],
        width: int,
        token_width: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.grid = VectorMatrixGrid(resolution, ranks, generator)
        self.basis = nn.Linear(sum(ranks), width, bias=False)
        self.dino = nn.Linear(sum(ranks) + 1, token_width, bias=False) if token_width else None

    def products(
        self, samples: Samples, weight: Float32[Tensor, " s"]
    ) -> Float32[Tensor, "r ranks+1"]:
        """Composited products of planes and lines per ray, and last the summed weights."""
        packed = samples.offset, samples.ray
        opacity = composite(weight, torch.ones_like(weight)[:, None], *packed)
        return torch.cat([self.grid.composited(samples.point, weight, *packed), opacity], -1)

    def ray_features(self, products: Float32[Tensor, "r ranks+1"]) -> Float32[Tensor, "r width"]:
        """u = [X; a] of `products`, as the appearance has it."""
        return torch.cat([self.basis(products[:, :-1]), products[:, -1:]], -1)

    def tokens(self, products: Float32[Tensor, "r ranks+1"]) -> Float32[Tensor, "r d"]:
        """DINO tokens of `products`. Not of X: its few channels are for language."""
        assert self.dino is not None
        return self.dino(products)
