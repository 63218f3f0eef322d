"""Points and answers by the workflow's rules, and the example of README.md, on a finished run."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from collections import Counter
from pathlib import Path

import pytest
from tiny_run import Place

from ovnerf.storage.provenance import REPOSITORY_ROOT
from ovnerf.storage.stores import open_store, verify

EXAMPLE = "results/demo/room0/toy/ovnerf/seed0"
RUN = "results/tiny/room/simulated/ovnerf/seed0"


@pytest.fixture(scope="module")
def asked(finished: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A copy of the finished run whose config asks for two phrases."""
    folder = tmp_path_factory.mktemp("asked") / "run"
    shutil.copytree(finished.folder, folder)
    here = Place(folder)
    here.configure({"query": {"variants": ["ovnerf"], "phrases": ["table; sofa", "wall"]}})
    assert here.planned() == Counter(fuse_points=1, query=1, summarise_runs=1)
    done = here.snakemake()
    assert done.returncode == 0, done.stdout
    return here


def test_the_rules_make_points_and_answers(asked: Place) -> None:
    folder = asked.folder / RUN
    verify(open_store(folder / "points.zarr", "points"))
    content = json.loads((folder / "answers/answers.json").read_text())
    assert [answer["phrase"] for answer in content["answers"]] == ["table; sofa", "wall"]
    assert {path.name for path in (folder / "answers/wall").iterdir()} == {
        f"{name}.png" for name in ("rgb_000", "rgb_010")
    }
    assert "wall" in (folder / "answers/query_metrics.csv").read_text()
    assert asked.planned() == Counter()
    assert "fuse_points" in (asked.folder / "results/tables/runs.csv").read_text()


def test_the_example_of_the_first_page_runs(
    asked: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    text = (REPOSITORY_ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert code.count(EXAMPLE) == 1
    example = asked.folder / "example.py"
    example.write_text(code.replace(EXAMPLE, RUN), encoding="utf-8")
    monkeypatch.chdir(asked.folder)
    names = runpy.run_path(str(Path(example)))
    assert names["answer"].phrase.text == "table"
    said = capsys.readouterr().out.splitlines()
    assert len(said) == len(names["answer"].instances) + 2
    assert said[-2].startswith(f"{len(names['points'])} points") and "(48, 64, 3)" in said[-1]
