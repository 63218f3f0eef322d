"""The losses of labelled rays to the encoder's features, ours and those of the compared systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ovnerf.compute.transfer import to_device
from ovnerf.config.semantics import TrainSemantics
from ovnerf.encoders.pyramid import PyramidFeatures
from ovnerf.field.compositing import composite
from ovnerf.field.heads import ScaleHead, text_scores
from ovnerf.field.sampling import Samples
from ovnerf.field.semantic_field import SemanticField
from ovnerf.training.batches import generator
from ovnerf.training.crops import CachedTokens
from ovnerf.training.data import Photos
from ovnerf.training.losses import feature_loss
from ovnerf.training.semantic_data import SemanticData
from ovnerf.training.system_losses import (
    between_scales,
    dominant_share,
    huber_loss,
    min_max,
    rda_loss,
    squared_loss,
)

COLLAPSE = 0.6
"""No class covers so much of an indoor scene; walls take about a third."""


@dataclass(frozen=True)
class LabelledRays:
    """Rays of labelled pixels.

    Attributes:
        drawn: slot, row and column of each pixel, i64 (r,) each, on the host.
        origin, direction: f32 (r, 3), scene units, warped in a forward-facing scene.
        samples, weight: of the rays.
        feature: ray features u, f32 (r, 28).
        products: of the head's own volume, f32 (r, ranks + 1); None without one.
    """

    drawn: tuple[Tensor, Tensor, Tensor]
    origin: Tensor
    direction: Tensor
    samples: Samples
    weight: Tensor
    feature: Tensor
    products: Tensor | None

    def mean_distance(self) -> Tensor:
        """Weighted mean distance of each ray's samples, f32 (r,); 0 without samples."""
        of_both = torch.stack([self.samples.distance, torch.ones_like(self.weight)], -1)
        packed = self.samples.offset, self.samples.ray
        total, opacity = composite(self.weight, of_both, *packed).unbind(-1)
        return total / opacity.clamp_min(1e-6)


class FeatureTerms:
    """The losses to the encoder's features that the settings give a weight.

    Attributes:
        watched: scalars of the latest batch that are logged beside the losses.
    """

    def __init__(self, settings: TrainSemantics, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.watched: dict[str, Tensor] = {}

    @property
    def selects_scales(self) -> bool:
        """Whether a loss reads s(r), so that the scale-selection volume trains."""
        settings = self.settings
        selects = settings.feature_weight > 0 and settings.feature_target == "selected"
        return selects or settings.rda_weight > 0

    @staticmethod
    def warning(rows: Sequence[Mapping[str, float]]) -> str:
        """What is odd about the last tenth of a log's rows; empty for nothing.

        A single batch would miss a collapse: the share of its commonest class wanders.
        """
        last = rows[-max(1, len(rows) // 10) :]
        share = sum(row.get("dominant_share", 0) for row in last) / max(1, len(last))
        return f"one class takes {share:.0%} of the rays: a collapse" if share > COLLAPSE else ""

    def losses(
        self,
        field: SemanticField,
        data: SemanticData,
        matrix: Tensor,
        rays: LabelledRays,
        iteration: int,
    ) -> dict[str, Tensor]:
        """Weighted losses, scalars by name; none where no weight asks for any.

        Args:
            matrix: the semantic head's, f32 (D, 28).
        """
        losses = self.selected_losses(field, data, matrix, rays) if self.selects_scales else {}
        if self.settings.feature_weight and self.settings.feature_target == "cells":
            slot, row, column = rays.drawn
            target = to_device(data.pyramid.interpolated(slot, column, row), matrix.device)
            term = squared_loss(rays.feature @ matrix.T, target)
            losses["feature"] = self.settings.feature_weight * term
        if self.settings.feature_weight and self.settings.feature_target == "random_scale":
            term = self.random_scale_loss(field, data, rays, iteration)
            losses["feature"] = self.settings.feature_weight * term
        if self.settings.dino_feature_weight:
            term = token_loss(field, data, rays)
            losses["dino_feature"] = self.settings.dino_feature_weight * term
        return losses

    def random_scale_loss(
        self, field: SemanticField, data: SemanticData, rays: LabelledRays, iteration: int
    ) -> Tensor:
        """LERF's loss: each ray at a random scale (docs/method.md#systems)."""
        assert isinstance(field.clip, ScaleHead)
        device, photos = rays.feature.device, data.photos
        ascending = by_side(data.pyramid)
        slot, row, column = rays.drawn
        draw = generator(self.seed, "scale", iteration)
        intervals = len(ascending) - 1
        lower = torch.randint(intervals, slot.shape, generator=draw)
        share = torch.rand(slot.shape, generator=draw)
        pyramid = data.pyramid.lookup(slot, column, row)[:, ascending]
        lower, share = (to_device(part, device) for part in (lower, share))
        target = between_scales(to_device(pyramid, device), lower, share)
        photo = data.labelled[to_device(slot, device)]
        distance = reach(photos, photo, rays.origin, rays.direction, rays.mean_distance())
        pixels = photos.size[0] / photos.intrinsics[1, 1]
        sigma = (lower + share) / intervals * pixels * distance
        return huber_loss(field.clip.features(rays.feature, sigma), target)

    def selected_losses(
        self, field: SemanticField, data: SemanticData, matrix: Tensor, rays: LabelledRays
    ) -> dict[str, Tensor]:
        """Weighted losses to the features of all scales, of which s(r) selects a mixture."""
        settings, losses, device = self.settings, {}, rays.feature.device
        slot, row, column = rays.drawn
        target = to_device(data.pyramid.lookup(slot, column, row), device)
        scales = field.scale_weights(rays.samples, rays.weight)
        if settings.feature_weight and settings.feature_target == "selected":
            term = feature_loss(matrix, rays.feature, scales, target)
            losses["feature"] = settings.feature_weight * term
        if settings.rda_weight:
            assert data.extremes is not None
            logits = text_scores(matrix, data.text, rays.feature)
            cosine = torch.einsum("rkd,cd->rkc", target, data.text)
            extremes = data.extremes[to_device(slot, device)]
            relevancy = min_max(cosine, *extremes.unbind(-1))
            losses["rda"] = settings.rda_weight * rda_loss(logits, scales, relevancy)
            self.watched["dominant_share"] = dominant_share(logits)
        return losses


def reach(
    photos: Photos, photo: Tensor, origin: Tensor, direction: Tensor, distance: Tensor
) -> Tensor:
    """Distances f32 (r,) from the cameras, with the warp of a forward-facing scene undone."""
    if photos.ndc is None:
        return distance
    point = photos.ndc.inverse_points(origin + direction * distance[:, None])
    return (point - photos.pose[photo, :3, 3]).norm(dim=-1)


def token_loss(field: SemanticField, data: SemanticData, rays: LabelledRays) -> Tensor:
    """Mean squared distance of the second head's tokens to the cached ones of unit length."""
    assert field.own is not None and rays.products is not None
    assert isinstance(data.tokens, CachedTokens)
    slot, row, column = rays.drawn
    photo = data.labelled[to_device(slot, data.labelled.device)]
    token = to_device(data.tokens.at(photo, row, column), rays.feature.device)
    return squared_loss(field.own.tokens(rays.products), token)


def by_side(pyramid: PyramidFeatures) -> list[int]:
    """The pyramid's scales by ascending window side."""
    return sorted(range(len(pyramid.grids)), key=lambda scale: pyramid.grids[scale].side)
