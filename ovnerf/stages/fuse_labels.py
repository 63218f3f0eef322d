"""Labels that all training views vote on, in two rounds.

The first labels of every training view vote in its regions, and each surface point takes the class
that is most probable by the mean shares, and by the labels of its own pixels, over the training
views that see it. These labels then vote in the same regions, and the greatest mean share wins
(docs/method.md#fused-labels). Where the regions fit the scene badly, their votes count only as far
as the pixels' own labels support them. Held-out views neither vote nor get labels.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ovnerf.config.base import Strict
from ovnerf.field.covisibility import DepthViews, add_rows
from ovnerf.labels.agreement import agreement, compared
from ovnerf.labels.fusing import (
    PixelShares,
    Profiles,
    class_profiles,
    own_shares,
    pixel_shares,
    supported,
    winners,
)
from ovnerf.labels.rsr import RegionRanker
from ovnerf.labels.void import VOID
from ovnerf.regions.runlength import Regions
from ovnerf.runtime import notices
from ovnerf.storage.by_frame import write_by_frame
from ovnerf.storage.frame_index import FrameIndex
from ovnerf.storage.provenance import result_digest
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.spread import spread_evenly
from ovnerf.storage.stores import open_store, read
from ovnerf.training.data import depth_views

PROFILE_VIEWS, PROFILE_PIXELS = 16, 8192
"""Views, and at most so many pixels of each, spread evenly, that the classes' profiles are from."""
BAD_REGIONS = (
    "views agree less on the labels by the regions' votes than on the first labels, so regions "
    "count only as far as the pixels' own labels support them; others may suit the scene better"
)
LabelMap = Callable[[int], np.ndarray]
"""Slot of a view -> its label map, u16 (H, W)."""
Said = Sequence[PixelShares]
"""What each view says of its own pixels, in the order of the views."""
Means = list[np.ndarray]
"""Mean class shares f32 (pixels, C), one array for each that was said."""
Choose = Callable[..., np.ndarray]
"""These arrays -> the class of each pixel."""
Heard = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Mean shares by region votes and by own labels -> those that count as the former."""
Agreement = dict[str, float | None]
"""Cohen's kappa across views, percent: of the `first` labels, and of those by the `regions`' votes;
None where views share no labelled point."""
LEAST_AGREEMENT = 0.92
"""Regions fit badly if the labels by their votes have less than this share of the first labels'
agreement."""


@dataclass(frozen=True)
class Voters:
    """The training views whose labels vote, in the order of the fused store.

    Attributes:
        frames: number of each view's frame.
        views: their rendered depth, that says which pixels show the same surface point.
        regions: of all frames.
        classes: names.
    """

    frames: list[int]
    views: DepthViews
    regions: Regions
    classes: list[str]

    def shares(self, label: LabelMap) -> list[PixelShares]:
        """What the regions of each view say of its pixels."""
        return [
            pixel_shares(label(slot), RegionRanker(self.regions.masks(frame)), len(self.classes))
            for slot, frame in enumerate(self.frames)
        ]

    def means(self, slot: int, said: Sequence[Said], among: np.ndarray | None = None) -> Means:
        """Mean shares of a view's pixels over all views that see their points, for each of `said`.

        The view itself counts as one that sees them. Rows are 0 where no view has a share.

        Args:
            among: i32 (pixels,), the pixels; all of the view's if None.
        """
        if among is None:
            among = np.arange(self.views.distance[slot].size, dtype=np.int32)
        total = [np.zeros((len(among), len(self.classes)), dtype=np.float32) for _ in said]
        count = [np.zeros(len(among), dtype=np.int32) for _ in said]
        point = self.views.surface(slot)[among]
        for view in range(len(self.views)):
            pixel = among if view == slot else self.views.pixels(point, view)
            for summed, added, shares in zip(total, count, said, strict=True):
                add_rows(summed, added, shares[view].table, shares[view].row, pixel)
        return [
            summed / np.maximum(added, 1)[:, None].astype(np.float32)
            for summed, added in zip(total, count, strict=True)
        ]

    def agreement(self, label: LabelMap, regions: Said) -> Agreement:
        """How far views agree on the classes of what they both see.

        Args:
            label: the first labels. regions: what the regions say.
        """
        slots = compared(range(len(self.frames)))
        views = DepthViews(
            self.views.pose[slots], self.views.intrinsics, self.views.distance[slots]
        )
        maps = {
            "first": [label(slot) for slot in slots],
            "regions": [winners(regions[slot]) for slot in slots],
        }
        found = agreement(maps, views.pairs(), len(self.classes))
        return {
            name: None if np.isnan(kappa) else round(100 * kappa, 2)
            for name, kappa in found.items()
        }

    def profiles(self, regions: Said, own: Said, heard: Heard) -> Profiles:
        """What the votes on the pixels of each class look like."""
        pixels = range(self.views.distance[0].size)
        among = np.array(spread_evenly(pixels, PROFILE_PIXELS), dtype=np.int32)
        slots = spread_evenly(range(len(self.frames)), PROFILE_VIEWS)
        means = [self.means(slot, (regions, own), among) for slot in slots]
        by_regions, by_own = (np.concatenate(part) for part in zip(*means, strict=True))
        return class_profiles(heard(by_regions, by_own), by_own)

    def write(
        self, path: Path, said: Sequence[Said], choose: Choose, found: Agreement, digest: str
    ) -> None:
        """Write a `fused` store: of each pixel the class chosen by its mean shares over views.

        Pixels without shares of the first of `said` are void.
        """

        def produce(todo: Sequence[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
            for slot in tqdm(todo, "fuse_labels", disable=None, unit="view"):
                means = self.means(slot, said)
                label = np.where(means[0].any(1), choose(*means), VOID).astype(np.uint16)
                yield slot, {"label": label.reshape(self.views.distance.shape[1:])}

        attributes = {"frames": self.frames, "classes": self.classes, "agreement": found}
        write_by_frame(path, "fused", len(self.frames), produce, attributes, digest)


def run(*, frames: Path, depth: Path, labels: Path, regions: Path, out: Path) -> dict[str, object]:
    """Write a `fused` store for the training frames of the `labels` store."""
    scene, distances = open_store(frames, "frames"), open_store(depth, "depth")
    first, proposals = open_store(labels, "labels"), open_store(regions, "regions")
    index = FrameIndex(first)
    training = [frame for frame in frame_indices(scene, "train") if frame in index]
    views = depth_views(scene, distances, training)
    voters = Voters(training, views, Regions(proposals), first.attrs["classes"])
    stores = {"frames": scene, "depth": distances, "labels": first, "regions": proposals}
    inputs = {name: str(group.attrs["digest"]) for name, group in stores.items()}
    digest = result_digest("fuse_labels", Strict(), inputs)

    def label(slot: int) -> np.ndarray:
        return np.asarray(read(first, "clip", index.slot(training[slot])))

    own = [own_shares(label(slot), len(voters.classes)) for slot in range(len(training))]
    # Kept until the second round is there, so that a kill in the second does not cost the first.
    first_round = out.with_name(out.name + ".round1")
    if not (first_round.exists() and open_store(first_round, "fused").attrs["digest"] == digest):
        write_first_round(first_round, voters, label, own, digest)
    voted = open_store(first_round, "fused")
    found = voted.attrs["agreement"]
    heard = who_is_heard(found)
    said_again = voters.shares(lambda slot: read(voted, "label", slot))
    voters.write(out, (said_again, own), lambda *means: heard(*means).argmax(1), found, digest)
    shutil.rmtree(first_round)
    stored = open_store(out, "fused")
    void = [np.mean(read(stored, "label", slot) == VOID) for slot in range(len(training))]
    return {
        "frames": len(training),
        "void_percent": round(100 * float(np.mean(void)), 2),
        "first_agreement": found["first"],
        "region_agreement": found["regions"],
        **notices.warning_entry("" if heard is alone else BAD_REGIONS),
    }


def write_first_round(path: Path, voters: Voters, label: LabelMap, own: Said, digest: str) -> None:
    """Write the labels of the first round, chosen by the profiles of the classes.

    Args:
        label: the first labels; `own` are they as shares.
    """
    regions = voters.shares(label)
    found = voters.agreement(label, regions)
    heard = who_is_heard(found)
    profiles = voters.profiles(regions, own, heard)

    def choose(by_regions: np.ndarray, by_own: np.ndarray) -> np.ndarray:
        return profiles.labels(heard(by_regions, by_own), by_own)

    voters.write(path, (regions, own), choose, found, digest)


def who_is_heard(found: Agreement) -> Heard:
    """`alone` where the regions' votes make views agree as well as before, else `supported`.

    Regions that cut through things, each view's in its own way, make views agree less.
    """
    first, regions = found["first"], found["regions"]
    fits_badly = first is not None and regions is not None and regions < LEAST_AGREEMENT * first
    return supported if fits_badly else alone


def alone(regions: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Mean shares by region votes as they are, whatever the pixels' own labels say."""
    return regions
