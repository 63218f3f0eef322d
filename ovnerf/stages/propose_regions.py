"""Region proposals of each view: SAM's automatic masks, superpixels, or the true regions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ovnerf.config.regions import ProposeRegions
from ovnerf.regions.proposals import Proposals
from ovnerf.regions.runlength import encode_all
from ovnerf.regions.sam import RegionProposer
from ovnerf.regions.superpixels import propose_superpixels
from ovnerf.regions.truth import true_regions
from ovnerf.runtime import notices
from ovnerf.runtime.errors import UserError
from ovnerf.storage.by_frame import write_by_frame
from ovnerf.storage.provenance import file_digest, result_digest, unchanged
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import Store, open_store, open_truth, read
from ovnerf.storage.weight_loading import find_file


def run(*, frames: Path, out: Path, settings: ProposeRegions, truth: Path | None = None) -> dict:
    """Write the `regions` store of a `frames` store; returns how many frames and regions it holds.

    `truth`, the scene's truth store, is read for `architecture: truth` only.
    """
    scene = open_store(frames, "frames")
    view_frames = frame_indices(scene, settings.views)
    source = region_source(scene, settings, truth)

    def produce(todo: Sequence[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for slot in tqdm(todo, "propose_regions", disable=None, unit="view"):
            found = source.propose(view_frames[slot])
            yield slot, {**encode_all(found.masks), "score": found.score, "area": found.area}
        if source.weights:
            unchanged(source.weights, source.inputs["weights"])

    write_by_frame(
        out,
        "regions",
        len(view_frames),
        produce,
        {
            "frames": view_frames,
            "shape": list(scene["rgb"].shape[1:3]),
            "settings": settings.model_dump(mode="json"),
            **source.inputs,
        },
        result_digest(
            "propose_regions", settings, {"frames": scene.attrs["digest"], **source.inputs}
        ),
        ragged=("runs", "run_bytes", "score", "area"),
    )
    counts = np.diff(read(open_store(out, "regions"), "score_offset"))
    empty = int((counts == 0).sum())
    return {
        "frames": len(view_frames),
        "regions": int(counts.sum()),
        **notices.warning_entry(notices.views_without_regions(empty, len(view_frames))),
    }


@dataclass(frozen=True)
class RegionSource:
    """What regions are made by.

    Attributes:
        propose: frame of the scene -> its regions.
        inputs: digest of the weight file or of the truth store, under `weights` or `truth`; empty
            where regions are made from the frames alone.
        weights: the weight file, where there is one.
    """

    propose: Callable[[int], Proposals]
    inputs: dict[str, str]
    weights: Path | None = None


def region_source(scene: Store, settings: ProposeRegions, truth: Path | None) -> RegionSource:
    """SAM as the settings describe it, superpixels, or ground truth.

    Raises:
        UserError: the weight file or `truth` is missing, or does not fit.
    """
    if settings.architecture == "truth":
        if truth is None:
            raise UserError(
                "propose_regions.architecture: `truth` needs --truth, found none",
                "name the scene's truth.zarr",
            )
        labels = open_truth(truth, scene)
        return RegionSource(
            lambda frame: true_regions(read(labels, "label", frame)),
            {"truth": labels.attrs["digest"]},
        )
    if settings.architecture == "superpixels":
        return RegionSource(
            lambda frame: propose_superpixels(read(scene, "rgb", frame), settings.superpixels), {}
        )
    weights = find_file(settings.weights, "propose_regions.weights")
    digest = file_digest(weights)
    proposer = RegionProposer.load(settings, weights)
    return RegionSource(
        lambda frame: proposer.propose(read(scene, "rgb", frame)), {"weights": digest}, weights
    )
