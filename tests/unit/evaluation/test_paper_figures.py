"""The paper's figures: which runs stand in them, and the files of a scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ovnerf.config.paper import PaperTables
from ovnerf.evaluation.paper_figures import figures_of
from ovnerf.runtime.errors import UserError
from ovnerf.stages import draw_paper
from ovnerf.storage.stores import write_store


def test_a_figure_has_the_runs_that_are_there_in_the_papers_order() -> None:
    runs = [("toy", "ovnerf"), ("toy", "3dovs"), ("toy", "rsr"), ("lseg", "dff"), ("x", "lerf")]
    assert figures_of(runs, {"clip": "toy"}) == {
        "systems": (("toy", "3dovs"), ("toy", "ovnerf"), ("lseg", "dff")),
        "parts": (("toy", "rsr"), ("toy", "ovnerf")),
    }
    assert figures_of(runs[:1], {"clip": "toy"}) == {}


def test_the_files_of_a_scene(tmp_path: Path, tiny_scene: tuple[Path, Path]) -> None:
    frames, truth = tiny_scene
    label = np.zeros((2, 48, 64), dtype=np.uint16)
    views = [tmp_path / "a.zarr", tmp_path / "b.zarr"]
    for path in views:
        write_store(path, "views", {"label": label}, {"frames": [0, 10]}, "views")
    stores = {"frames": frames, "truth": truth, "views": views, "out": tmp_path / "paper"}
    names = "clip/rsr,clip/ovnerf"
    assert draw_paper.run(**stores, names=names, settings=PaperTables()) == {
        "figures": 1,
        "files": 2,
    }
    assert sorted(path.name for path in (tmp_path / "paper").glob("[!.]*")) == [
        "parts_000.png",
        "parts_010.png",
    ]
    with pytest.raises(UserError, match="found 2 paths for 1 names"):
        draw_paper.run(**stores, names="clip/rsr", settings=PaperTables())
