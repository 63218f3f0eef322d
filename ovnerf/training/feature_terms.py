"""The losses of labelled rays to the encoder's features, ours and those of the compared systems."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ovnerf.compute.transfer import to_device
from ovnerf.config.semantics import TrainSemantics
from ovnerf.field.field import SemanticField
from ovnerf.field.heads import text_scores
from ovnerf.field.sampling import Samples
from ovnerf.training.losses import feature_loss
from ovnerf.training.semantic_data import SemanticData
from ovnerf.training.system_losses import dominant_share, min_max, rda_loss, squared_loss


@dataclass(frozen=True)
class LabelledRays:
    """Rays of labelled pixels.

    Attributes:
        drawn: slot, row and column of each pixel, i64 (r,) each, on the host.
        samples, weight: of the rays.
        feature: ray features u, f32 (r, 28).
    """

    drawn: tuple[Tensor, Tensor, Tensor]
    samples: Samples
    weight: Tensor
    feature: Tensor


class FeatureTerms:
    """The losses to the encoder's features that the settings give a weight.

    Attributes:
        watched: scalars of the latest batch that are logged beside the losses.
    """

    def __init__(self, data: SemanticData, settings: TrainSemantics) -> None:
        self.data, self.settings = data, settings
        self.watched: dict[str, Tensor] = {}

    @property
    def selects_scales(self) -> bool:
        """Whether a loss reads s(r), so that the scale-selection volume trains."""
        settings = self.settings
        selects = settings.feature_weight > 0 and settings.feature_target == "selected"
        return selects or settings.rda_weight > 0

    def losses(self, field: SemanticField, matrix: Tensor, rays: LabelledRays) -> dict[str, Tensor]:
        """Weighted losses, scalars by name; none where no weight asks for any.

        Args:
            matrix: the semantic head's, f32 (D, 28).
        """
        losses = self.selected_losses(field, matrix, rays) if self.selects_scales else {}
        if self.settings.feature_weight and self.settings.feature_target == "cells":
            slot, row, column = rays.drawn
            target = to_device(self.data.pyramid.interpolated(slot, column, row), matrix.device)
            term = squared_loss(rays.feature @ matrix.T, target)
            losses["feature"] = self.settings.feature_weight * term
        return losses

    def selected_losses(
        self, field: SemanticField, matrix: Tensor, rays: LabelledRays
    ) -> dict[str, Tensor]:
        """Weighted losses to the features of all scales, of which s(r) selects a mixture."""
        settings, losses, device = self.settings, {}, rays.feature.device
        slot, row, column = rays.drawn
        target = to_device(self.data.pyramid.lookup(slot, column, row), device)
        scales = field.scale_weights(rays.samples, rays.weight)
        if settings.feature_weight and settings.feature_target == "selected":
            term = feature_loss(rays.feature @ matrix.T, scales, target)
            losses["feature"] = settings.feature_weight * term
        if settings.rda_weight:
            assert self.data.extremes is not None
            logits = text_scores(matrix, self.data.text, rays.feature)
            cosine = torch.einsum("rkd,cd->rkc", target, self.data.text)
            extremes = self.data.extremes[to_device(slot, device)]
            relevancy = min_max(cosine, *extremes.unbind(-1))
            losses["rda"] = settings.rda_weight * rda_loss(logits, scales, relevancy)
            self.watched["dominant_share"] = dominant_share(logits)
        return losses
