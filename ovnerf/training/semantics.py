"""Training of the semantic branch on a frozen density: stages A, B, C (docs/method.md#stages).

One iteration draws rays of labelled pixels, of crops and (stage C) of novel views, and marches them
together, without autograd. It composites the appearance features of each ray's samples to the ray
features u = [X; a], and takes every loss from them. The semantic head is affine in X, so no array
of size samples x D exists (docs/method.md#affine-head).
"""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam

from ovnerf.compute.transfer import to_device
from ovnerf.config.semantics import TrainSemantics
from ovnerf.field.compositing import composite
from ovnerf.field.heads import feature_norm, text_scores
from ovnerf.field.sampling import Samples
from ovnerf.field.semantic_field import SemanticField
from ovnerf.geometry.rays import pixel_rays
from ovnerf.labels.void import VOID
from ovnerf.runtime import notices, progress
from ovnerf.storage.tensors import (
    load_optimiser_tensors,
    load_tensors,
    module_tensors,
    optimiser_tensors,
    save_tensors,
    strip,
)
from ovnerf.training.batches import CropBatches, PixelBatches, crop_side, generator
from ovnerf.training.crops import CELL, cell_directions, crop_rays
from ovnerf.training.feature_terms import FeatureTerms, LabelledRays
from ovnerf.training.loop import LossWatch
from ovnerf.training.losses import class_weights, correlation_loss, label_loss
from ovnerf.training.pseudo_labels import PseudoLabels
from ovnerf.training.semantic_data import SemanticData

LOGGED_STEPS = 100
"""Rows of the log of a whole run."""


def refresh_interval(every: float, iterations: int) -> int:
    """N as a number of iterations, from the share `every` of all `iterations`; at least 1.

    Rounded up: rounded down it would add a refresh just before the end, of which nothing is
    learned. 6 digits count, so that 0.115 x 800 is 92.
    """
    return max(1, ceil(round(every * iterations, 6)))


class SemanticTraining:
    """A semantic training in progress: field, optimiser, labels, iteration, rows of its log.

    Attributes:
        label, novel_label: i32, the present labels of the labelled photos (slots, H, W) and of the
            novel views (views, H, W); the latter is empty before the first refresh.
        empty_rays: share of the latest batch's labelled rays that have no sample.
    """

    def __init__(
        self,
        field: SemanticField,
        data: SemanticData,
        settings: TrainSemantics,
        seed: int,
        pseudo_labels: PseudoLabels | None = None,
    ) -> None:
        """Start at iteration 0; without `pseudo_labels` the first labels stay to the end."""
        self.field, self.data, self.settings, self.seed = field, data, settings, seed
        self.pseudo_labels = pseudo_labels
        self.feature_terms = FeatureTerms(settings, seed)
        self.label = data.label
        self.novel_label = torch.zeros(0, 0, 0, dtype=torch.int32)
        height, width = data.photos.size
        side = crop_side(height, width, settings.dino.crop_side)
        self.pixels = PixelBatches(len(data.labelled), height, width, settings.batch_rays, seed)
        grid = data.tokens.grid
        usable = (height // CELL * CELL, width // CELL * CELL) if grid == CELL else (height, width)
        self.crops = CropBatches(len(data.photos), *usable, side, settings.dino.crops, grid, seed)
        self.directions = cell_directions(data.photos)
        self.joint_start = round(settings.joint_start * settings.iterations)
        self.cse_start = round(settings.cse.start * settings.iterations)
        self.cse_every = refresh_interval(settings.cse.every, settings.iterations)
        self.iteration = 0
        self.rows: list[dict[str, float]] = []
        self.watch = LossWatch("train_semantics")
        self.empty_rays = 0.0
        self.weight: Tensor | None = None
        self.weigh_classes()
        self.new_optimiser()

    def weigh_classes(self) -> None:
        """Weights of the classes by the present labels of the photos; None without balance."""
        if self.settings.class_balance:
            classes = len(self.data.text)
            self.weight = class_weights(self.label, classes, self.settings.class_balance)

    @property
    def joint(self) -> bool:
        """Whether appearance, basis and colour head train (stages B and C)."""
        return self.iteration >= self.joint_start

    def new_optimiser(self) -> None:
        """Replace the optimiser by a fresh Adam over what trains now (docs/method.md#stages)."""
        field, settings = self.field, self.settings
        groups = [(field.clip.parameters(), settings.learning_rate_head)]
        if self.feature_terms.selects_scales:
            groups += [
                (field.scale_selection.parameters(), settings.learning_rate_grid),
                (field.scale_selection_basis.parameters(), settings.learning_rate_head),
            ]
        if field.own is not None:
            groups += [
                (field.own.grid.parameters(), settings.learning_rate_grid),
                (field.own.basis.parameters(), settings.learning_rate_head),
            ]
            if field.own.dino is not None:
                groups.append((field.own.dino.parameters(), settings.learning_rate_head))
        if self.joint:
            radiance = field.radiance
            groups += [
                (radiance.appearance.parameters(), settings.learning_rate_joint_grid),
                (radiance.basis.parameters(), settings.learning_rate_joint_head),
                (radiance.colour.parameters(), settings.learning_rate_joint_head),
            ]
        field.requires_grad_(False)
        described = [
            {"params": [part.requires_grad_() for part in parts], "lr": rate, "initial": rate}
            for parts, rate in groups
        ]
        self.optimiser = Adam(described, betas=(0.9, 0.99), fused=True)
        self.restarted = self.joint_start if self.joint else 0

    def warnings(self) -> dict[str, str]:
        """The entry `warning` of the stage's closing line, where something is odd; else empty."""
        unlabelled = bool((self.label == VOID).all())
        return notices.warning_entry(
            notices.empty_rays(self.empty_rays, "labelled rays of the last batch"),
            "no pixel of the training views has a label" if unlabelled else "",
            *self.idle_cse(),
            self.feature_terms.warning(self.rows),
        )

    def idle_cse(self) -> list[str]:
        """What CSE was asked for and does not do; empty without CSE."""
        if self.pseudo_labels is None:
            return []
        asked, found = self.settings.cse.novel_views, []
        if self.cse_start >= self.settings.iterations:
            found.append("CSE starts after the last iteration and replaces no label")
        if asked and not self.pseudo_labels.novel:
            found.append(f"none of the {asked} novel views asked for could be used")
        return found

    def step(self) -> None:
        """One iteration: refresh the labels if it is due, then take one step of Adam."""
        if self.iteration == self.joint_start:
            self.new_optimiser()
        for group in self.optimiser.param_groups:
            past = (self.iteration - self.restarted) / self.settings.iterations
            group["lr"] = group["initial"] * self.settings.learning_rate_decay**past
        if self.refreshes_now():
            self.refresh_labels()
        losses = self.losses()
        total = torch.stack(list(losses.values())).sum()
        self.optimiser.zero_grad()
        total.backward()
        self.optimiser.step()
        self.iteration += 1
        self.watch.add(total)
        if self.iteration % max(1, self.settings.iterations // LOGGED_STEPS) == 0:
            values = self.watch.look(
                self.iteration, {"total": total, **losses, **self.feature_terms.watched}
            )
            self.rows.append({"iteration": self.iteration, **values})

    def refreshes_now(self) -> bool:
        """Whether labels are replaced before this iteration's losses (docs/method.md#cse)."""
        since = self.iteration - self.cse_start
        return self.pseudo_labels is not None and since >= 0 and since % self.cse_every == 0

    def refresh_labels(self) -> None:
        """Replace the labels by the field's own renders after RSR (docs/method.md#cse)."""
        assert self.pseudo_labels is not None
        progress.log(f"train_semantics: refreshing labels at {self.iteration}")
        label, novel = self.pseudo_labels.refresh()
        self.label, self.novel_label = label.to(self.label), novel.to(self.label)
        self.weigh_classes()
        progress.log("train_semantics: labels refreshed")

    def draw_novel(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rays and labels of random pixels of the novel views, none before the first refresh.

        Returns:
            Origins and directions f32 (r, 3), scene units, and labels i64 (r,).
        """
        device = self.data.photos.pose.device
        if len(self.novel_label) == 0 or self.pseudo_labels is None:
            empty = torch.zeros(0, 3, device=device)
            return empty, empty, torch.zeros(0, dtype=torch.long, device=device)
        views, height, width = self.novel_label.shape
        batches = PixelBatches(views, height, width, self.settings.batch_rays, self.seed + 1)
        view, row, column = (to_device(part, device) for part in batches.at(self.iteration))
        poses = torch.stack([camera.pose for _, camera, _ in self.pseudo_labels.novel])
        photos = self.data.photos
        rays = pixel_rays(poses[view], photos.intrinsics, column, row, photos.ndc)
        return *rays, self.novel_label[view, row, column].long()

    def losses(self) -> dict[str, Tensor]:
        """Weighted losses of this iteration, scalars (docs/method.md#losses).

        A term of weight 0 is left out, with all that it alone would need.
        """
        data, settings, device = self.data, self.settings, self.data.photos.pose.device
        drawn, drawn_crops = self.pixels.at(self.iteration), self.crops.at(self.iteration)
        slot, row, column = (to_device(part, device) for part in drawn)
        photo = data.labelled[slot]
        origin, direction = data.photos.rays(photo, row, column)
        crop_origin, crop_direction = (
            self.crop_rays(*drawn_crops) if settings.dino.crops else (origin[:0], direction[:0])
        )
        novel_origin, novel_direction, novel_label = self.draw_novel()

        samples, weight = self.march(
            torch.cat([origin, crop_origin, novel_origin]),
            torch.cat([direction, crop_direction, novel_direction]),
        )
        # The labelled rays' samples come first; only they are needed one by one.
        front, _ = samples.split(len(origin))
        self.empty_rays = float((np.diff(front.bounds) == 0).mean())
        front_weight = weight[: len(front)]
        feature, every, products = self.features(samples, weight, len(origin))
        ray, crop_ray, novel_ray = every.split([len(origin), len(crop_origin), len(novel_origin)])

        matrix = self.field.clip.matrix()
        losses = {}
        if settings.label_weight:
            label = self.label[slot, row, column].long()
            term = label_loss(self.logits(matrix, ray), label, self.weight)
            losses["label"] = settings.label_weight * term
        rays = LabelledRays(drawn, origin, direction, front, front_weight, ray, products)
        losses |= self.feature_terms.losses(self.field, data, matrix, rays, self.iteration)
        if settings.dino.crops:
            token = to_device(data.tokens.crops(*drawn_crops, self.crops.side), device)
            losses |= self.correlation_losses(matrix, crop_ray, token)
        if self.joint:
            pixel = self.colours(feature, ray, front, front_weight, direction)
            error = (pixel - data.photos.colours(photo, row, column)).square().mean()
            losses["colour"] = settings.colour_weight * error
        if len(novel_ray):
            novel = label_loss(self.logits(matrix, novel_ray), novel_label, self.weight)
            losses["novel"] = settings.novel_weight * novel
        return losses

    def colours(
        self,
        feature: Tensor | None,
        ray: Tensor,
        samples: Samples,
        weight: Tensor,
        direction: Tensor,
    ) -> Tensor:
        """Colours over black f32 (r, 3) of labelled rays, from what `features` made of them."""
        radiance = self.field.radiance
        if radiance.shape.colour_per == "ray":
            return radiance.decode_rays(ray, direction)
        if feature is None:
            return radiance.composited_colour(samples, weight, direction)
        colour = radiance.colour(feature, direction.index_select(0, samples.ray))
        return composite(weight, colour, samples.offset, samples.ray)

    def crop_rays(self, photo: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        """`crop_rays` of crops whose i64 (k,) photos and corners are given on the host."""
        device = self.data.photos.pose.device
        photo, row, column = (to_device(part, device) for part in (photo, row, column))
        return crop_rays(self.data.photos, self.directions, photo, row, column, self.crops.side)

    def correlation_losses(self, matrix: Tensor, ray: Tensor, token: Tensor) -> dict[str, Tensor]:
        """The two weighted terms of the correlation loss (docs/method.md#correlation-loss).

        Args:
            matrix: the semantic head's, f32 (D, 28).
            ray: ray features f32 (k L, 28) of the crops.
            token: DINO tokens f32 (k, L, d) of the same crops.
        """
        scores = text_scores(matrix, self.data.text, ray) / feature_norm(matrix, ray)
        cosine, dino = scores.view(*token.shape[:2], -1), self.settings.dino
        positive, negative = correlation_loss(cosine, token, dino)
        return {
            "dino_positive": dino.positive_weight * positive,
            "dino_negative": dino.negative_weight * negative,
        }

    def march(self, origin: Tensor, direction: Tensor) -> tuple[Samples, Tensor]:
        """Samples of jittered rays whose weight exceeds the threshold, and their weights.

        Without autograd, because the density does not train.
        """
        draw = generator(self.seed, "jitter", self.iteration)
        jitter = to_device(torch.rand(len(origin), generator=draw), origin.device)
        return self.field.radiance.samples_above_threshold(
            origin, direction, jitter, self.data.max_samples
        )

    def features(
        self, samples: Samples, weight: Tensor, labelled: int
    ) -> tuple[Tensor | None, Tensor, Tensor | None]:
        """Ray features of all rays, and what some losses need of the labelled ones, the first.

        Returns:
            Appearance features f32 (s, 27) of the labelled rays' samples, for a colour loss that
            decodes every sample, else None; u f32 (r, 28) of every ray, without gradients in stage
            A unless the head has a volume of its own; and that volume's products of the labelled
            rays (`FeatureVolume.products`), None where it has none.
        """
        field, radiance = self.field, self.field.radiance
        if field.own is None and not (self.joint and radiance.shape.colour_per == "sample"):
            with torch.set_grad_enabled(self.joint):
                return None, field.ray_features(samples, weight), None
        front, back = samples.split(labelled)
        front_weight, back_weight = weight.split([len(front), len(back)])
        with torch.set_grad_enabled(self.joint):
            others = field.ray_features(back, back_weight)
        if field.own is not None:
            products = field.own.products(front, front_weight)
            return None, torch.cat([field.own.ray_features(products), others]), products
        feature = radiance.appearance_features(front)
        summed = torch.cat([feature, feature.new_ones(len(feature), 1)], -1)
        ray = composite(front_weight, summed, front.offset, front.ray)
        return feature, torch.cat([ray, others]), None

    def logits(self, matrix: Tensor, ray: Tensor) -> Tensor:
        """Cross-entropy logits f32 (r, C) of ray features (r, 28): dot products, or cosines / tau.

        `matrix` is the semantic head's, f32 (D, 28).
        """
        scores = text_scores(matrix, self.data.text, ray)
        if self.settings.logits == "dot":
            return scores
        return scores / feature_norm(matrix, ray) / self.settings.logit_temperature

    def save(self, path: Path, digest: str) -> None:
        """Write everything that is needed to go on and end at the same result."""
        header: dict[str, Any] = {
            **self.field.header(),
            "digest": digest,
            "iteration": self.iteration,
            "rows": self.rows,
        }
        tensors = module_tensors(self.field, "field.") | optimiser_tensors(self.optimiser)
        labels = {"label": self.label.int(), "novel_label": self.novel_label.int()}
        save_tensors(path, tensors | labels, header)

    def restore(self, path: Path, digest: str | None) -> bool:
        """Go on from a checkpoint of this digest (any when None); False when there is none."""
        if not path.exists():
            return False
        tensors, header = load_tensors(path)
        if digest is not None and header["digest"] != digest:
            return False
        self.field.load_state_dict(strip(tensors, "field."))
        self.iteration, self.rows = header["iteration"], header["rows"]
        # Saved before the optimiser of the next stage was made, when the iteration is its first.
        stage_iteration = self.iteration
        self.iteration = max(0, stage_iteration - 1)
        self.new_optimiser()
        self.iteration = stage_iteration
        load_optimiser_tensors(self.optimiser, tensors)
        self.label = tensors["label"].to(self.label)
        self.novel_label = tensors["novel_label"].to(self.label)
        self.weigh_classes()
        return True
