"""The contact sheet of a scene: cameras from above, photos, labels, class shares."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ovnerf.evaluation.figures import colour_labels, new_figure, palette, plain
from ovnerf.inspection.overview import Overview, class_shares, up_axis

PANELS = 12
COLUMNS = 6
PANEL_INCHES = 2.5
PLOT_INCHES = 4.6
BARS = 20
"""At most so many classes are drawn."""


def contact_sheet(overview: Overview) -> Figure:
    """One figure: camera plot, views' overlap, class shares, and photos over their labels."""
    chosen = np.linspace(0, len(overview.shown) - 1, min(PANELS, len(overview.shown)))
    chosen = np.unique(chosen.round().astype(int))
    labelled = overview.labels is not None
    strips = ceil(len(chosen) / COLUMNS)
    rows = strips * (2 if labelled else 1)
    side = PANEL_INCHES * overview.photos.shape[1] / overview.photos.shape[2] + 0.15
    figure = new_figure(PANEL_INCHES * COLUMNS, PLOT_INCHES + rows * side)
    parts: Any = figure.subfigures(2, 1, height_ratios=[PLOT_INCHES, rows * side])
    above, below = parts
    plots = above.subplots(1, 3 if labelled else 2, width_ratios=[1.3, 1, 0.6][: 2 + labelled])
    draw_cameras(plots[0], overview)
    draw_overlap(plots[1], overview)
    if labelled:
        draw_shares(plots[2], overview)
    panels = below.subplots(rows, COLUMNS, squeeze=False)
    for axis in panels.flat:
        axis.set_axis_off()
    for slot, index in enumerate(chosen):
        row = slot // COLUMNS * (2 if labelled else 1)
        axis = panels[row, slot % COLUMNS]
        axis.imshow(overview.photos[index])
        axis.set_title(plain(overview.listing.names[overview.shown[index]]), fontsize=8)
        if overview.labels is not None:
            picture = colour_labels(overview.labels[index], len(overview.classes))
            panels[row + 1, slot % COLUMNS].imshow(picture, interpolation="nearest")
    figure.suptitle(
        f"{plain(overview.listing.folder.resolve().name)}: {overview.listing.layout}, "
        f"{len(overview.listing.names)} frames, "
        f"{overview.native_size[1]}x{overview.native_size[0]}"
    )
    return figure


def draw_cameras(axis: Axes, overview: Overview) -> None:
    """Camera centres and viewing wedges from above, coloured by time."""
    up, sign = up_axis(overview.pose)
    # Right-handed seen from above: the axis after `up`, then the one before it.
    across, along = ((up + 1) % 3, (up + 2) % 3) if sign > 0 else ((up + 2) % 3, (up + 1) % 3)
    centre = overview.pose[:, :3, 3][:, [across, along]]
    reach = 0.35 * overview.depth[0]
    half = overview.native_size[1] / 2 / overview.intrinsics[0, 0]
    points = axis.scatter(
        centre[:, 0], centre[:, 1], c=np.arange(len(centre)), cmap="viridis", s=10, zorder=3
    )
    axis.plot(*centre.T, color="0.75", linewidth=0.7, zorder=1)
    for index in overview.shown:
        rotation = overview.pose[index, :3, :3]
        sides = [rotation @ (side * half, 0, 1) for side in (-1, 1)]
        wedge = [centre[index] + reach * side[[across, along]] for side in sides]
        axis.fill(*np.array([centre[index], *wedge]).T, color="tab:orange", alpha=0.15, zorder=2)
    axis.figure.colorbar(points, ax=axis, label="frame", shrink=0.7)
    axis.set_aspect("equal", adjustable="datalim")
    axis.set_xlabel("xyz"[across])
    axis.set_ylabel("xyz"[along])
    axis.set_title(
        f"from above ({'+-'[sign < 0]}{'xyz'[up]} is up); wedges: views shown", fontsize=9
    )


def draw_overlap(axis: Axes, overview: Overview) -> None:
    """Share of what each view sees that each other view sees."""
    image = axis.imshow(100 * overview.overlap, vmin=0, vmax=100, cmap="magma")
    axis.set_title(f"shared view, % (at depth {overview.depth[0]:.2f})", fontsize=9)
    axis.set_xlabel("view")
    axis.figure.colorbar(image, ax=axis, shrink=0.7)


def draw_shares(axis: Axes, overview: Overview) -> None:
    """Pixel share per class."""
    shares = dict(list(class_shares(overview).items())[:BARS])
    colours = palette(len(overview.classes)) / 255
    bars = [
        "0.5" if name == "void" else tuple(colours[overview.classes.index(name)]) for name in shares
    ]
    rows = np.arange(len(shares))
    axis.barh(rows, list(shares.values()), color=bars)
    axis.set_yticks(rows, [plain(name) for name in shares])
    axis.invert_yaxis()
    axis.set_title("pixels, %", fontsize=9)
    axis.tick_params(labelsize=7)
