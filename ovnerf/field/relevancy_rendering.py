"""Labels of a field whose semantic head knows scales, by LERF's rule (docs/method.md#systems)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ovnerf.field.heads import ScaleHead, feature_norm
from ovnerf.field.rendering import ViewWeights
from ovnerf.field.semantic_field import SemanticField

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64


@dataclass(frozen=True)
class ScaleTables:
    """The semantic head at some scales, reduced to what scores need.

    Attributes:
        matrix: U at each scale, (n, D, 28).
        reduced: U^T t of the classes, then of the phrases, (n, C + P, 28).
        classes: C.
    """

    matrix: Float32[Tensor, "n D d"]
    reduced: Float32[Tensor, "n vectors d"]
    classes: int

    def cosines(self, ray: Float32[Tensor, "r d"]) -> Iterator[Float32[Tensor, "r vectors"]]:
        """Cosines of rays with classes and phrases, one scale after another."""
        for matrix, reduced in zip(self.matrix, self.reduced, strict=True):
            yield ray @ reduced.T / feature_norm(matrix, ray)

    def margins(self, ray: Float32[Tensor, "r d"]) -> Iterator[Float32[Tensor, "r C"]]:
        """How much more a ray is like a class than like any phrase, one scale after another.

        Its sigmoid at temperature 10 is LERF's relevancy, which orders classes and scales alike.
        """
        for cosine in self.cosines(ray):
            phrase = cosine[:, self.classes :].amax(-1, keepdim=True)
            yield cosine[:, : self.classes] - phrase


def scale_tables(
    head: ScaleHead,
    text: Float32[Tensor, "C D"],
    phrases: Float32[Tensor, "P D"],
    sigmas: Float32[Tensor, " n"],
) -> ScaleTables:
    """The tables of a head at some scales."""
    matrix = head.matrix_at(sigmas)
    return ScaleTables(matrix, torch.cat([text, phrases]) @ matrix, len(text))


@torch.no_grad()
def render_relevancy(
    field: SemanticField,
    view: ViewWeights,
    text: Float32[Tensor, "C D"],
    phrases: Float32[Tensor, "P D"],
    sigmas: Float32[Tensor, " n"],
    void: int,
) -> tuple[Int64[Tensor, " r"], Int64[Tensor, " r"]]:
    """Labels of every ray by relevancy, and by the mean cosine over the scales.

    Relevancy: each class is looked at, at the scale at which its map has the largest maximum in
    this view, and a ray takes the class of the greatest relevancy.

    Args:
        text, phrases: unit vectors. sigmas: the scales that are tried, scene units.
        void: label of rays without samples.
    """
    assert isinstance(field.clip, ScaleHead)
    tables = scale_tables(field.clip, text, phrases, sigmas)
    rays = [
        (part, field.ray_features(samples, weight))
        for part, samples, weight in view.tiles(field.radiance.box)
    ]
    best = best_scales(tables, [ray for _, ray in rays])
    labels = torch.full((len(view.origin),), void, device=view.origin.device)
    by_cosine = labels.clone()
    for part, ray in rays:
        seen = ray[:, -1] > 0
        margin = torch.full((len(ray), len(text)), -torch.inf, device=ray.device)
        for scale, found in enumerate(tables.margins(ray)):
            margin = torch.where(best == scale, found, margin)
        labels[part] = torch.where(seen, margin.argmax(-1), void)
        total = torch.zeros_like(margin)
        for cosine in tables.cosines(ray):
            total += cosine[:, : len(text)]
        by_cosine[part] = torch.where(seen, total.argmax(-1), void)
    return labels, by_cosine


def best_scales(tables: ScaleTables, rays: list[Tensor]) -> Int64[Tensor, " C"]:
    """For each class the scale whose map has the largest maximum; the smallest of equals.

    Args:
        rays: ray features (r, 28) each, of one view; those without samples do not count.
    """
    count = len(tables.matrix), tables.classes
    maxima = torch.full(count, -torch.inf, device=tables.matrix.device)
    for ray in rays:
        ray = ray[ray[:, -1] > 0]
        if len(ray):
            for scale, margin in enumerate(tables.margins(ray)):
                maxima[scale] = torch.maximum(maxima[scale], margin.amax(0))
    return maxima.argmax(0)
