"""Decoders of the appearance feature: colour (per sample) and CLIP (once per ray)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ovnerf.compute.onednn import onednn

TILE = 4096
"""Samples that a CPU decodes at once: a layer's activations, 2 MB, stay in its cache."""
STEP = 1024
"""Tiles are filled up to a multiple of so many samples, because every new size costs oneDNN."""


class ColourHead(nn.Module):
    """27 features + view direction -> RGB in (0, 1) (docs/method.md#heads)."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features + 3, width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width),
            nn.ReLU(inplace=True),
            nn.Linear(width, 3),
        )
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, feature: Tensor, direction: Tensor) -> Tensor:
        """(s, features), (s, 3) -> (s, 3)."""
        known = torch.cat([feature, direction], -1)
        if known.device.type != "cpu":
            return torch.sigmoid(self.layers(known))
        return torch.sigmoid(torch.cat([self.tile(part) for part in known.split(TILE)]))

    def tile(self, known: Tensor) -> Tensor:
        """The layers on at most `TILE` samples."""
        spare = -len(known) % STEP
        if spare:
            known = functional.pad(known, (0, 0, 0, spare))
        made = self.layers(onednn(known)).to_dense()
        return made[: len(made) - spare] if spare else made


class ClipHead(nn.Module):
    """Three linear layers without activation: an affine map 27 -> D (docs/method.md#heads).

    Being affine it commutes with compositing (docs/method.md#affine-head): with X the composited
    feature and a the summed weights of a ray, the composited CLIP vector is A X + b a = U [X; a].
    The three layers stay the parameters, because Adam on A would be another optimiser.
    """

    def __init__(self, features: int, width: int, out: int) -> None:
        super().__init__()
        self.first = nn.Linear(features, width)
        self.second = nn.Linear(width, width)
        self.third = nn.Linear(width, out)

    def forward(self, feature: Tensor) -> Tensor:
        """The head applied literally, per sample: (s, features) -> (s, D)."""
        return self.third(self.second(self.first(feature)))

    def matrix(self) -> Tensor:
        """U = [A b] (D, features + 1), differentiable in the layers' parameters."""
        inner = self.second.weight @ self.first.weight
        inner_bias = self.second.weight @ self.first.bias + self.second.bias
        bias = self.third.weight @ inner_bias + self.third.bias
        return torch.cat([self.third.weight @ inner, bias[:, None]], -1)


def text_scores(matrix: Tensor, text: Tensor, ray: Tensor) -> Tensor:
    """t_c . F per ray and class without forming F: U (D, 28), text (C, D), u (r, 28) -> (r, C)."""
    return ray @ (text @ matrix).T


def feature_norm(matrix: Tensor, ray: Tensor, floor: float = 1e-8) -> Tensor:
    """|F| per ray (r, 1), at least `floor`, by the Gram matrix (docs/method.md#cosine-logits)."""
    square = torch.einsum("ri,ij,rj->r", ray, matrix.T @ matrix, ray)
    return square.clamp_min(floor**2).sqrt()[:, None]
