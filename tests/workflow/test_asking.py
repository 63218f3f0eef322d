"""Points and answers by the workflow's rules, and the example of README.md, on a finished run."""

from __future__ import annotations

import csv
import json
import re
import runpy
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_run import Place

from benchmarks.query_quality import scores
from ovnerf.asking.run import open_run
from ovnerf.storage.provenance import REPOSITORY_ROOT
from ovnerf.storage.stores import open_store, verify

EXAMPLE = "results/demo/room0/toy/ovnerf/seed0"
RUN = "results/tiny/room/simulated/ovnerf/seed0"
FIGURES = {"draw_query": "maps", "draw_refreshes": "refreshes"}
"""Rule -> the folder of its figures in a run."""


@pytest.fixture(scope="module")
def asked(finished: Place) -> Iterator[Path]:
    """Folder of a finished run with points, answers and figures, which are removed at the end.

    Other tests look at what the run left that asks for nothing.
    """
    asks = {
        "query": {"variants": ["ovnerf"], "phrases": ["table; sofa", "wall"]},
        "draw_query": {"variants": ["ovnerf"], "phrases": ["wall"], "views": 2},
        "draw_refreshes": {"variants": ["ovnerf"], "views": 2},
    }
    config = finished.configure(asks, "asks.yaml")
    rules = {"fuse_points": "points.zarr", "query": "answers", **FIGURES}
    wanted = [f"{RUN}/{made}" for made in rules.values()]
    assert finished.planned(*wanted, config=config) == Counter(rules.keys())
    done = finished.snakemake(*wanted, config=config)
    assert done.returncode == 0, done.stdout
    yield finished.folder / RUN
    results = finished.folder / "results"
    for rule, made in rules.items():
        shutil.rmtree(finished.folder / RUN / made)
        for kept in ("logs", "benchmarks"):
            shutil.rmtree(results / kept / rule)


def test_the_rules_make_points_and_answers(asked: Path) -> None:
    verify(open_store(asked / "points.zarr", "points"))
    content = json.loads((asked / "answers/answers.json").read_text())
    assert [answer["phrase"] for answer in content["answers"]] == ["table; sofa", "wall"]
    assert {path.name for path in (asked / "answers/wall").iterdir()} == {
        f"{name}.png" for name in ("rgb_000", "rgb_010")
    }
    assert "wall" in (asked / "answers/query_metrics.csv").read_text()


def test_the_rules_draw_phrases_and_refreshes(asked: Path) -> None:
    drawn = {
        name: {path.name: cv2.imread(str(path)) for path in (asked / name).glob("*.png")}
        for name in FIGURES.values()
    }
    assert {name: pictures.keys() for name, pictures in drawn.items()} == {
        "maps": {"wall.png"},
        "refreshes": {"training_views.png"},  # so short a training has no valid novel view
    }
    for picture in (*drawn["maps"].values(), *drawn["refreshes"].values()):
        assert picture.shape[1] > 3 * 64  # several panels of 64 x 48 pixels side by side
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def test_the_example_of_the_first_page_runs(
    asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    text = (REPOSITORY_ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert code.count(EXAMPLE) == 1
    example = tmp_path / "example.py"
    example.write_text(code.replace(EXAMPLE, str(asked)), encoding="utf-8")
    names = runpy.run_path(str(example))
    assert names["answer"].phrase.text == "table"
    said = capsys.readouterr().out.splitlines()
    assert len(said) == len(names["answer"].instances) + 2
    assert said[-2].startswith(f"{len(names['points'])} points") and "(48, 64, 3)" in said[-1]


def test_the_quality_table_has_the_scores_of_the_query(asked: Path) -> None:
    """The field's rows are those of the rule; a class that the run is not told of is unlisted."""
    run = open_run(asked)
    assert run.files.truth is not None
    with (asked / "answers/query_metrics.csv").open(encoding="utf-8") as file:
        by_rule = [row for row in csv.DictReader(file) if row["phrase"] == "wall"]
    found = {(way, words): rows for way, words, _, rows in scores(run, run.files.truth)}
    assert list(found) == [("field", "listed"), ("lifted", "listed")]  # no features of held-outs
    rows = [row for row in found["field", "listed"] if row["phrase"] == "wall"]
    assert [{**row, "value": f"{row['value']:.4f}"} for row in rows] == by_rule
    listed = tuple(name for name in run.description.classes if name != "wall")
    run.description = replace(run.description, classes=listed)
    apart = {(way, words): rows for way, words, _, rows in scores(run, run.files.truth)}
    assert [row for row in apart["field", "unlisted"] if row["phrase"]] == rows
    assert {row["phrase"] for row in apart["lifted", "unlisted"]} == {"wall", ""}
