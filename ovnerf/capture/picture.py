"""A picture of a capture: cameras and points from above and from the side, and some photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pycolmap
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ovnerf.capture.mapping import registered_names
from ovnerf.capture.model import camera_poses, model_points

PHOTOS = 6
SHOWN = 20_000
"""Points drawn, at most."""
MIDDLE = (1.0, 99.0)
"""Percentiles of the points that are in view."""


def draw(model: pycolmap.Reconstruction, images: Path, title: str) -> Figure:
    """One figure; cameras are coloured by their order.

    Args:
        images: folder of the photos.
    """
    figure = Figure(figsize=(14, 8), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[2.2, 1])
    above, below = parts
    points, pose = model_points(model), camera_poses(model)
    points = points[:: max(1, len(points) // SHOWN)]
    plans = above.subplots(1, 2)
    draw_plan(plans[0], points, pose, (0, 1), "from above")
    draw_plan(plans[1], points, pose, (0, 2), "from the side")
    names = registered_names(model)
    chosen = np.unique(np.linspace(0, len(names) - 1, PHOTOS).round().astype(int))
    for axis, at in zip(below.subplots(1, len(chosen), squeeze=False)[0], chosen, strict=True):
        axis.imshow(matplotlib.image.imread(images / names[at]))
        axis.set_title(names[at], fontsize=8)
        axis.set_axis_off()
    figure.suptitle(title.replace("$", r"\$"))
    return figure


def draw_plan(
    axis: Axes, points: np.ndarray, pose: np.ndarray, axes: tuple[int, int], title: str
) -> None:
    """Points, camera centres and viewing directions along two axes."""
    shown = points[:, axes]
    seen, centre = pose[:, :3, 2][:, axes], pose[:, :3, 3][:, axes]
    low, high = np.percentile(np.concatenate([shown, centre]), MIDDLE, axis=0)
    reach = 0.06 * float((high - low).max())
    axis.scatter(shown[:, 0], shown[:, 1], s=0.4, c="0.6", linewidths=0)
    axis.quiver(*centre.T, *(reach * seen).T, angles="xy", scale_units="xy", scale=1, width=2e-3)
    axis.scatter(
        centre[:, 0], centre[:, 1], s=10, c=np.arange(len(centre)), cmap="viridis", zorder=3
    )
    margin = 0.05 * (high - low)
    axis.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axis.set_ylim(low[1] - margin[1], high[1] + margin[1])
    axis.set_aspect("equal", adjustable="box")
    axis.set_xlabel("xyz"[axes[0]])
    axis.set_ylabel("xyz"[axes[1]])
    axis.set_title(title, fontsize=9)
