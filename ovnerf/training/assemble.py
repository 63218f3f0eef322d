"""From stores to a semantic training run: what `train_shared` and `train_semantics` share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ovnerf.compute.device import resolve_device
from ovnerf.compute.seeds import use_deterministic_seed
from ovnerf.config.features import CacheDino
from ovnerf.config.labels import RankRegions
from ovnerf.config.semantics import TrainSemantics
from ovnerf.encoders.dino import DinoEncoder
from ovnerf.encoders.pyramid import PyramidFeatures, class_scores
from ovnerf.encoders.text import text_bank
from ovnerf.field.field import radiance_from_header
from ovnerf.field.semantic_field import SemanticField
from ovnerf.labels.void import VOID
from ovnerf.regions.runlength import Regions
from ovnerf.runtime.errors import UserError
from ovnerf.storage.frame_index import FrameIndex
from ovnerf.storage.made_with import open_made_with, require_weights
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import Store, open_store, path_of, read
from ovnerf.storage.tensors import load_tensors, strip
from ovnerf.storage.weight_loading import find_file
from ovnerf.training.crops import CachedTokens, OnlineTokens, Tokens
from ovnerf.training.data import Photos, load_photos
from ovnerf.training.fitted_start import start_fitted
from ovnerf.training.novel_views import novel_poses
from ovnerf.training.pseudo_labels import LabelRules, Proposer, PseudoLabels
from ovnerf.training.semantic_data import SemanticData, labelled_photos
from ovnerf.training.semantics import SemanticTraining

CHECKPOINT = "checkpoint.safetensors"
"""What `train_shared` leaves in its folder, of a training at iteration T."""


@dataclass(frozen=True)
class SemanticInputs:
    """What semantic training reads, opened once.

    Attributes:
        frames, features, dino, labels: stores of these kinds. fused: likewise; None for a training
            that does not start from fused labels.
        rank_settings: the settings that `labels` was made with.
        radiance: tensors of the reconstructed field. radiance_header: its JSON header.
    """

    frames: Store
    features: Store
    dino: Store
    labels: Store
    rank_settings: RankRegions
    radiance: dict[str, Tensor]
    radiance_header: dict[str, Any]
    fused: Store | None = None

    def digests(self) -> dict[str, str]:
        """Digest of what each input was made from, by the input's name."""
        stores = {
            "frames": self.frames,
            "features": self.features,
            "dino": self.dino,
            "labels": self.labels,
            **({"fused": self.fused} if self.fused else {}),
        }
        made_from = {name: str(store.attrs["digest"]) for name, store in stores.items()}
        return {**made_from, "radiance": self.radiance_header["digest"]}


def open_inputs(
    *,
    frames: Path,
    features: Path,
    dino: Path,
    labels: Path,
    radiance: Path,
    rank_settings: RankRegions,
    fused: Path | None = None,
) -> SemanticInputs:
    """Open the stores at these paths, and the field in the folder `radiance`.

    Raises:
        UserError: one is missing or damaged, or `labels` was made with other settings than
            `rank_settings`, by which CSE would rank otherwise than the first labels were ranked.
    """
    tensors, header = load_tensors(radiance / "field.safetensors")
    return SemanticInputs(
        frames=open_store(frames, "frames"),
        features=open_store(features, "features"),
        dino=open_store(dino, "dino"),
        labels=open_made_with(labels, "labels", rank_settings),
        rank_settings=rank_settings,
        radiance=strip(tensors, "radiance."),
        radiance_header=header,
        fused=open_store(fused, "fused") if fused else None,
    )


def assemble_training(
    inputs: SemanticInputs, settings: TrainSemantics, seed: int, features_on_host: bool = False
) -> SemanticTraining:
    """The run at iteration 0: radiance field loaded, semantic branch fresh, no CSE yet.

    With `features_on_host` a CUDA run keeps CLIP embeddings and DINO tokens in the host's memory
    and copies each iteration's share: for cards that they do not fit (`memory.features_on_host`).

    Raises:
        UserError: a store does not cover the training frames, or a number in one is not finite.
    """
    device = resolve_device()
    feature_device = torch.device("cpu") if features_on_host else device
    train = frame_indices(inputs.frames, "train")
    photos = load_photos(inputs.frames, train).to(device)
    labelled = labelled_photos(len(train), settings.view_fraction, seed)
    labelled_frames = [train[photo] for photo in labelled.tolist()]
    label_map = first_labels(inputs, settings.labels, labelled_frames)
    generator = use_deterministic_seed(seed)
    radiance = radiance_from_header(inputs.radiance_header, inputs.radiance)
    pyramid = PyramidFeatures(inputs.features, feature_device, labelled_frames)
    field = SemanticField(
        radiance,
        settings.scale_selection_ranks,
        len(pyramid.grids),
        pyramid.channels,
        settings.head_width,
        generator,
        settings.own_ranks if settings.feature_volume == "own" else None,
        settings.scale_knots,
        inputs.dino["token"].shape[-1] if settings.dino_feature_weight else 0,
    ).to(device)
    if settings.feature_target == "cells" and not touching(pyramid):
        raise UserError(
            f"{path_of(inputs.features)}: found overlapping windows, expected cells",
            "`train_semantics.feature_target: cells` needs an encoder with a feature per pixel",
        )
    if settings.feature_target == "random_scale" and len(pyramid.grids) == 1:
        raise UserError(
            f"{path_of(inputs.features)}: found one scale, expected several",
            "`feature_target: random_scale` needs an encoder with a pyramid",
        )
    shipped_length = settings.ray_length == "as_shipped"
    blank_prompt = inputs.rank_settings.blank_prompt
    text = text_bank(inputs.features, settings.text_bank, blank_prompt, device)
    data = SemanticData(
        photos=photos,
        labelled=labelled.to(device),
        label=torch.from_numpy(label_map.astype(np.int32)).to(device),
        pyramid=pyramid,
        tokens=dino_tokens(inputs.dino, train, photos, settings.dino.mode, feature_device),
        text=text,
        max_samples=int(inputs.radiance_header["initial_samples"]) if shipped_length else None,
        extremes=cosine_extremes(pyramid, text) if settings.rda_weight else None,
    )
    training = SemanticTraining(field, data, settings, seed)
    if settings.head_start == "fitted":
        start_fitted(training)
    return training


def touching(pyramid: PyramidFeatures) -> bool:
    """Whether features are of one scale of touching cells, as dense encoders' are."""
    grid = pyramid.grids[0]
    return len(pyramid.grids) == 1 and grid.side == grid.stride and grid.jitter == 0


def cosine_extremes(pyramid: PyramidFeatures, text: Tensor) -> Tensor:
    """Least and greatest cosine over each photo's pixels, by scale and class.

    Args:
        text: unit vectors f32 (C, D).

    Returns:
        f32 (slots, K, C, 2) on the device of `text`.
    """
    extremes = []
    for embedding, box in zip(pyramid.embedding, pyramid.box, strict=True):
        size = pyramid.height, pyramid.width
        scores = class_scores(embedding, box, pyramid.scale, text, *size).flatten(2)
        extremes.append(torch.stack(scores.aminmax(dim=-1), -1))
    return torch.stack(extremes)


def first_labels(inputs: SemanticInputs, name: str, frames: list[int]) -> np.ndarray:
    """The label maps u16 (n, H, W) of these frames of a scene; `name` is `train_semantics.labels`.

    Raises:
        UserError: the store does not hold one of the frames, or no fused labels were given.
    """
    labels, array = inputs.labels, name
    if name == "fused":
        if inputs.fused is None:
            raise UserError(
                "train_semantics.labels: found `fused` and no store of fused labels",
                "give it as --fused; fuse_labels makes it",
            )
        labels, array = inputs.fused, "label"
    index = FrameIndex(labels)
    missing = index.missing(frames)
    if missing:
        raise UserError(
            f"{path_of(labels)}: found no labels of training frames {missing[:10]}",
            "rerun rank_regions, cache_features and propose_regions of this scene",
        )
    return read(labels, array, index.slots(frames))


def dino_tokens(
    dino: Store, train: list[int], photos: Photos, mode: str, device: torch.device
) -> Tokens:
    """Tokens of the training frames, cached on `device`, or the encoder that makes them online."""
    if mode == "online":
        settings = CacheDino(**dino.attrs["settings"])
        weights = find_file(settings.weights, "cache_dino.weights")
        require_weights(dino, weights)
        encoder = DinoEncoder.load(settings.model, weights, photos.rgb.device)
        return OnlineTokens(encoder.tokens, photos.rgb)
    token = read(dino, "token", FrameIndex(dino).slots(train))
    return CachedTokens(torch.from_numpy(token).to(device))


def assemble_pseudo_labels(
    training: SemanticTraining, inputs: SemanticInputs, regions: Store, propose: Proposer
) -> PseudoLabels:
    """CSE for a run: which labels it replaces, by which regions and text, and its novel views.

    Args:
        inputs: those that `training` was assembled from. regions: store of the photos' regions.
        propose: regions of rendered novel views.

    Raises:
        UserError: a panorama in a forward-facing scene, or a labelled frame without regions.
    """
    settings, data = training.settings, training.data
    train = frame_indices(inputs.frames, "train")
    if settings.cse.novel_path == "panorama" and data.photos.ndc:
        raise UserError(
            f"{path_of(inputs.frames)}: found `cse.novel_path: panorama` in a forward-facing scene "
            "(`box: ndc`), which has no rays to the side",
            "use `novel_path: interpolated`",
        )
    ranking = inputs.rank_settings
    classes = len(inputs.features.attrs["classes"])
    bank = settings.cse.text_bank
    rules = LabelRules(
        text=text_bank(inputs.features, bank, ranking.blank_prompt, resolve_device()),
        classes=classes,
        uncovered=classes if ranking.uncovered == "void_class" else VOID,
        order=ranking.order,
        snap=ranking.snap,
    )
    store = Regions(regions)
    ranked = settings.cse.rank_pseudo_labels

    def image_of(photo: int) -> np.ndarray:
        return data.photos.rgb[photo].cpu().numpy()

    reconstruction = radiance_from_header(inputs.radiance_header, inputs.radiance)
    return PseudoLabels(
        training.field,
        reconstruction.to(data.photos.rgb.device),
        [data.photos.camera(photo) for photo in range(len(data.photos))],
        data.labelled.tolist(),
        [
            rules.ranker(store.masks(frame), image_of(photo)) if ranked else None
            for photo, frame in zip(data.labelled.tolist(), data.pyramid.frames, strict=True)
        ],
        propose,
        rules,
        settings.cse,
        novel_poses(data.photos.pose.cpu(), train, settings.cse, training.seed),
    )
