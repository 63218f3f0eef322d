"""Read the ground-truth labels of the sampled frames (for scoring and the `simulated` encoder).

A rule of its own: editing a label reruns scores, never training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ovnerf.config.frames import ReadTruth
from ovnerf.labels.void import VOID
from ovnerf.runtime import progress
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.frames import absent_classes, read_labels, read_masks, warn_of_void
from ovnerf.scenes.layouts import list_scene
from ovnerf.scenes.listing import ignored_lines
from ovnerf.storage.provenance import file_digest, result_digest
from ovnerf.storage.stores import open_store, write_store


def run(*, folder: Path, frames: Path, out: Path, settings: ReadTruth) -> dict[str, Any]:
    """Write truth.zarr beside frames.zarr: same frames, same size; returns counts."""
    store = open_store(frames, "frames")
    names = list(store.attrs["names"])
    listing = list_scene(folder, settings.layout, None, settings.classes)
    if set(names) <= set(listing.names):
        listing = listing.only(names)
    else:
        raise UserError(
            f"{folder}: the frames differ from those in {frames}",
            "the folder or `layout` changed since; rerun sample_frames",
        )
    for line in ignored_lines(listing):
        progress.log(f"read_truth: {line}")
    height, width = store["rgb"].shape[1:3]
    native = tuple(store.attrs["native_size"])
    label, found = read_labels(listing, native, (height, width))
    if list(found) != list(store.attrs["classes"]):
        raise UserError(
            f"{listing.class_inputs()[0]}: the class list differs from that in {frames}",
            "the list changed since; rerun sample_frames",
        )
    masks = read_masks(listing, native, (height, width))
    warn_of_void(label, [path is not None for path in listing.labels])
    files = listing.by_name(listing.label_inputs())
    inputs = {name: file_digest(path) for name, path in files.items()}
    inputs = {"frames": store.attrs["digest"], **inputs}
    write_store(
        out,
        "truth",
        {"label": label} if masks is None else {"label": label, "masks": masks},
        {"names": names, "classes": list(found)},
        result_digest("read_truth", settings, inputs),
    )
    return {
        "frames": len(names),
        "classes": len(found),
        "absent_classes": len(absent_classes(label, found)),
        "void_percent": round(100 * float((label == VOID).mean()), 2),
    }
