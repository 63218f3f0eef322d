"""Colours and panels."""

import io

import numpy as np
import pandas as pd
import pytest

from ovnerf.evaluation.figures import (
    VOID_COLOUR,
    class_bars,
    colour_labels,
    legend_patches,
    palette,
    panel_figure,
    training_curves,
)
from ovnerf.labels.void import VOID


def test_colours_are_fixed_distinct_and_never_void():
    colours = palette(101).astype(int)
    assert (palette(10) == colours[:10]).all()
    every = np.concatenate([colours, [VOID_COLOUR]])
    distance = np.abs(every[:, None] - every[None]).sum(-1) + 999 * np.eye(len(every), dtype=int)
    assert distance.min() >= 8
    # The first twenty, which most scenes stay within, are easy to tell apart.
    assert distance[:20, :20].min() >= 60
    assert palette(0).shape == (0, 3)


def test_void_and_unknown_ids_are_grey():
    picture = colour_labels(np.array([[0, 1, 2, VOID]], dtype=np.uint16), 2)
    assert picture[0, 0].tolist() == palette(2)[0].tolist()
    assert picture[0, 2].tolist() == picture[0, 3].tolist() == list(VOID_COLOUR)


def test_legend_names_what_is_seen():
    labels = np.array([[2, 2, VOID]], dtype=np.uint16)
    named = [name for name, _ in legend_patches([labels], ["a", "b", "c"])]
    assert named == ["c", "void"]


def test_panel_figure_titles():
    photo = np.zeros((6, 8, 3), np.uint8)
    panels = {name: photo[..., 0].astype(np.uint16) for name in "abcd"}
    figure = panel_figure({"RGB": photo, **panels}, ["wall"], "view 3")
    assert [axis.get_title() for axis in figure.axes][:5] == ["RGB", *"abcd"]
    assert figure.get_suptitle() == "view 3"


def test_bars_have_the_given_lengths():
    table = pd.DataFrame(
        {"method": ["x", "x", "y"], "class": ["a", "b", "b"], "value": [10.0, 20.0, 30.0]}
    )
    figure = class_bars(table, ["b", "a", "unseen"])
    lengths = [round(bar.get_width()) for bar in figure.axes[0].patches]
    assert lengths == [20, 10, 30, 0]


def test_curves_skip_what_is_not_logged():
    first = pd.DataFrame({"iteration": [0, 1, 2], "loss": [3.0, 2.0, 1.0], "psnr": [20, None, 22]})
    second = pd.DataFrame({"iteration": [0, 1], "loss": [4.0, 2.0]})
    figure = training_curves({"one": first, "two": second})
    drawn = {axis.get_title(): len(axis.lines) for axis in figure.axes if axis.get_title()}
    assert drawn == {"loss": 2, "psnr": 1}
    assert figure.axes[1].lines[0].get_xdata().tolist() == [0, 2]


def texts(figure) -> list[str]:
    """All that stands in legends, after the figure was drawn once."""
    figure.savefig(io.BytesIO())
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


FOREIGN = [
    *("$\\frac{1}{0$", "$", "a_b^c$x$", "_hidden", "\\textbf{x}"),
    *("{x}", "%s", "<b>", "3", "1e3"),
]


@pytest.mark.parametrize("name", FOREIGN)
def test_a_class_name_is_drawn_as_it_is(name):
    labels = np.zeros((6, 8), np.uint16)
    figure = panel_figure({name: labels}, [name], name)
    assert texts(figure) == [name]
    assert figure.axes[0].get_title() == figure.get_suptitle() == name
    bars = class_bars(
        pd.DataFrame({"method": [name], "class": [name], "value": [10.0]}), [name], name
    )
    assert texts(bars) == [name]
    assert [label.get_text() for label in bars.axes[0].get_yticklabels()] == [name]
    curves = training_curves({name: pd.DataFrame({"iteration": [0], "loss": [1.0]})}, name)
    assert texts(curves) == [name]


def test_a_formula_takes_the_width_of_its_letters():
    """`$x$` is three letters here; as a formula it would be one."""

    def width(name: str) -> float:
        figure = panel_figure({name: np.zeros((6, 8), np.uint16)}, ["a"])
        figure.savefig(io.BytesIO())
        return figure.axes[0].title.get_window_extent().width

    assert width("$x$") > 2 * width("x")


def test_names_stay_on_one_line():
    figure = panel_figure({"a\nb\tc": np.zeros((6, 8), np.uint16)}, ["d\r\ne"])
    assert figure.axes[0].get_title() == "a b c"
    assert texts(figure) == ["d  e"]
