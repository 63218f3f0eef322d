from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ovnerf.evaluation.runs import COLUMNS, place_of, read_runs, time_and_memory
from ovnerf.stages import summarise_runs

RUN = {"dataset": "d", "scene": "s.1", "encoder": "clip", "variant": "cse", "seed": "3"}


@pytest.mark.parametrize(
    ("rule", "path", "depth"),
    [
        ("reconstruct", "d/s.1/radiance", 2),
        ("make_room", "d/s.1/room/room.json", 2),
        ("cache_features", "d/s.1/clip/features.zarr", 3),
        ("cache_features_part", "d/s.1/clip/feature-parts/1.zarr", 3),
        ("train_semantics", "d/s.1/clip/cse/seed3/semantics", 5),
        ("aggregate", "tables", 0),
        ("summarise_runs", "tables/runs.csv", 0),
    ],
)
def test_a_path_says_whose_result_it_is(rule: str, path: str, depth: int) -> None:
    assert place_of(f"results/{path}", "results", rule) == dict(list(RUN.items())[:depth])


def test_what_lies_elsewhere_is_nobodys() -> None:
    assert place_of("weights/sam.safetensors", "results", "fetch_weights") == {}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Logs of a finished job, one that failed and one that made nothing."""
    monkeypatch.chdir(tmp_path)
    out = Path("results/d/s/radiance")
    out.mkdir(parents=True)
    closing = {
        **{"stage": "reconstruct", "frames": 9, "psnr": 20.0, "unit": "it", "done": 40},
        **{"went_on_at": 10, "rate": 3.5, "seconds": 8.0, "peak_memory_mb": 900},
        **{"out": str(out), "digest": "abc", "warning": "no cell of the box is occupied"},
    }
    for rule, last in (
        ("reconstruct", json.dumps(closing)),
        ("cache_dino", "error: no weights"),
        ("inspect", json.dumps({"stage": "inspect"})),
    ):
        log = Path(f"results/logs/{rule}/d.s.log")
        log.parent.mkdir(parents=True)
        log.write_text(f"[7] {rule}: begins\n{last}\n")
    measured = Path("results/benchmarks/reconstruct/d.s.tsv")
    measured.parent.mkdir(parents=True)
    measured.write_text("s\th:m:s\tmax_rss\n10.5\t0:00:10\t900\n")
    return Path("results")


def test_jobs_become_rows(results: Path) -> None:
    table = read_runs(results / "logs", results / "benchmarks")
    assert list(table.columns) == list(COLUMNS)
    (row,) = table.to_dict("records")
    wanted = {"rule": "reconstruct", "dataset": "d", "scene": "s", "frames": 9, "job_seconds": 10.5}
    assert {key: row[key] for key in wanted} == wanted
    assert (row["went_on_at"], row["rate"], row["digest"]) == (10, 3.5, "abc")
    assert row["warning"] == "no cell of the box is occupied"


def test_the_chart_has_a_bar_per_rule(results: Path) -> None:
    figure = time_and_memory(read_runs(results / "logs", results / "benchmarks"))
    time, memory = figure.axes
    assert [label.get_text() for label in time.get_yticklabels()] == ["reconstruct (1)"]
    assert sorted(bar.get_width() for bar in time.patches) == [8.0, 10.5]
    assert [bar.get_width() for bar in memory.patches] == [900]


def test_a_job_of_unknown_memory_has_no_bar_there(results: Path) -> None:
    table = read_runs(results / "logs", results / "benchmarks").assign(peak_memory_mb=pd.NA)
    figure = time_and_memory(table.astype({"peak_memory_mb": "Int64"}))
    (bar,) = figure.axes[1].patches
    assert np.isnan(bar.get_width())


def test_the_stage_writes_both(results: Path) -> None:
    tables = results / "tables"
    tables.mkdir()
    summary = summarise_runs.run(
        logs=results / "logs",
        benchmarks=results / "benchmarks",
        chart=tables / "chart.png",
        out=tables / "runs.csv",
    )
    assert summary == {"jobs": 1, "job_seconds": 10.5, "jobs_with_warnings": 1}
    assert sorted(path.name for path in tables.iterdir()) == ["chart.png", "runs.csv"]
