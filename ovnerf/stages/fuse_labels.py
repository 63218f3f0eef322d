"""Labels that all training views vote on: shares of region votes, meant over views, twice.

The first labels of every training view vote in its regions, and each surface point takes the class
that the mean shares over the training views that see it make most probable. These labels then vote
in the same regions, and the greatest mean share wins (docs/method.md#fused-labels). Held-out views
neither vote nor get labels.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ovnerf.config.base import Strict
from ovnerf.field.covisibility import DepthViews, add_rows
from ovnerf.labels.fusing import PixelShares, class_profiles, pixel_shares
from ovnerf.labels.rsr import RegionRanker
from ovnerf.labels.void import VOID
from ovnerf.regions.runlength import Regions
from ovnerf.storage.by_frame import write_by_frame
from ovnerf.storage.frame_index import FrameIndex
from ovnerf.storage.provenance import result_digest
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.spread import spread_evenly
from ovnerf.storage.stores import open_store, read
from ovnerf.training.data import depth_views

PROFILE_VIEWS = 16
"""Views, spread evenly, that the profiles of the classes are taken from."""
LabelMap = Callable[[int], np.ndarray]
"""Slot of a training view -> its label map, u16 (H, W)."""


def run(*, frames: Path, depth: Path, labels: Path, regions: Path, out: Path) -> dict[str, object]:
    """Write a `fused` store for the training frames of the `labels` store."""
    scene, distances = open_store(frames, "frames"), open_store(depth, "depth")
    first, proposals = open_store(labels, "labels"), open_store(regions, "regions")
    index, store = FrameIndex(first), Regions(proposals)
    voters = [frame for frame in frame_indices(scene, "train") if frame in index]
    classes = len(first.attrs["classes"])
    views = depth_views(scene, distances, voters)
    stores = {"frames": scene, "depth": distances, "labels": first, "regions": proposals}
    inputs = {name: str(group.attrs["digest"]) for name, group in stores.items()}
    digest = result_digest("fuse_labels", Strict(), inputs)

    def vote(path: Path, label: LabelMap, by_profiles: bool) -> None:
        """One round: write the labels that the views give each other by these of their own."""

        def produce(todo: Sequence[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
            shares = [
                pixel_shares(label(slot), RegionRanker(store.masks(frame)), classes)
                for slot, frame in enumerate(voters)
            ]
            some = spread_evenly(range(len(voters)), PROFILE_VIEWS)
            means = (mean_shares(views, shares, one, classes) for one in some)
            chosen = class_profiles(means, classes).labels if by_profiles else greatest
            for slot in tqdm(todo, "fuse_labels", disable=None, unit="view"):
                mean = mean_shares(views, shares, slot, classes)
                found = np.where(mean.any(1), chosen(mean), VOID).astype(np.uint16)
                yield slot, {"label": found.reshape(views.distance.shape[1:])}

        attributes = {"frames": voters, "classes": first.attrs["classes"]}
        write_by_frame(path, "fused", len(voters), produce, attributes, digest)

    # Kept until the second round is there, so that a kill in the second does not cost the first.
    first_round = out.with_name(out.name + ".round1")
    if not (first_round.exists() and open_store(first_round, "fused").attrs["digest"] == digest):
        vote(first_round, lambda slot: read(first, "clip", index.slot(voters[slot])), True)
    voted = open_store(first_round, "fused")
    vote(out, lambda slot: read(voted, "label", slot), False)
    shutil.rmtree(first_round)
    stored = open_store(out, "fused")
    void = [np.mean(read(stored, "label", slot) == VOID) for slot in range(len(voters))]
    return {"frames": len(voters), "void_percent": round(100 * float(np.mean(void)), 2)}


def mean_shares(
    views: DepthViews, shares: Sequence[PixelShares], target: int, classes: int
) -> np.ndarray:
    """Mean class shares f32 (H W, C) of a view's pixels over all views that see their points.

    The view itself counts as one that sees them. Rows are 0 where no view has a share.

    Args:
        shares: of every view, in the order of `views`.
    """
    pixels = views.distance[target].size
    total = np.zeros((pixels, classes), dtype=np.float32)
    count = np.zeros(pixels, dtype=np.int32)
    own = np.arange(pixels, dtype=np.int32)
    for view, pixel in ((target, own), *views.others(target)):
        add_rows(total, count, shares[view].table, shares[view].row, pixel)
    return total / np.maximum(count, 1)[:, None].astype(np.float32)


def greatest(mean: np.ndarray) -> np.ndarray:
    """The class of each pixel's greatest mean share; the smaller index if two are equal."""
    return mean.argmax(1)
