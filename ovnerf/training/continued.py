"""A semantic training from iteration T on, as `train_shared` left it."""

from __future__ import annotations

from pathlib import Path

from ovnerf.config.labels import RankRegions
from ovnerf.config.regions import ProposeRegions
from ovnerf.config.semantics import TrainSemantics
from ovnerf.runtime.memory import features_on_host
from ovnerf.storage.stores import open_store
from ovnerf.training.assemble import (
    CHECKPOINT,
    SemanticInputs,
    assemble_pseudo_labels,
    assemble_training,
    open_inputs,
)
from ovnerf.training.novel_regions import novel_view_proposer
from ovnerf.training.semantics import SemanticTraining


def continued(
    paths: dict[str, Path],
    shared: Path,
    regions: Path,
    settings: TrainSemantics,
    region_settings: ProposeRegions,
    rank_settings: RankRegions,
    fused: Path | None,
    seed: int,
) -> tuple[SemanticInputs, SemanticTraining]:
    """The inputs of a training and the training itself, with CSE where the settings have it.

    Args:
        paths: `frames`, `features`, `dino`, `labels` and `radiance` of `open_inputs`.
        shared: folder of `train_shared`.
        regions, labels: stores that were made with `region_settings` and `rank_settings`.

    Raises:
        UserError: as `open_inputs`, `assemble_pseudo_labels` and `novel_view_proposer`.
    """
    options = {**paths, "settings": settings, "region_settings": region_settings}
    on_host = features_on_host("train_semantics", options)
    inputs = open_inputs(**paths, rank_settings=rank_settings, fused=fused)
    training = assemble_training(inputs, settings, seed, on_host)
    training.restore(shared / CHECKPOINT, None)
    if settings.cse.enabled:
        stored = open_store(regions, "regions")
        propose = novel_view_proposer(stored, region_settings)
        training.pseudo_labels = assemble_pseudo_labels(training, inputs, stored, propose)
    return inputs, training
