"""Train the semantic branch from iteration T to the end, with CSE where the variant has it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ovnerf.config.regions import ProposeRegions
from ovnerf.config.semantics import TrainSemantics
from ovnerf.regions.sam import RegionProposer
from ovnerf.runtime.errors import UserError
from ovnerf.runtime.memory import features_on_host
from ovnerf.storage.provenance import file_digest, result_digest
from ovnerf.storage.stores import open_store
from ovnerf.storage.tensors import load_tensors, module_tensors, publish_folder, save_tensors
from ovnerf.storage.weight_loading import find_file
from ovnerf.training.assemble import SemanticInputs, assemble_pseudo_labels, assemble_training
from ovnerf.training.log import write_log
from ovnerf.training.loop import run_with_checkpoints
from ovnerf.training.pseudo_labels import Proposer


def run(
    *,
    frames: Path,
    features: Path,
    dino: Path,
    labels: Path,
    regions: Path,
    radiance: Path,
    shared: Path,
    out: Path,
    settings: TrainSemantics,
    region_settings: ProposeRegions,
    seed: int = 0,
    checkpoint_minutes: float = 5.0,
) -> dict[str, object]:
    """Write `field.safetensors` and `train.csv` to folder `out`; resumes after a kill."""
    inputs = SemanticInputs(frames, features, dino, labels, radiance)
    start = shared / "checkpoint.safetensors"
    _, shared_header = load_tensors(start)
    stated = {
        **settings.model_dump(mode="json"),
        "regions": region_settings.model_dump(mode="json"),
        "seed": seed,
    }
    digest = result_digest("train_semantics", stated, {"shared": shared_header["digest"]})
    on_host = features_on_host(
        "train_semantics",
        {**vars(inputs), "settings": settings, "region_settings": region_settings},
    )
    training = assemble_training(inputs, settings, seed, on_host)
    training.restore(start, None)
    if settings.cse.enabled:
        check_weights(regions, region_settings)
        training.pseudo_labels = assemble_pseudo_labels(
            training, inputs, regions, lazy_proposer(region_settings)
        )
    partial = out.with_name(out.name + ".partial.safetensors")
    run_with_checkpoints(
        training,
        settings.iterations,
        partial,
        digest,
        checkpoint_minutes,
        "train_semantics",
    )

    def fill(folder: Path) -> None:
        header = {**training.field.header(), "digest": digest, "seed": seed}
        save_tensors(folder / "field.safetensors", module_tensors(training.field, ""), header)
        write_log(folder / "train.csv", training.rows)

    publish_folder(out, fill)
    partial.unlink(missing_ok=True)
    novel = len(training.pseudo_labels.novel) if training.pseudo_labels else 0
    return {
        "iterations": settings.iterations,
        "seed": seed,
        "views": len(training.data.labelled),
        "novel_views": novel,
        **training.warnings(),
    }


def check_weights(regions: Path, settings: ProposeRegions) -> None:
    """UserError when novel views would get their regions from other weights than the photos did."""
    stated = open_store(regions, "regions").attrs.get("weights")
    if stated is None:
        return
    weights = find_file(settings.weights, "propose_regions.weights")
    if file_digest(weights) != stated:
        raise UserError(
            f"{weights}: not the weights that {regions} was made with",
            "put the old file back, or run again: propose_regions is then made anew",
        )


def lazy_proposer(settings: ProposeRegions) -> Proposer:
    """Region proposals for novel renders; SAM is loaded at the first one."""

    @cache
    def proposer() -> RegionProposer:
        return RegionProposer.load(settings)

    return lambda image: proposer().propose(image).masks
