"""From stores to a semantic training run: what `train_shared` and `train_semantics` share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ovnerf.compute.device import resolve_device
from ovnerf.compute.seeds import use_deterministic_seed
from ovnerf.config.features import CacheDino
from ovnerf.config.labels import RankRegions
from ovnerf.config.semantics import TrainSemantics
from ovnerf.encoders.dino import DinoEncoder
from ovnerf.encoders.pyramid import PyramidFeatures
from ovnerf.encoders.text import text_bank
from ovnerf.field.field import SemanticField, radiance_from_header
from ovnerf.labels.rsr import RegionRanker
from ovnerf.labels.void import VOID
from ovnerf.regions.runlength import Regions
from ovnerf.runtime.errors import UserError
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import Store, open_store, read
from ovnerf.storage.tensors import load_tensors, strip
from ovnerf.training.data import Photos, load_photos
from ovnerf.training.pseudo_labels import LabelRules, Proposer, PseudoLabels
from ovnerf.training.semantics import (
    CachedTokens,
    OnlineTokens,
    SemanticData,
    SemanticTraining,
    Tokens,
    labelled_positions,
)


@dataclass(frozen=True)
class SemanticInputs:
    """Paths of the stores and folders that semantic training reads."""

    frames: Path
    features: Path
    dino: Path
    labels: Path
    radiance: Path

    def digests(self) -> dict[str, str]:
        """What each input was made from."""
        stores = {
            kind: str(open_store(getattr(self, kind), kind).attrs["digest"])
            for kind in ("frames", "features", "dino", "labels")
        }
        _, header = load_tensors(self.radiance / "field.safetensors")
        return {**stores, "radiance": header["digest"]}


def assemble_training(
    inputs: SemanticInputs, settings: TrainSemantics, seed: int, features_on_host: bool = False
) -> SemanticTraining:
    """The run at iteration 0: radiance field loaded, semantic branch fresh, no CSE yet.

    With `features_on_host` a CUDA run keeps CLIP embeddings and DINO tokens in the host's memory
    and copies each iteration's share: for cards that they do not fit (`memory.features_on_host`).

    Raises:
        UserError: a store is missing, or covers other frames than the training frames.
    """
    device = resolve_device()
    features = torch.device("cpu") if features_on_host else device
    frames, clip = open_store(inputs.frames, "frames"), open_store(inputs.features, "features")
    labels, dino = open_store(inputs.labels, "labels"), open_store(inputs.dino, "dino")
    train = frame_indices(frames, "train")
    photos = load_photos(frames, train).to(device)
    positions = labelled_positions(len(train), settings.view_fraction, seed)
    labelled = [train[place] for place in positions.tolist()]
    stored = [int(frame) for frame in labels.attrs["frames"]]
    missing = sorted(set(labelled) - set(stored))
    if missing:
        raise UserError(
            f"{inputs.labels}: found no labels of training frames {missing[:10]}",
            "rerun rank_regions, cache_features and propose_regions of this scene",
        )
    maps = read(labels, settings.labels, [stored.index(frame) for frame in labelled])
    rules = RankRegions(**labels.attrs["settings"])
    tensors, header = load_tensors(inputs.radiance / "field.safetensors")
    generator = use_deterministic_seed(seed)
    radiance = radiance_from_header(header, strip(tensors, "radiance."))
    pyramid = PyramidFeatures(clip, features, labelled)
    field = SemanticField(
        radiance,
        settings.scale_selection_ranks,
        len(pyramid.grids),
        pyramid.channels,
        settings.head_width,
        generator,
    ).to(device)
    data = SemanticData(
        photos=photos,
        labelled=positions.to(device),
        label=torch.from_numpy(maps.astype(np.int32)).to(device),
        pyramid=pyramid,
        tokens=dino_tokens(dino, train, photos, settings.dino.mode, features),
        text=text_bank(clip, settings.text_bank, rules.blank_prompt, device),
        initial_samples=int(header["initial_samples"]),
    )
    return SemanticTraining(field, data, settings, seed)


def dino_tokens(
    dino: Store, train: list[int], photos: Photos, mode: str, device: torch.device
) -> Tokens:
    """Tokens of the training frames, cached on `device`, or the encoder that makes them online."""
    if mode == "online":
        encoder = DinoEncoder.load(CacheDino(**dino.attrs["settings"]), photos.rgb.device)
        return OnlineTokens(encoder.tokens, photos.rgb)
    stored = [int(frame) for frame in dino.attrs["frames"]]
    token = read(dino, "token", [stored.index(frame) for frame in train])
    return CachedTokens(torch.from_numpy(token).to(device))


def assemble_pseudo_labels(
    training: SemanticTraining,
    inputs: SemanticInputs,
    regions: Path,
    propose: Proposer,
) -> PseudoLabels:
    """CSE for a run: which labels it replaces, by which regions and text, and its novel views."""
    settings, data, device = training.settings, training.data, resolve_device()
    if settings.cse.novel_path == "panorama" and data.photos.ndc:
        raise UserError(
            f"{inputs.frames}: found `cse.novel_path: panorama` in a forward-facing scene "
            "(`box: ndc`), which has no rays to the side",
            "use `novel_path: interpolated`",
        )
    clip, labels = open_store(inputs.features, "features"), open_store(inputs.labels, "labels")
    rules = RankRegions(**labels.attrs["settings"])
    classes = len(clip.attrs["classes"])
    label_rules = LabelRules(
        text=text_bank(clip, settings.cse.text_bank, rules.blank_prompt, device),
        classes=classes,
        uncovered=classes if rules.uncovered == "void_class" else VOID,
        order=rules.order,
    )
    store = Regions(open_store(regions, "regions"))
    rankers = [RegionRanker(store.masks(frame), rules.order) for frame in data.pyramid.frames]
    cameras = [data.photos.camera(place) for place in range(len(data.photos))]
    return PseudoLabels(
        training.field,
        cameras,
        data.labelled.tolist(),
        rankers,
        propose,
        label_rules,
        settings.cse,
        training.seed,
    )
