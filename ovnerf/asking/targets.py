"""Where phrases are known to be: from the scene's own labels, or from LERF-OVS labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from ovnerf.asking.description import Description, require_same_frames
from ovnerf.asking.lerf_ovs import LabelledObject, read_lerf_labels
from ovnerf.config.phrases import Phrase
from ovnerf.labels.void import VOID
from ovnerf.runtime.errors import UserError
from ovnerf.storage.stores import open_store, read

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Target:
    """Where a phrase is in a view.

    Attributes:
        mask: bool (H, W), its pixels; nowhere true where it is not in the view.
        counted: bool (H, W), pixels whose truth is known.
        boxes: x0, y0, x1, y1 of its objects, exclusive ends.
    """

    mask: np.ndarray
    counted: np.ndarray
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Targets:
    """What is true in some views.

    Attributes:
        source: `truth` (the scene's own labels) or `lerf_ovs`.
        frames: names of the views.
        at: the target of (frame name, text of a phrase); None where it is not known.
    """

    source: str
    frames: tuple[str, ...]
    at: Callable[[str, Phrase], Target | None]


def label_target(label: np.ndarray, classes: Sequence[str], phrase: Phrase) -> Target | None:
    """Where a phrase is in a true label map u16 (H, W); None where no synonym is a class."""
    wanted = [index for index, name in enumerate(classes) if phrase.means(name)]
    if not wanted:
        return None
    mask = np.isin(label, wanted)
    return Target(mask, label != VOID, boxes_of(mask))


def boxes_of(mask: np.ndarray) -> tuple[Box, ...]:
    """Boxes of the 8-connected parts of a mask bool (H, W)."""
    label, _ = ndimage.label(mask, np.ones((3, 3)))
    return tuple(
        (float(x.start), float(y.start), float(x.stop), float(y.stop))
        for y, x in ndimage.find_objects(label)
    )


def targets_of_truth(path: Path, description: Description) -> Targets:
    """The true labels of a scene's held-out frames.

    Their classes are those of the store: the list may have changed since the run was trained.

    Raises:
        UserError: the `truth` store holds other frames than the run.
    """
    truth = open_store(path, "truth")
    require_same_frames(truth, description)
    label = {
        description.names[frame]: read(truth, "label", frame)
        for frame in description.held_out_frames
    }
    known = tuple(truth.attrs["classes"])
    return Targets(
        "truth", tuple(label), lambda name, phrase: label_target(label[name], known, phrase)
    )


def targets_of_lerf(folder: Path, description: Description) -> Targets:
    """The labels of a LERF-OVS folder.

    A phrase that labels no frame is not known; one that labels some is in no other.

    Raises:
        UserError: as `read_lerf_labels`, or labels of a frame that the run does not have.
    """
    size = description.height, description.width
    frames = read_lerf_labels(folder, size, description.lens)
    unknown = sorted(set(frames) - set(description.names))
    if unknown:
        raise UserError(
            f"{folder / unknown[0]}.json: found labels of a frame {unknown[0]!r}, expected a frame "
            f"of {description.source}, like {description.names[0]!r}",
            "the photos keep their names in a scene; give the labels of this one",
        )
    known = {found.category for objects in frames.values() for found in objects}
    return Targets(
        "lerf_ovs",
        tuple(frames),
        lambda name, phrase: object_target(frames[name], known, phrase, size),
    )


def object_target(
    objects: Sequence[LabelledObject], known: set[str], phrase: Phrase, size: tuple[int, int]
) -> Target | None:
    """Where a phrase is among a frame's labelled objects; None where no frame has a synonym."""
    if not any(map(phrase.means, known)):
        return None
    own = [found for found in objects if phrase.means(found.category)]
    mask = np.zeros(size, dtype=bool)
    for found in own:
        mask |= found.mask
    return Target(mask, np.ones(size, dtype=bool), tuple(found.box for found in own))
