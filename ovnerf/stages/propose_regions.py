"""Region proposals of each view: SAM's automatic masks in generator order, or the true regions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ovnerf.config.regions import ProposeRegions
from ovnerf.regions.runlength import encode_all
from ovnerf.regions.sam import Proposals, RegionProposer
from ovnerf.regions.truth import true_regions
from ovnerf.runtime import notices
from ovnerf.runtime.errors import UserError
from ovnerf.storage.provenance import file_digest, result_digest, unchanged
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import Store, open_store, open_truth, read, write_by_frame
from ovnerf.storage.weight_loading import find_file


def run(*, frames: Path, out: Path, settings: ProposeRegions, truth: Path | None = None) -> dict:
    """Write a `regions` store; `truth` is read for `architecture: truth` only."""
    scene = open_store(frames, "frames")
    chosen = frame_indices(scene, settings.views)
    propose, sources = region_source(scene, chosen, settings, truth)
    digest = result_digest(
        "propose_regions",
        settings.model_dump(mode="json"),
        {"frames": scene.attrs["digest"], **sources},
    )

    def produce(todo: Sequence[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for slot in tqdm(todo, "propose_regions", disable=None, unit="view"):
            found = propose(slot)
            yield slot, {**encode_all(found.masks), "score": found.score, "area": found.area}
        if "weights" in sources:
            unchanged(find_file(settings.weights, "propose_regions.weights"), sources["weights"])

    write_by_frame(
        out,
        "regions",
        len(chosen),
        produce,
        {
            "frames": chosen,
            "shape": list(scene["rgb"].shape[1:3]),
            "settings": settings.model_dump(mode="json"),
            **sources,
        },
        digest,
        ragged=("runs", "run_bytes", "score", "area"),
    )
    counts = np.diff(read(open_store(out, "regions"), "score_offset"))
    empty = int((counts == 0).sum())
    return {
        "frames": len(chosen),
        "regions": int(counts.sum()),
        **notices.said(notices.views_without_regions(empty, len(chosen))),
    }


def region_source(
    scene: Store, chosen: Sequence[int], settings: ProposeRegions, truth: Path | None
) -> tuple[Callable[[int], Proposals], dict[str, str]]:
    """Regions of the slot-th chosen frame, and digests of what else they are made from."""
    if settings.architecture == "truth":
        if truth is None:
            raise UserError(
                "propose_regions.architecture: `truth` needs --truth, found none",
                "name the scene's truth.zarr",
            )
        labels = open_truth(truth, scene)
        return (
            lambda slot: true_regions(read(labels, "label", chosen[slot])),
            {"truth": labels.attrs["digest"]},
        )
    weights = find_file(settings.weights, "propose_regions.weights")
    digest = file_digest(weights)
    proposer = RegionProposer.load(settings)
    return lambda slot: proposer.propose(read(scene, "rgb", chosen[slot])), {"weights": digest}
