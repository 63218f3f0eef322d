"""From a rendered view to a picture: which quantity is shown, and how. No ray is marched here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from ovnerf.asking.asker import Asker
from ovnerf.asking.relevancy import cosines
from ovnerf.asking.views import View
from ovnerf.config.phrases import Phrase
from ovnerf.evaluation.figures import palette

Output = Literal["colour", "depth", "opacity", "labels", "relevancy"]
OUTPUTS: tuple[Output, ...] = ("colour", "depth", "opacity", "labels", "relevancy")
OVERLAY = 0.6
"""Opacity of labels and relevancy over the rendered colour."""
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Look:
    """What is shown of a view.

    Attributes:
        output: the quantity.
        phrase: what `relevancy` is of; without one it shows the colour.
        threshold: pixels of lower relevancy keep their colour, darkened.
        hidden: indices of classes that `labels` leaves uncoloured.
    """

    output: Output = "colour"
    phrase: Phrase | None = None
    threshold: float = 0.5
    hidden: frozenset[int] = frozenset()


def class_labels(asker: Asker, view: View) -> NDArray[np.int64]:
    """The most similar class of each pixel (H, W); -1 where a ray meets nothing."""
    size = view.opacity.shape
    label = class_cosines(asker, view).argmax(0).reshape(size)
    return np.where(view.opacity > 0, label, -1)


def class_cosines(asker: Asker, view: View) -> NDArray[np.float32]:
    """Cosines f32 (C, H W) of the class names with each pixel."""
    bank = getattr(asker.points.text, asker.description.text_bank)
    feature = view.feature.reshape(-1, view.feature.shape[-1])
    return cosines(feature, bank[: len(asker.points.classes)] @ asker.points.matrix)


def picture(view: View, look: Look, asker: Asker) -> Picture:
    """The picture u8 (H, W, 3) of a view."""
    if look.output == "depth":
        return coloured(view.depth, 0.0, float(np.quantile(view.depth, 0.98)), "viridis_r")
    if look.output == "opacity":
        return coloured(view.opacity, 0.0, 1.0, "gray")
    if look.output == "labels":
        label = class_labels(asker, view)
        shown = (label >= 0) & ~np.isin(label, list(look.hidden))
        return overlaid(view.rgb, palette(len(asker.points.classes))[label], shown)
    if look.output == "relevancy" and look.phrase is not None:
        (score,) = asker.view_scores([look.phrase], view)
        colour = coloured(score, look.threshold, 1.0, "turbo")
        return overlaid(view.rgb, colour, score >= look.threshold, around=0.5)
    return view.rgb


def coloured(values: NDArray[np.floating], low: float, high: float, colours: str) -> Picture:
    """Values (H, W) as colours of a scale from `low` to `high`."""
    scale = Normalize(low, max(high, low + 1e-6), clip=True)
    return (matplotlib.colormaps[colours](scale(values))[..., :3] * 255).round().astype(np.uint8)


def overlaid(
    rgb: Picture, colour: Picture, shown: NDArray[np.bool_], around: float = 1.0
) -> Picture:
    """`colour` laid over `rgb` where `shown`; elsewhere `rgb` at the brightness `around`."""
    mixed = OVERLAY * colour + (1 - OVERLAY) * rgb.astype(np.float32)
    return np.where(shown[..., None], mixed, around * rgb).round().astype(np.uint8)


def side_by_side(left: NDArray[Any], right: NDArray[Any], share: float) -> NDArray[Any]:
    """The left `share` of an image beside the rest of another of the same size."""
    column = round(share * left.shape[1])
    return np.concatenate([left[:, :column], right[:, column:]], 1)


def line_between(rgb: Picture, share: float) -> Picture:
    """A picture with a white line after the left `share`."""
    column = round(share * rgb.shape[1])
    rgb[:, max(0, column - 1) : column] = 255
    return rgb


def what_is_here(view: View, asker: Asker, top: int = 5) -> list[tuple[str, float]]:
    """The most similar classes of a view of one pixel, and their cosines, greatest first."""
    cosine = class_cosines(asker, view)[:, 0]
    order = np.argsort(-cosine, kind="stable")[:top]
    return [(asker.points.classes[index], float(cosine[index])) for index in order]
