"""Fit a TensoRF-VM radiance field to the training frames."""

from __future__ import annotations

from pathlib import Path

from ovnerf.compute.device import resolve_device
from ovnerf.config.field import Reconstruct
from ovnerf.runtime import notices
from ovnerf.runtime.errors import UserError
from ovnerf.storage.listed import listed_folder
from ovnerf.storage.provenance import result_digest
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import open_store
from ovnerf.storage.tensors import module_tensors, save_tensors
from ovnerf.training.data import load_photos, scene_box
from ovnerf.training.log import write_log
from ovnerf.training.loop import run_with_checkpoints
from ovnerf.training.reconstruct import Reconstruction


def run(
    *, frames: Path, out: Path, settings: Reconstruct, checkpoint_minutes: float = 5.0
) -> dict[str, object]:
    """Write `field.safetensors` and `train.csv` to folder `out`; resumes after a kill."""
    if settings.seeds:
        raise UserError(
            f"reconstruct.seeds: found {list(settings.seeds)}, expected none in a job",
            "give `seed`: a job makes one field, and the workflow one job per seed",
        )
    store = open_store(frames, "frames")
    device = resolve_device()
    digest = result_digest("reconstruct", settings, {"frames": store.attrs["digest"]})
    photos = load_photos(store, frame_indices(store, "train"))
    training = Reconstruction(photos, scene_box(store), settings, device)
    partial = out.with_name(out.name + ".partial.safetensors")
    run_with_checkpoints(
        training,
        settings.iterations,
        partial,
        digest,
        checkpoint_minutes,
        "reconstruct",
        lambda: f"psnr {training.rows[-1]['psnr']:.1f}" if training.rows else "",
    )
    header = {
        **training.field.header(),
        "digest": digest,
        "initial_samples": training.initial_samples,
    }

    tensors = module_tensors(training.field, "radiance.")
    with listed_folder(out, "reconstruct") as folder:
        save_tensors(folder / "field.safetensors", tensors, header)
        write_log(folder / "train.csv", training.rows)
    partial.unlink(missing_ok=True)
    occupied, last = training.field.occupancy.share(), training.rows[-1]
    empty = last["rays_without_samples"]
    return {
        "frames": len(photos),
        "iterations": settings.iterations,
        "psnr_train": round(last["psnr"], 2),
        "resolution": list(training.field.density.resolution),
        "occupied": round(occupied, 4),
        "samples_per_ray": round(last["samples_per_ray"], 1),
        "rays_without_samples": round(empty, 4),
        **notices.warning_entry(
            "no cell of the box is occupied" if occupied == 0 else "",
            notices.empty_rays(empty, "rays of the last batch"),
        ),
    }
