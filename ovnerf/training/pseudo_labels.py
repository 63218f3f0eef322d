"""Cross-view self-enhancement, CSE: the field's own renders become its labels (paper Eq. 7-12)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ovnerf.config.semantics import Cse
from ovnerf.field.field import RadianceField
from ovnerf.field.rendering import (
    ViewWeights,
    render_labels_and_probability,
    render_rgb,
    surface_distance,
    to_uint8,
    view_weights,
)
from ovnerf.field.semantic_field import SemanticField
from ovnerf.geometry.camera import Camera
from ovnerf.labels.rsr import Order, RegionRanker
from ovnerf.labels.void import VOID
from ovnerf.regions.superpixels import snapping_parts
from ovnerf.training.novel_views import valid_pixels

Proposer = Callable[[np.ndarray], np.ndarray]
"""Image u8 (H, W, 3) -> region masks bool (m, H, W) in generator order."""


@dataclass(frozen=True)
class LabelRules:
    """How rendered features become labels, and how labels are ranked.

    Attributes:
        text: unit rows (C, D), or (C + 1, D) with a blank prompt last.
        classes: C.
        uncovered: label of pixels that no voting region covers.
        order: which region wins an overlap, see `RegionRanker`.
        snap: whether ranked labels snap to superpixels (`rank_regions.snap`).
    """

    text: Tensor
    classes: int
    uncovered: int
    order: Order
    snap: bool = False

    def ranker(self, masks: np.ndarray, image: np.ndarray) -> RegionRanker:
        """RSR of a view by its regions bool (m, H, W) and its photo or render u8 (H, W, 3)."""
        return RegionRanker(masks, self.order, snapping_parts(image) if self.snap else None)


class ViewCache:
    """Rendering weights of views, by name of the view.

    They are kept as long as they fit into a memory budget, and recomputed beyond it.
    """

    def __init__(self, field: SemanticField, budget_mb: int) -> None:
        """Start empty; `budget_mb` is in MB of 2^20 bytes."""
        self.field, self.bytes_left = field, budget_mb * 2**20
        self.kept: dict[str, ViewWeights] = {}

    def get(self, name: str, camera: Camera) -> ViewWeights:
        """The view's weights; density is frozen, so they never change."""
        if name in self.kept:
            return self.kept[name]
        view = view_weights(self.field.radiance, camera)
        if view.nbytes() <= self.bytes_left:
            self.kept[name] = view
            self.bytes_left -= view.nbytes()
        return view


class PseudoLabels:
    """Renders and cleans labels of refreshed training views and of novel views.

    Args:
        field: the field in training.
        reconstruction: the field before it, whose colours the novel views are shown in.
        cameras: all training cameras, in the order of the sequence.
        refreshed: indices in `cameras` of the views whose labels are replaced.
        rankers: RSR of each refreshed view, None where `cse.rank_pseudo_labels` is off.
        propose: region proposals for novel views.
        rules: see `LabelRules`.
        poses: camera to scene of the novel views, f32 (m, 4, 4).
    """

    def __init__(
        self,
        field: SemanticField,
        reconstruction: RadianceField,
        cameras: list[Camera],
        refreshed: list[int],
        rankers: Sequence[RegionRanker | None],
        propose: Proposer,
        rules: LabelRules,
        settings: Cse,
        poses: Tensor,
    ) -> None:
        self.field, self.reconstruction = field, reconstruction
        self.cameras, self.refreshed = cameras, refreshed
        self.rankers, self.propose, self.rules, self.settings = rankers, propose, rules, settings
        self.cache = ViewCache(field, settings.cache_mb)
        self.novel = self.place_novel_views(poses)
        self.novel_rankers: dict[str, RegionRanker] = {}

    def place_novel_views(self, poses: Tensor) -> list[tuple[str, Camera, Tensor]]:
        """The novel views that see enough: (name, camera, valid pixels as bool (H * W,)) each."""
        if len(poses) == 0:
            return []
        size = self.cameras[0].height, self.cameras[0].width
        distances: list[Tensor] = []
        if self.settings.min_seen_by > 0:
            for photo, camera in enumerate(self.cameras):
                view = self.cache.get(f"train{photo}", camera)
                distances.append(surface_distance(camera, view).view(size))
        kept = []
        for index, pose in enumerate(poses):
            camera = replace(self.cameras[0], pose=pose.to(self.cameras[0].pose))
            view = self.cache.get(f"novel{index}", camera)
            valid = valid_pixels(camera, view, self.settings, self.cameras, distances)
            if valid.float().mean() >= self.settings.min_valid:
                kept.append((f"novel{index}", camera, valid))
        return kept

    def refresh(self) -> tuple[Tensor, Tensor]:
        """Labels of the refreshed and of the novel views, from the field as it is now.

        Returns:
            i64 (refreshed views, H, W) and i64 (novel views, H, W), `VOID` where unknown.
        """
        maps = [self.label_map(f"train{photo}", self.cameras[photo]) for photo in self.refreshed]
        least = least_probability([probability for _, probability in maps], self.settings.surest)
        train = [
            self.cleaned(label, probability >= least, ranker)
            for (label, probability), ranker in zip(maps, self.rankers, strict=True)
        ]
        novel = [self.novel_labels(*view, least) for view in self.novel]
        return stack_maps(train), stack_maps(novel)

    def label_map(self, name: str, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        """Labels u16 (H, W) that the field renders (paper Eq. 7), and their probability, f32."""
        view = self.cache.get(name, camera)
        rendered = render_labels_and_probability(self.field, view, self.rules.text, VOID)
        label, probability = (
            part.view(camera.height, camera.width).cpu().numpy() for part in rendered
        )
        return label.astype(np.uint16), probability

    def cleaned(
        self, label: np.ndarray, trusted: np.ndarray, ranker: RegionRanker | None
    ) -> np.ndarray:
        """A rendered map u16 (H, W) after RSR, in which only the trusted pixels (bool) have a say.

        The others neither vote nor keep a label. Without a ranker (`cse.rank_pseudo_labels` is off)
        the trusted labels stay as they are.
        """
        voting = np.where(trusted, label, VOID).astype(np.uint16)
        if ranker is None:
            return voting
        if self.settings.uncovered == "keep":
            ranked = ranker(voting, self.rules.classes)
            ranked = np.where(ranked == VOID, voting, ranked)
        else:
            ranked = ranker(voting, self.rules.classes, self.rules.uncovered)
        return np.where(trusted, ranked, VOID).astype(np.uint16)

    def novel_labels(self, name: str, camera: Camera, valid: Tensor, least: float) -> np.ndarray:
        """Labels u16 (H, W) of a novel view after RSR, by regions of its rendered colours.

        Pixels that are not valid, or whose label is less probable than `least`, have no say.
        """
        label, probability = self.label_map(name, camera)
        trusted = valid.view(camera.height, camera.width).cpu().numpy() & (probability >= least)
        ranked = self.settings.rank_pseudo_labels
        return self.cleaned(label, trusted, self.novel_ranker(name, camera) if ranked else None)

    def novel_ranker(self, name: str, camera: Camera) -> RegionRanker:
        """RSR of a novel view, by the regions of its colours as they were reconstructed.

        Made once: these colours do not change, and SAM would take minutes at every refresh. A run
        that goes on after a kill makes the same ones.
        """
        if name not in self.novel_rankers:
            image = self.novel_image(name, camera)
            self.novel_rankers[name] = self.rules.ranker(self.propose(image), image)
        return self.novel_rankers[name]

    def novel_image(self, name: str, camera: Camera) -> np.ndarray:
        """Colours u8 (H, W, 3) of a novel view, as they were reconstructed."""
        rgb = render_rgb(self.reconstruction, self.cache.get(name, camera))
        return to_uint8(rgb, camera.height, camera.width).cpu().numpy()


def least_probability(maps: list[np.ndarray], share: float) -> float:
    """The probability that this share of the pixels with a label reaches; 0 for all of them.

    Args:
        maps: f32 (H, W) each; 0 where a pixel has no label.
    """
    if share == 1:
        return 0.0
    found = np.concatenate([probability[probability > 0] for probability in maps])
    kept = math.ceil(round(share * len(found), 6))  # 0.9 x 100 is a little more than 90.
    dropped = len(found) - kept
    return float(np.partition(found, dropped)[dropped]) if len(found) else 0.0


def stack_maps(maps: list[np.ndarray]) -> Tensor:
    """Label maps as one i64 tensor (n, H, W); (0, 0, 0) for none."""
    if not maps:
        return torch.zeros(0, 0, 0, dtype=torch.long)
    return torch.from_numpy(np.stack(maps).astype(np.int64))
