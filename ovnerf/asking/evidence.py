"""Where a phrase is before the field is asked: in CLIP's features of a view, and in its regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ovnerf.asking.asker import Asker
from ovnerf.asking.pictures import COLOURS
from ovnerf.asking.relevancy import relevancy
from ovnerf.config.phrases import Phrase
from ovnerf.encoders.pyramid import class_scores
from ovnerf.evaluation.figures import new_figure, plain
from ovnerf.storage.stores import Store, read

PANEL_INCHES = 2.6
"""Width of a panel."""


def clip_relevancy(asker: Asker, phrase: Phrase, features: Store, slot: int) -> np.ndarray:
    """Relevancy f32 (H, W) of a phrase in CLIP's features of a view, NaN where it has none.

    As for first labels, the cosine of a pixel is the mean over the scales of its windows.

    Args:
        features: store of kind `features`. slot: of the view in it.
    """
    words = [*phrase.synonyms, *asker.negatives(phrase)]
    text = torch.from_numpy(np.stack([asker.vectors[word] for word in words]))
    embedding, box = (torch.from_numpy(read(features, name, slot)) for name in ("embedding", "box"))
    scale = torch.from_numpy(read(features, "scale"))
    height, width = features.attrs["shape"]
    cosine = class_scores(embedding, box, scale, text, height, width).mean(0).numpy()
    count = len(phrase.synonyms)
    found = relevancy(cosine[:count].max(0), cosine[count:].max(0))
    return np.where((cosine == 0).all(0), np.float32(np.nan), found)


def region_means(score: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """A map f32 (H, W) in which each region has its mean score; NaN where no region is.

    What RSR does to labels, done to scores: all means are taken first, then the regions are painted
    in their order, so that the last one wins an overlap.

    Args:
        score: f32 (H, W), NaN where unknown. masks: bool (m, H, W).
    """
    painted = np.full(score.shape, np.nan, dtype=np.float32)
    for mask in masks:
        inside = score[mask]
        known = inside[~np.isnan(inside)]
        if len(known):
            painted[mask] = known.mean(dtype=np.float64)
    return painted


def map_figure(
    rows: Mapping[str, Sequence[np.ndarray]], names: Sequence[str], title: str
) -> Figure:
    """A row of panels per view under common names, with one colour scale for all maps.

    The scale goes from the lowest to the highest score of the whole figure, so that colours can be
    compared between its maps. Pixels without a score are grey.

    Args:
        rows: name of a view -> its panels, u8 (H, W, 3) pictures and f32 (H, W) maps, NaN where
            unknown.
        names: of the columns.
    """
    maps = [panel for panels in rows.values() for panel in panels if panel.ndim == 2]
    known = np.concatenate([one[~np.isnan(one)] for one in maps])
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    scale = Normalize(low, max(high, low + 1e-6))
    height, width = maps[0].shape
    panel_height = PANEL_INCHES * height / width
    size = PANEL_INCHES * len(names) + 1.0, (panel_height + 0.1) * len(rows) + 0.7
    figure = new_figure(*size)
    axes = figure.subplots(len(rows), len(names), squeeze=False)
    for line, (view, panels) in zip(axes, rows.items(), strict=True):
        for axis, panel in zip(line, panels, strict=True):
            axis.set(xticks=[], yticks=[], facecolor="0.5")
            if panel.ndim == 3:
                axis.imshow(panel, interpolation="nearest")
            else:
                axis.imshow(panel, interpolation="nearest", cmap=COLOURS, norm=scale)
        line[0].set_ylabel(plain(view), fontsize=9)
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(name, fontsize=10)
    figure.suptitle(plain(title), fontsize=11)
    figure.colorbar(ScalarMappable(scale, COLOURS), ax=axes, fraction=0.03, label="relevancy")
    return figure
