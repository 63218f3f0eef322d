"""The semantic branch on a frozen density: stages A, B and C (docs/method.md#stages).

One `step` is: draw rays of labelled pixels, of crops and (stage C) of novel views; march them all
at once without autograd; composite the appearance feature to u = [X; a] per ray; take every loss
from u. Nothing of size samples x D or rays x samples x D exists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Adam

from ovnerf.compute.transfer import to_device
from ovnerf.config.semantics import TrainSemantics
from ovnerf.encoders.pyramid import PyramidFeatures
from ovnerf.field.compositing import composite
from ovnerf.field.field import SemanticField
from ovnerf.field.heads import feature_norm, text_scores
from ovnerf.field.sampling import Samples
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
from ovnerf.training.data import Photos
from ovnerf.training.loop import LossWatch
from ovnerf.training.losses import correlation_loss, feature_loss, label_loss
from ovnerf.training.pseudo_labels import PseudoLabels

CELL = 8
"""Pixels per side of a DINO token, and of a crop's averaged ray."""
LOGGED_STEPS = 100


class Tokens(Protocol):
    """DINO tokens of crops: cached, or computed from the crop (the paper's way)."""

    grid: int
    """Crop offsets must be multiples of this many pixels."""

    def crops(self, frame: Tensor, row: Tensor, column: Tensor, side: int) -> Tensor:
        """Tokens (k, (side / 8)^2, d) of square crops; indices of the host or of the device."""
        ...


@dataclass(frozen=True)
class CachedTokens:
    """Tokens cut from those of whole images, (n, h, w, d).

    An approximation (docs/method.md#dino-tokens). They stay where `token` is, until a crop is
    asked for.
    """

    token: Tensor
    grid: int = CELL

    def crops(self, frame: Tensor, row: Tensor, column: Tensor, side: int) -> Tensor:
        """See `Tokens`."""
        frame, row, column = (to_device(part, self.token.device) for part in (frame, row, column))
        span = torch.arange(side // CELL, device=frame.device)
        rows = (row // CELL)[:, None, None] + span[:, None]
        columns = (column // CELL)[:, None, None] + span
        return self.token[frame[:, None, None], rows, columns].flatten(1, 2).float()


@dataclass(frozen=True)
class OnlineTokens:
    """Tokens of the crops themselves, encoded at every iteration (docs/method.md#dino-tokens)."""

    encode: Callable[[Tensor], Tensor]
    rgb: Tensor
    grid: int = 1

    def crops(self, frame: Tensor, row: Tensor, column: Tensor, side: int) -> Tensor:
        """See `Tokens`."""
        frame, row, column = (to_device(part, self.rgb.device) for part in (frame, row, column))
        span = torch.arange(side, device=frame.device)
        rows = row[:, None, None] + span[:, None]
        columns = column[:, None, None] + span
        image = self.rgb[frame[:, None, None], rows, columns].permute(0, 3, 1, 2).float() / 255
        return self.encode(image).flatten(1, 2)


@dataclass(frozen=True)
class SemanticData:
    """What the losses read. Positions count training frames, in sequence order.

    Attributes:
        photos: all training frames.
        labelled: positions of the frames that carry labels and features (`view_fraction`).
        label: i32 (labelled, H, W), `VOID` where unknown.
        pyramid: CLIP features by place in `labelled`. tokens: DINO tokens by position.
        text: unit rows (C, D) of the training losses.
        initial_samples: S of the initial grid, for `ray_length: as_shipped`.
    """

    photos: Photos
    labelled: Tensor
    label: Tensor
    pyramid: PyramidFeatures
    tokens: Tokens
    text: Tensor
    initial_samples: int


def labelled_positions(count: int, share: float, seed: int) -> Tensor:
    """Sorted random subset of 0..count-1 that carries labels and features (`clip_input`)."""
    order = torch.randperm(count, generator=generator(seed, "labelled", 0))
    return order[: max(1, int(share * count))].sort().values


def cell_directions(photos: Photos) -> Tensor:
    """Unit directions of all pixels in camera axes: (H, W, 3)."""
    height, width = photos.size
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    device = photos.pose.device
    identity = torch.eye(4, device=device)
    flat = column.flatten().to(device), row.flatten().to(device)
    _, direction = pixel_rays(identity, photos.intrinsics, *flat)
    return direction.view(height, width, 3)


def crop_rays(
    photos: Photos, directions: Tensor, frame: Tensor, row: Tensor, column: Tensor, side: int
) -> tuple[Tensor, Tensor]:
    """Rays of crops, averaged over 8 x 8 pixels and not renormalised: (k L, 3).

    As published (docs/method.md#crop-rays), but averaged before the warp of a forward-facing
    scene instead of after it.
    """
    span = torch.arange(side, device=row.device)
    crops = directions[row[:, None, None] + span[:, None], column[:, None, None] + span]
    local = functional.avg_pool2d(crops.permute(0, 3, 1, 2), CELL).flatten(2).transpose(1, 2)
    pose = photos.pose[frame]
    direction = local @ pose[:, :3, :3].transpose(1, 2)
    origin = pose[:, None, :3, 3].expand_as(direction)
    rays = origin.reshape(-1, 3), direction.reshape(-1, 3)
    return photos.ndc.rays(*rays) if photos.ndc else rays


class SemanticTraining:
    """The state of a run: field, optimiser, labels, iteration. `step` advances it by one."""

    def __init__(
        self,
        field: SemanticField,
        data: SemanticData,
        settings: TrainSemantics,
        seed: int,
        pseudo_labels: PseudoLabels | None = None,
    ) -> None:
        self.field, self.data, self.settings, self.seed = field, data, settings, seed
        self.pseudo_labels = pseudo_labels
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
        self.cse_every = max(1, round(settings.cse.every * settings.iterations))
        self.iteration, self.rows = 0, []
        self.watch = LossWatch("train_semantics")
        self.empty_rays = 0.0
        """Share of the latest labelled rays that met nothing."""
        self.new_optimiser()

    @property
    def joint(self) -> bool:
        """Whether appearance, basis and colour head train (stages B and C)."""
        return self.iteration >= self.joint_start

    def new_optimiser(self) -> None:
        """Adam for the current stage; restarted at the joint start (docs/method.md#stages)."""
        field, settings = self.field, self.settings
        groups = [
            (field.clip.parameters(), settings.learning_rate_head),
            (field.scale_selection.parameters(), settings.learning_rate_grid),
            (field.scale_selection_basis.parameters(), settings.learning_rate_head),
        ]
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
        """What is odd about this training, for the closing line of its stage."""
        unlabelled = bool((self.label == VOID).all())
        return notices.said(
            notices.empty_rays(self.empty_rays, "labelled rays of the last batch"),
            "no pixel of the training views has a label" if unlabelled else "",
        )

    def step(self) -> None:
        """One iteration."""
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
            values = self.watch.look(self.iteration, {"total": total, **losses})
            self.rows.append({"iteration": self.iteration, **values})

    def refreshes_now(self) -> bool:
        """Whether labels are replaced before this iteration's losses (docs/method.md#cse)."""
        since = self.iteration - self.cse_start
        return self.pseudo_labels is not None and since >= 0 and since % self.cse_every == 0

    def refresh_labels(self) -> None:
        """Replace the labels by the field's own, cleaned renders."""
        assert self.pseudo_labels is not None
        progress.log(f"train_semantics: refreshing labels at {self.iteration}")
        label, novel = self.pseudo_labels.refresh()
        self.label, self.novel_label = label.to(self.label), novel.to(self.label)
        progress.log("train_semantics: labels refreshed")

    def draw_novel(self) -> tuple[Tensor, Tensor, Tensor]:
        """Origins, directions and labels of novel rays; empty before the first refresh."""
        device = self.data.photos.pose.device
        if len(self.novel_label) == 0 or self.pseudo_labels is None:
            empty = torch.zeros(0, 3, device=device)
            return empty, empty, torch.zeros(0, dtype=torch.long, device=device)
        batches = PixelBatches(*self.novel_label.shape, self.settings.batch_rays, self.seed + 1)
        view, row, column = (to_device(part, device) for part in batches.at(self.iteration))
        poses = torch.stack([camera.pose for _, camera, _ in self.pseudo_labels.novel])
        photos = self.data.photos
        rays = pixel_rays(poses[view], photos.intrinsics, column, row, photos.ndc)
        return *rays, self.novel_label[view, row, column].long()

    def losses(self) -> dict[str, Tensor]:
        """Weighted losses of this iteration (docs/method.md#losses)."""
        data, settings, device = self.data, self.settings, self.data.photos.pose.device
        drawn, drawn_crop = self.pixels.at(self.iteration), self.crops.at(self.iteration)
        slot, row, column = (to_device(part, device) for part in drawn)
        position = data.labelled[slot]
        origin, direction = data.photos.rays(position, row, column)
        crop = tuple(to_device(part, device) for part in drawn_crop)
        crop_origin, crop_direction = (
            crop_rays(data.photos, self.directions, *crop, self.crops.side)
            if settings.dino.crops
            else (origin[:0], direction[:0])
        )
        novel_origin, novel_direction, novel_label = self.draw_novel()

        count, crop_count = len(origin), len(crop_origin)
        samples, weight = self.march(
            torch.cat([origin, crop_origin, novel_origin]),
            torch.cat([direction, crop_direction, novel_direction]),
        )
        front, back = samples.split(count)
        self.empty_rays = float((np.diff(front.bounds) == 0).mean())
        front_weight, back_weight = weight.split([len(front), len(back)])
        feature, ray = self.feature_rays(front, front_weight)
        with torch.set_grad_enabled(self.joint):
            crop_ray, novel_ray = self.field.ray_features(back, back_weight).split(
                [crop_count, len(novel_origin)]
            )

        matrix = self.field.clip.matrix()
        label = self.label[slot, row, column].long()
        losses = {
            "label": settings.label_weight * label_loss(self.logits(matrix, ray), label),
            "feature": settings.feature_weight
            * feature_loss(
                ray @ matrix.T,
                self.field.scale_weights(front, front_weight),
                to_device(data.pyramid.lookup(drawn[0], drawn[2], drawn[1]), device),
            ),
        }
        if settings.dino.crops:
            scores = text_scores(matrix, data.text, crop_ray) / feature_norm(matrix, crop_ray)
            token = to_device(data.tokens.crops(*drawn_crop, self.crops.side), device)
            cosine = scores.view(*token.shape[:2], -1)
            positive, negative = correlation_loss(cosine, token, settings.dino)
            losses["dino_positive"] = settings.dino.positive_weight * positive
            losses["dino_negative"] = settings.dino.negative_weight * negative
        if self.joint:
            colour = self.field.radiance.colour(feature, direction[front.ray])
            pixel = composite(front_weight, colour, front.offset, front.ray)
            target = data.photos.colours(position, row, column)
            losses["colour"] = settings.colour_weight * (pixel - target).square().mean()
        if len(novel_ray):
            novel = label_loss(self.logits(matrix, novel_ray), novel_label)
            losses["novel"] = settings.novel_weight * novel
        return losses

    def march(self, origin: Tensor, direction: Tensor) -> tuple[Samples, Tensor]:
        """Jittered samples above the weight threshold and their weights; no autograd."""
        draw = generator(self.seed, "jitter", self.iteration)
        jitter = to_device(torch.rand(len(origin), generator=draw), origin.device)
        short = self.settings.ray_length == "as_shipped"
        limit = self.data.initial_samples if short else None
        return self.field.radiance.samples_above_threshold(origin, direction, jitter, limit)

    def feature_rays(self, samples: Samples, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Appearance features per sample (s, 27), empty in stage A, and u per ray (r, 28).

        The colour needs features of single samples; u alone is cheaper without them.
        """
        if not self.joint:
            with torch.no_grad():
                return weight.new_zeros(0, 0), self.field.ray_features(samples, weight)
        feature = self.field.radiance.appearance_features(samples)
        ones = feature.new_ones(len(feature), 1)
        ray = composite(weight, torch.cat([feature, ones], -1), samples.offset, samples.ray)
        return feature, ray

    def logits(self, matrix: Tensor, ray: Tensor) -> Tensor:
        """Cross-entropy logits (r, C): dot products, or cosines over a temperature."""
        scores = text_scores(matrix, self.data.text, ray)
        if self.settings.logits == "dot":
            return scores
        return scores / feature_norm(matrix, ray) / self.settings.logit_temperature

    def save(self, path: Path, digest: str) -> None:
        """Everything that is needed to go on and end at the same result."""
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
        return True
