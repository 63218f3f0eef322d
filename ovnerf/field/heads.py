"""Decoders of the appearance feature: colour (per sample) and CLIP (once per ray)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from ovnerf.compute.onednn import mkl_is_fast, onednn
from ovnerf.field import native
from ovnerf.field.decoding import Decoded
from ovnerf.field.native import TILE

if TYPE_CHECKING:
    from jaxtyping import Float

STEP = 1024
"""Tiles are padded to a multiple of this many samples: oneDNN compiles for every new size."""


def encode(values: Float[Tensor, "... d"], frequencies: int) -> Float[Tensor, "... encoded"]:
    """Positional encoding: sin(2^k v) of every value v and k below `frequencies`, then the cosines.

    2 d `frequencies` columns (docs/method.md#heads).
    """
    scale = 2.0 ** torch.arange(frequencies, device=values.device)
    scaled = (values[..., None] * scale).flatten(-2)
    return torch.cat([scaled.sin(), scaled.cos()], -1)


class ColourHead(nn.Module):
    """27 features + view direction -> RGB in (0, 1) (docs/method.md#heads).

    Args:
        features: width of the appearance feature.
        width: of the two hidden layers.
        view_pe, fea_pe: frequencies by which direction and feature are encoded; 0 adds nothing.
    """

    def __init__(self, features: int, width: int, view_pe: int = 0, fea_pe: int = 0) -> None:
        super().__init__()
        self.view_pe, self.fea_pe = view_pe, fea_pe
        inputs = features * (1 + 2 * fea_pe) + 3 * (1 + 2 * view_pe)
        first, second = nn.Linear(inputs, width), nn.Linear(width, width)
        last = nn.Linear(width, 3)
        self.layers = nn.Sequential(
            first,
            nn.ReLU(inplace=True),
            second,
            nn.ReLU(inplace=True),
            last,
        )
        nn.init.zeros_(last.bias)

    def forward(
        self, feature: Float[Tensor, "s features"], direction: Float[Tensor, "s 3"]
    ) -> Float[Tensor, "s 3"]:
        """RGB f32 (s, 3) in (0, 1), from features and unit viewing directions of s samples."""
        if feature.device.type != "cpu":
            return torch.sigmoid(self.layers(self.inputs(feature, direction)))
        if mkl_is_fast() and native.usable(feature, direction, *self.layers.parameters()):
            inputs, layers = self.inputs(feature, direction), tuple(self.layers.parameters())
            return Decoded.apply(native.differentiated(inputs, *layers), inputs, *layers)
        tiles = zip(feature.split(TILE), direction.split(TILE), strict=True)
        return torch.sigmoid(torch.cat([self.tile(self.inputs(*part)) for part in tiles]))

    def inputs(
        self, feature: Float[Tensor, "... features"], direction: Float[Tensor, "... 3"]
    ) -> Float[Tensor, "... d"]:
        """What the first layer gets: feature, direction, and their encodings."""
        parts = [feature, direction]
        if self.fea_pe:
            parts.append(encode(feature, self.fea_pe))
        if self.view_pe:
            parts.append(encode(direction, self.view_pe))
        return torch.cat(parts, -1)

    @torch.no_grad()
    def sums(self, inputs: Float[Tensor, "s d"]) -> Float[Tensor, "s 1"]:
        """Of each sample's inputs and of all weights: no number where any of them is none."""
        weights = torch.stack([part.sum() for part in self.layers.parameters()]).sum()
        return inputs.sum(-1, keepdim=True) + weights

    def tile(self, inputs: Float[Tensor, "s d"]) -> Float[Tensor, "s 3"]:
        """The layers on at most `TILE` samples, before the sigmoid."""
        padding = -len(inputs) % STEP
        if padding:
            inputs = functional.pad(inputs, (0, 0, 0, padding))
        blocked = onednn(inputs)
        outputs = self.layers(blocked).to_dense()
        if blocked.is_mkldnn:  # oneDNN's ReLU makes 0 of what is no number; the loss must see it.
            outputs = outputs + 0 * self.sums(inputs)
        return outputs[: len(outputs) - padding] if padding else outputs


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

    def forward(self, feature: Float[Tensor, "... features"]) -> Float[Tensor, "... D"]:
        """CLIP vectors of samples, layer by layer: the head before any algebra."""
        return self.third(self.second(self.first(feature)))

    def matrix(self) -> Float[Tensor, "D d"]:
        """U = [A b], the head as one affine map; differentiable in the layers' parameters."""
        inner = self.second.weight @ self.first.weight
        inner_bias = self.second.weight @ self.first.bias + self.second.bias
        bias = self.third.weight @ inner_bias + self.third.bias
        return torch.cat([self.third.weight @ inner, bias[:, None]], -1)


class ScaleHead(nn.Module):
    """A `ClipHead` whose last layer changes with a scale sigma (docs/method.md#systems).

    There is a last layer for each of some knots, and F(sigma) = sum_k phi_k(sigma) U_k [X; a] with
    hat functions phi_k. With one sigma per ray it commutes with compositing as `ClipHead` does.

    Args:
        features, width, out: as in `ClipHead`. knots: scales in ascending order, two or more.
    """

    knots: Tensor

    def __init__(self, features: int, width: int, out: int, knots: Sequence[float]) -> None:
        super().__init__()
        self.first = nn.Linear(features, width)
        self.second = nn.Linear(width, width)
        self.third = nn.ModuleList(nn.Linear(width, out) for _ in knots)
        self.register_buffer("knots", torch.tensor(knots))

    def forward(self, feature: Float[Tensor, "... features"]) -> Float[Tensor, "... D"]:
        """CLIP vectors of samples at no scale in particular: the mean over the knots."""
        inner = self.second(self.first(feature))
        return torch.stack([third(inner) for third in self.third]).mean(0)

    def matrices(self) -> Float[Tensor, "knots D d"]:
        """U_k of every knot."""
        inner = self.second.weight @ self.first.weight
        inner_bias = self.second.weight @ self.first.bias + self.second.bias
        parts = []
        for third in self.third:
            assert isinstance(third, nn.Linear)
            bias = third.weight @ inner_bias + third.bias
            parts.append(torch.cat([third.weight @ inner, bias[:, None]], -1))
        return torch.stack(parts)

    def matrix(self) -> Float[Tensor, "D d"]:
        """The mean of U_k: the head for readers that know of no scale."""
        return self.matrices().mean(0)

    def matrix_at(self, sigma: Float[Tensor, " n"]) -> Float[Tensor, "n D d"]:
        """U at some scales."""
        return torch.einsum("nk,kdi->ndi", hats(sigma, self.knots), self.matrices())

    def features(
        self, ray: Float[Tensor, "r d"], sigma: Float[Tensor, " r"]
    ) -> Float[Tensor, "r D"]:
        """F of rays u = [X; a], each at a scale of its own; not normalised."""
        share = hats(sigma, self.knots)
        parts = zip(share.unbind(-1), self.matrices(), strict=True)
        return torch.stack([(one[:, None] * ray) @ matrix.T for one, matrix in parts]).sum(0)


def hats(value: Float[Tensor, " n"], knots: Float[Tensor, " k"]) -> Float[Tensor, "n k"]:
    """Shares of the two knots around each value, in linear interpolation; the ends are held."""
    held = value.clamp(knots[0], knots[-1])
    below = (torch.searchsorted(knots, held, right=True) - 1).clamp(0, len(knots) - 2)
    share = (held - knots[below]) / (knots[below + 1] - knots[below])
    out = torch.zeros(len(value), len(knots), device=value.device)
    out.scatter_(1, below[:, None], (1 - share)[:, None])
    return out.scatter_(1, below[:, None] + 1, share[:, None])


def text_scores(
    matrix: Float[Tensor, "D d"], text: Float[Tensor, "C D"], ray: Float[Tensor, "r d"]
) -> Float[Tensor, "r C"]:
    """t_c . F per ray and class (docs/method.md#affine-head); no F, which is (r, D), is made.

    Args:
        matrix: U of `ClipHead.matrix`.
        text: one embedding per class.
        ray: u of `SemanticField.ray_features`.
    """
    return ray @ (text @ matrix).T


def feature_norm(
    matrix: Float[Tensor, "D d"], ray: Float[Tensor, "r d"], floor: float = 1e-8
) -> Float[Tensor, "r 1"]:
    """|F| per ray, at least `floor`, by the Gram matrix of U (docs/method.md#cosine-logits).

    `matrix` and `ray` as in `text_scores`.
    """
    exact, u = matrix.double(), ray.double()  # In f32 the square of a small F could be any number.
    square = torch.einsum("ri,ij,rj->r", u, exact.T @ exact, u)
    return square.clamp_min(floor**2).sqrt().to(ray)[:, None]
