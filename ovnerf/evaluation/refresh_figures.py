"""Label maps of views as they change: a row per view, a column per moment (paper Fig. 3, 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ovnerf.evaluation.figures import (
    colour_labels,
    draw_legend,
    legend_patches,
    new_figure,
    plain,
)

PANEL_INCHES = 2.2
"""Width of a panel."""


def label_rows(
    rows: Mapping[str, Sequence[np.ndarray]],
    columns: Sequence[str],
    classes: Sequence[str],
    title: str,
) -> Figure:
    """A row of panels per view under common names, with a legend of the classes they show.

    Args:
        rows: name of a view -> its panels, u8 (H, W, 3) pictures and integer (H, W) label maps.
        columns: names of the panels. classes: names; labels index them.
    """
    maps = [panel for panels in rows.values() for panel in panels if panel.ndim == 2]
    height, width = maps[0].shape
    size = PANEL_INCHES * len(columns), (PANEL_INCHES * height / width + 0.1) * len(rows) + 1.2
    figure = new_figure(*size)
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for line, (view, panels) in zip(axes, rows.items(), strict=True):
        for axis, panel in zip(line, panels, strict=True):
            axis.set(xticks=[], yticks=[])
            picture = panel if panel.ndim == 3 else colour_labels(panel, len(classes))
            axis.imshow(picture, interpolation="nearest")
        line[0].set_ylabel(plain(view), fontsize=9)
    for axis, name in zip(axes[0], columns, strict=True):
        axis.set_title(plain(name), fontsize=10)
    shown = legend_patches(maps, classes)
    names, handles = [name for name, _ in shown], [patch for _, patch in shown]
    draw_legend(figure, handles, names, loc="outside lower center", ncols=6, fontsize=8)
    figure.suptitle(plain(title), fontsize=11)
    return figure
