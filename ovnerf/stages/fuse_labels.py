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
from ovnerf.storage.spread import spread_evenly
from ovnerf.storage.stores import open_store, read
from ovnerf.training.data import depth_views

RARITY = 0.25
"""Mean shares are divided by this power of their class's frequency."""
RAREST = 0.01
"""Lowest frequency that is used, so that names of what is not there gain little."""
COUNTED_VIEWS = 16
"""Views, spread evenly, in which the frequency of the classes is taken."""
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
            weight = class_weights(views, shares, classes)
            for slot in tqdm(todo, "fuse_labels", disable=None, unit="view"):
                yield slot, {"label": fused(views, shares, slot, weight)}

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
    views: DepthViews, shares: Sequence[PixelShares], target: int, weight: np.ndarray
) -> np.ndarray:
    """Labels u16 (H, W) of one view: the class of the greatest weighted mean share.

    Ties go to the smaller index; a pixel whose point no view has a share for is void.

    Args:
        shares: of every view, in the order of `views`.
        weight: (C,), of the classes.
    """
    mean = mean_shares(views, shares, target, len(weight))
    label = np.where(mean.any(1), (mean * weight).argmax(1), VOID)
    return label.reshape(views.distance.shape[1:]).astype(np.uint16)


def mean_shares(
    views: DepthViews, shares: Sequence[PixelShares], target: int, classes: int
) -> np.ndarray:
    """Mean class shares f32 (H W, C) of a view's pixels over all views that see their points.

    The view itself counts as one that sees them. Rows are 0 where no view has a share.
    """
    pixels = views.distance[target].size
    total = np.zeros((pixels, classes), dtype=np.float32)
    count = np.zeros(pixels, dtype=np.int32)
    own = np.arange(pixels, dtype=np.int32)
    for view, pixel in ((target, own), *views.others(target)):
        add_rows(total, count, shares[view].table, shares[view].row, pixel)
    return total / np.maximum(count, 1)[:, None]


def class_weights(views: DepthViews, shares: Sequence[PixelShares], classes: int) -> np.ndarray:
    """What the mean shares of each class are multiplied by, f64 (C,): more for rare classes.

    The mean over views favours what is everywhere. Logit adjustment (Menon et al., ICLR 2021)
    divides by a power of how frequent each class is, here in the mean shares of some views.
    """
    some = spread_evenly(list(range(len(shares))), COUNTED_VIEWS)
    frequency = np.mean([mean_shares(views, shares, one, classes).mean(0) for one in some], axis=0)
    return np.maximum(frequency, RAREST) ** -RARITY
