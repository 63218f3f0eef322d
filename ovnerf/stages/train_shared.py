"""Train the semantic branch up to iteration T: the part that runs with and without CSE share."""

from __future__ import annotations

from pathlib import Path

from ovnerf.config.labels import RankRegions
from ovnerf.config.semantics import TrainSemantics
from ovnerf.runtime.memory import features_on_host
from ovnerf.storage.listed import listed_folder
from ovnerf.storage.provenance import result_digest
from ovnerf.training.assemble import CHECKPOINT, assemble_training, open_inputs
from ovnerf.training.loop import run_with_checkpoints


def run(
    *,
    frames: Path,
    features: Path,
    dino: Path,
    labels: Path,
    radiance: Path,
    out: Path,
    settings: TrainSemantics,
    rank_settings: RankRegions,
    fused: Path | None = None,
    seed: int = 0,
    checkpoint_minutes: float = 5.0,
) -> dict[str, object]:
    """Write `checkpoint.safetensors` at iteration T to folder `out`; resumes after a kill.

    `rank_settings` are those that `labels` was made with.
    """
    paths = {"frames": frames, "features": features, "dino": dino}
    paths |= {"labels": labels, "radiance": radiance}
    inputs = open_inputs(**paths, rank_settings=rank_settings, fused=fused)
    digest = result_digest("train_shared", settings, inputs.digests(), exclude={"cse"}, seed=seed)
    on_host = features_on_host("train_shared", {**paths, "settings": settings})
    training = assemble_training(inputs, settings, seed, on_host)
    partial = out.with_name(out.name + ".partial.safetensors")
    run_with_checkpoints(
        training, training.cse_start, partial, digest, checkpoint_minutes, "train_shared"
    )
    with listed_folder(out, "train_shared") as folder:
        training.save(folder / CHECKPOINT, digest)
    partial.unlink(missing_ok=True)
    return {
        "iterations": training.cse_start,
        "seed": seed,
        "views": len(training.data.labelled),
        **training.warnings(),
    }
