"""Colours and panels."""

import numpy as np
import pandas as pd

from ovnerf.evaluation.figures import (
    VOID_COLOUR,
    class_bars,
    colour_labels,
    legend_patches,
    palette,
    panel_figure,
    training_curves,
)
from ovnerf.stores import VOID


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
    named = [patch.get_label() for patch in legend_patches([labels], ["a", "b", "c"])]
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
