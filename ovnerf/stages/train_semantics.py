"""Train the semantic branch from iteration T to the end, with CSE where the variant has it."""

from __future__ import annotations

from pathlib import Path

from ovnerf.config.labels import RankRegions
from ovnerf.config.regions import ProposeRegions
from ovnerf.config.semantics import TrainSemantics
from ovnerf.storage.listed import listed_folder
from ovnerf.storage.provenance import result_digest
from ovnerf.storage.tensors import load_tensors, module_tensors, save_tensors
from ovnerf.training.assemble import CHECKPOINT
from ovnerf.training.continued import continued
from ovnerf.training.description import describe_run
from ovnerf.training.log import write_log
from ovnerf.training.loop import run_with_checkpoints


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
    rank_settings: RankRegions,
    fused: Path | None = None,
    seed: int = 0,
    checkpoint_minutes: float = 5.0,
) -> dict[str, object]:
    """Write `field.safetensors` and `train.csv` to folder `out`; resumes after a kill.

    `region_settings` and `rank_settings` are those that `regions` and `labels` were made with.
    """
    start = load_tensors(shared / CHECKPOINT)[1]["digest"]
    digest = result_digest(
        "train_semantics",
        settings,
        {"shared": start},
        regions=region_settings.model_dump(mode="json"),
        seed=seed,
    )
    paths = {"frames": frames, "features": features, "dino": dino}
    paths |= {"labels": labels, "radiance": radiance}
    inputs, training = continued(
        paths, shared, regions, settings, region_settings, rank_settings, fused, seed
    )
    partial = out.with_name(out.name + ".partial.safetensors")
    run_with_checkpoints(
        training, settings.iterations, partial, digest, checkpoint_minutes, "train_semantics"
    )
    header = {
        **training.field.header(),
        "digest": digest,
        "seed": seed,
        "run": describe_run(
            inputs.frames, inputs.features, settings.text_bank, rank_settings.blank_prompt
        ),
    }
    with listed_folder(out, "train_semantics") as folder:
        save_tensors(folder / "field.safetensors", module_tensors(training.field, ""), header)
        write_log(folder / "train.csv", training.rows)
    partial.unlink(missing_ok=True)
    return {
        "iterations": settings.iterations,
        "seed": seed,
        "views": len(training.data.labelled),
        "novel_views": len(training.pseudo_labels.novel) if training.pseudo_labels else 0,
        **{name: round(float(value), 3) for name, value in training.feature_terms.watched.items()},
        **training.warnings(),
    }
