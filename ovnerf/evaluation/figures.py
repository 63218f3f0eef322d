"""Figures for people: panels of a view, IoU bars, training curves (matplotlib without a display).

Pure functions, arrays or tables in, a Figure out; `save` writes one.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

VOID_COLOUR = (128, 128, 128)
GOLDEN_RATIO = 0.6180339887498949
PANELS_PER_ROW = 5
DOTS_PER_INCH = 120
MINIMUM_SHARE = 0.001
"""Legends leave out classes on a smaller share of a figure's label pixels."""

# Names of classes and photos are text, never formulas: `$` and TeX stay as they are. A settings
# file of matplotlib in the home folder counts for nothing: equal results are equal pictures.
matplotlib.rcdefaults()
matplotlib.rcParams.update({"text.parse_math": False, "text.usetex": False})


def palette(count: int) -> np.ndarray:
    """u8 (count, 3) colours, fixed per class index whatever the count.

    Hues advance by the golden ratio, so neighbours in a list differ; lightness alternates, so that
    hues that come close again differ too. None is grey: grey is void.
    """
    colours = []
    for index in range(count):
        lightness = (0.45, 0.65, 0.3)[index % 3]
        saturation = (0.75, 0.85)[index % 2]
        colours.append(colorsys.hls_to_rgb((index * GOLDEN_RATIO) % 1, lightness, saturation))
    return (np.array(colours).reshape(count, 3) * 255).round().astype(np.uint8)


def colour_labels(labels: np.ndarray, classes: int) -> np.ndarray:
    """u8 (H, W, 3) picture of a label map (H, W); void and unknown ids are grey."""
    colours = np.concatenate([palette(classes), np.array([VOID_COLOUR], dtype=np.uint8)])
    return colours[np.minimum(labels.astype(np.int64), classes)]


def new_figure(width: float, height: float) -> Figure:
    """A figure of this size in inches that needs no display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a PNG without the date and versions that would make equal figures differ."""
    figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})


def plain(name: str) -> str:
    """A name on one line: line breaks, tabs and other characters without a shape become spaces."""
    return "".join(letter if letter.isprintable() else " " for letter in name)


def in_file_name(name: str) -> str:
    """A frame's name as part of a file name; two names never become one.

    >>> in_file_name("left/5 {x}")
    'left=2F5 =7Bx=7D'
    """
    return "".join(
        letter if letter.isalnum() or letter in " ._-" else f"={ord(letter):02X}" for letter in name
    )


def draw_legend(
    owner: Figure | Axes, handles: Sequence[Any], names: Sequence[str], **where: Any
) -> None:
    """A legend with one entry per handle, whatever its name; nothing without handles.

    Matplotlib leaves out names that begin with `_`, so names are set after the entries are made.
    """
    if not handles:
        return
    legend = owner.legend(list(handles), [str(place) for place in range(len(names))], **where)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(plain(name))


def panel_figure(
    panels: Mapping[str, np.ndarray], classes: Sequence[str], title: str = ""
) -> Figure:
    """Views side by side under their names, with a legend of the classes they show.

    Args:
        panels: name -> u8 (H, W, 3) colour, or an integer (H, W) label map.
        classes: class names; labels index them.
    """
    rows = ceil(len(panels) / PANELS_PER_ROW)
    columns = ceil(len(panels) / rows)
    first = next(iter(panels.values()))
    figure = new_figure(3.2 * columns, 3.2 * rows * first.shape[0] / first.shape[1] + 0.9)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (name, panel) in zip(axes.flat, panels.items(), strict=False):
        picture = panel if panel.ndim == 3 else colour_labels(panel, len(classes))
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(plain(name), fontsize=10)
    maps = [panel for panel in panels.values() if panel.ndim == 2]
    shown = legend_patches(maps, classes)
    names, handles = [name for name, _ in shown], [patch for _, patch in shown]
    draw_legend(figure, handles, names, loc="outside lower center", ncols=6, fontsize=8)
    if title:
        figure.suptitle(plain(title), fontsize=11)
    return figure


def legend_patches(maps: Sequence[np.ndarray], classes: Sequence[str]) -> list[tuple[str, Patch]]:
    """Name and colour patch of each class that label maps show, in list order; void if they do."""
    if not maps:
        return []
    values = np.concatenate([np.minimum(label, len(classes)).ravel() for label in maps])
    share = np.bincount(values.astype(np.int64), minlength=len(classes) + 1) / values.size
    colours = [*palette(len(classes)), np.array(VOID_COLOUR)]
    return [
        (name, Patch(color=colour / 255))
        for colour, name, part in zip(colours, [*classes, "void"], share, strict=True)
        if part > MINIMUM_SHARE
    ]


def class_bars(table: pd.DataFrame, classes: Sequence[str], title: str = "") -> Figure:
    """Horizontal bars of IoU per class, one colour per method, classes in list order.

    Args:
        table: columns method, class, value (percent); one value per pair, missing ones are 0.
    """
    methods = list(dict.fromkeys(table["method"]))
    shown = [name for name in classes if (table["class"] == name).any()]
    figure = new_figure(7, 1.2 + 0.16 * len(shown) * (len(methods) + 1))
    axis = figure.subplots()
    values = table.pivot_table(index="class", columns="method", values="value")
    height = 0.85 / max(1, len(methods))
    bars = []
    for number, method in enumerate(methods):
        position = np.arange(len(shown)) + (number - (len(methods) - 1) / 2) * height
        lengths = values[method].reindex(shown).fillna(0).to_numpy()
        bars.append(axis.barh(position, lengths, height))
    axis.set_yticks(np.arange(len(shown)), [plain(name) for name in shown], fontsize=8)
    axis.margins(y=0.01)
    axis.invert_yaxis()
    axis.set_xlim(0, 100)
    axis.set_xlabel("IoU, percent (pooled over the scored views)")
    axis.grid(axis="x", alpha=0.3)
    draw_legend(figure, bars, methods, loc="outside right upper", fontsize=8)
    if title:
        figure.suptitle(plain(title), fontsize=11)
    return figure


def training_curves(runs: Mapping[str, pd.DataFrame], title: str = "") -> Figure:
    """Every logged column against the iteration, one panel per column, one line per run.

    Args:
        runs: run name -> table with a column `iteration` (train.csv); empty cells make gaps.
    """
    columns = list(
        dict.fromkeys(
            name
            for table in runs.values()
            for name in table.columns
            if name != "iteration" and pd.api.types.is_numeric_dtype(table[name])
        )
    )
    rows = max(1, ceil(len(columns) / PANELS_PER_ROW))
    wide = max(1, ceil(len(columns) / rows))
    figure = new_figure(3.2 * wide, 2.4 * rows + 0.6)
    axes = figure.subplots(rows, wide, squeeze=False)
    for axis in list(axes.flat)[len(columns) :]:
        axis.set_axis_off()
    lines: dict[str, Any] = {}
    for axis, column in zip(axes.flat, columns, strict=False):
        lines = draw_curve(axis, runs, column) | lines
    names = [name for name in runs if name in lines]
    handles = [lines[name] for name in names]
    draw_legend(figure, handles, names, loc="outside lower center", ncols=6, fontsize=8)
    if title:
        figure.suptitle(plain(title), fontsize=11)
    return figure


def draw_curve(axis: Axes, runs: Mapping[str, pd.DataFrame], column: str) -> dict[str, Any]:
    """One column of every run that logs it, as a line of the run's colour; the lines by run."""
    lines: dict[str, Any] = {}
    for number, (name, table) in enumerate(runs.items()):
        if column not in table:
            continue
        logged = table[["iteration", column]].dropna()
        (lines[name],) = axis.plot(
            logged["iteration"], logged[column], color=f"C{number % 10}", linewidth=1
        )
    axis.set_title(plain(column), fontsize=9)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.3)
    return lines
