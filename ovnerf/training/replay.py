"""A semantic training once more, to see the pseudo labels that it used (docs/asking.md#refreshes).

Trainings keep their latest labels only. A training is a function of its inputs and its seed, so
another run of it makes the same labels at each refresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from ovnerf.storage.by_frame import load_part, part_path, save_part
from ovnerf.training.semantics import SemanticTraining


@dataclass
class Replay:
    """A training that keeps the labels of a few views at each refresh.

    Attributes:
        slots: which labelled training views are kept. novel: which novel views are.
        kept: folder with a part (`save_part`) per refresh.
        iteration: iterations done so far.
    """

    training: SemanticTraining
    slots: Sequence[int]
    novel: Sequence[int]
    kept: Path
    iteration: int = field(init=False)

    def __post_init__(self) -> None:
        """Begin where the training is."""
        self.iteration = self.training.iteration

    @property
    def refreshes(self) -> range:
        """The iterations at which labels are replaced."""
        training = self.training
        return range(training.cse_start, training.settings.iterations, training.cse_every)

    def step(self) -> None:
        """One iteration of the training; what it refreshed is kept."""
        iteration, refreshed = self.iteration, self.training.refreshes_now()
        self.training.step()
        self.iteration = self.training.iteration
        if refreshed:
            label = label_maps(self.training.label, self.slots)
            novel = label_maps(self.training.novel_label, self.novel)
            number = self.refreshes.index(iteration)
            save_part(part_path(self.kept, number), {"label": label, "novel": novel})

    def labels(self, name: str) -> np.ndarray:
        """Kept maps u16 (refreshes, views, H, W); `name` is `label` or `novel`."""
        parts = range(len(self.refreshes))
        return np.stack([load_part(part_path(self.kept, part))[name] for part in parts])

    def save(self, path: Path, digest: str) -> None:
        """Write everything that is needed to go on and end at the same result."""
        self.training.save(path, digest)

    def restore(self, path: Path, digest: str) -> bool:
        """Go on from a checkpoint of the same digest; False when there is none."""
        restored = self.training.restore(path, digest)
        self.iteration = self.training.iteration
        return restored


def label_maps(labels: Tensor, views: Sequence[int]) -> np.ndarray:
    """The maps of some views of an integer tensor (n, H, W), u16, `VOID` where unknown."""
    return labels.cpu().numpy()[list(views)].astype(np.uint16)
