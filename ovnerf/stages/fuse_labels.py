"""Labels that all training views vote on: shares of region votes, meant over views, twice.

The first labels of every training view vote in its regions, and each surface point takes the class
of the greatest mean share over the training views that see it. These labels then vote in the same
way once more (docs/method.md#fused-labels). Held-out views neither vote nor get labels.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ovnerf.config.base import Strict
from ovnerf.field.covisibility import DepthViews, add_rows
from ovnerf.labels.fusing import PixelShares, pixel_shares
from ovnerf.labels.rsr import RegionRanker
from ovnerf.labels.void import VOID
from ovnerf.regions.runlength import Regions
from ovnerf.storage.by_frame import write_by_frame
from ovnerf.storage.frame_index import FrameIndex
from ovnerf.storage.provenance import result_digest
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import open_store, read
from ovnerf.training.data import depth_views

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

    def vote(path: Path, label: LabelMap) -> None:
        """One round: write the labels that the views give each other by these of their own."""

        def produce(todo: Sequence[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
            shares = [
                pixel_shares(label(slot), RegionRanker(store.masks(frame)), classes)
                for slot, frame in enumerate(voters)
            ]
            for slot in tqdm(todo, "fuse_labels", disable=None, unit="view"):
                yield slot, {"label": fused(views, shares, slot, classes)}

        attributes = {"frames": voters, "classes": first.attrs["classes"]}
        write_by_frame(path, "fused", len(voters), produce, attributes, digest)

    # Kept until the second round is there, so that a kill in the second does not cost the first.
    first_round = out.with_name(out.name + ".round1")
    if not (first_round.exists() and open_store(first_round, "fused").attrs["digest"] == digest):
        vote(first_round, lambda slot: read(first, "clip", index.slot(voters[slot])))
    voted = open_store(first_round, "fused")
    vote(out, lambda slot: read(voted, "label", slot))
    shutil.rmtree(first_round)
    stored = open_store(out, "fused")
    void = [np.mean(read(stored, "label", slot) == VOID) for slot in range(len(voters))]
    return {"frames": len(voters), "void_percent": round(100 * float(np.mean(void)), 2)}


def fused(
    views: DepthViews, shares: Sequence[PixelShares], target: int, classes: int
) -> np.ndarray:
    """Labels u16 (H, W) of one view by the mean shares of all views that see each pixel's point.

    The view itself counts as one that sees them. Ties go to the smaller index; a pixel whose point
    no view has a share for is void.

    Args:
        shares: of every view, in the order of `views`.
    """
    shape = views.distance.shape[1:]
    total = np.zeros((shape[0] * shape[1], classes), dtype=np.float32)
    count = np.zeros(len(total), dtype=np.int32)
    own = np.arange(len(total), dtype=np.int32)
    for view, pixel in ((target, own), *views.others(target)):
        add_rows(total, count, shares[view].table, shares[view].row, pixel)
    # Every share was divided by as many views: the greatest sum is the greatest mean.
    label = np.where(count > 0, total.argmax(1), VOID)
    return label.reshape(shape).astype(np.uint16)
