"""The projected cost: jobs as planned, constants times sizes, measured seconds where they exist."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from tiny_run import Place

from ovnerf.cli import main
from ovnerf.evaluation.runs import closing_line
from ovnerf.inspection import machine
from ovnerf.runtime.costs import reserved_mb, time_limit_minutes
from ovnerf.storage.provenance import REPOSITORY_ROOT


@pytest.fixture(scope="module")
def cost() -> ModuleType:
    path = REPOSITORY_ROOT / "workflow" / "scripts" / "projected_cost.py"
    spec = importlib.util.spec_from_file_location("projected_cost", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def jobs(cost: ModuleType, finished: Place, monkeypatch: pytest.MonkeyPatch) -> list:
    """Every job of the finished tiny run, as the script sees it."""
    monkeypatch.chdir(finished.folder)
    config = Path("config.yaml")
    return list(cost.planned(cost.dry_run(config), cost.read_jobs(config)))


def test_it_counts_what_snakemake_plans_and_finds_every_benchmark_file(
    cost: ModuleType, jobs: list, finished: Place
) -> None:
    assert Counter(job.rule for job in jobs) == finished.planned("--forceall")
    measured = [cost.measured_seconds(Path("results/benchmarks"), job) for job in jobs]
    assert all(seconds and seconds > 0 for seconds in measured)


def test_a_job_is_given_more_than_the_stage_expects_and_takes(jobs: list, finished: Place) -> None:
    """Memory by the plan, against what each stage computed from its inputs and then used."""
    logs = finished.folder / "results/logs"
    for job in jobs:
        closing = closing_line(logs / job.rule / f"{job.name}.log")
        assert closing is not None, job.name
        assert closing["peak_memory_mb"] < reserved_mb(job.job), job.rule
        if closing["expected_memory_mb"]:
            assert closing["expected_memory_mb"] <= reserved_mb(job.job), job.rule


def test_snakemake_is_given_what_the_model_says(
    cost: ModuleType, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.folder)
    printed = cost.dry_run(Path("config.yaml"))
    known = cost.read_jobs(Path("config.yaml"))
    asked = re.findall(r"runtime=(\d+).*mem_mb=(\d+)", printed)
    expected = [
        (str(time_limit_minutes(job.job, "cpu")), str(reserved_mb(job.job)))
        for job in cost.planned(printed, known)
    ]
    assert len(asked) == 28 and asked == expected
    one = {job.rule: job.job for job in cost.planned(printed, known)}
    # 12 frames of 64x48, two of them held out.
    shared = one["train_shared"]
    assert (shared.frames, shared.width, shared.height, shared.held_out) == (12, 64, 48, 2)
    # 48 pixels high: windows of 16, 8 apart, 5 x 7; and of 9, 4 apart, 11 x 15.
    assert one["cache_features"].windows == 35 + 11 * 15


def test_plan_lays_configs_over_each_other(
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(machine, "measure", lambda threads: machine.Machine(1.0, 1.0))
    monkeypatch.chdir(place.folder)
    Path("over.yaml").write_text("seeds: [3, 4, 5]\n", encoding="utf-8")
    assert main(["plan", "config.yaml", "over.yaml"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("config.yaml + over.yaml: ")
    assert re.search(r"(?m)^train_semantics +12 ", printed)  # four variants, three seeds


def test_measured_seconds_scale_the_rule_and_the_table_says_so(
    cost: ModuleType, jobs: list, tmp_path: Path
) -> None:
    job = next(job for job in jobs if job.rule == "train_semantics")
    file = tmp_path / "train_semantics" / f"{job.name}.tsv"
    file.parent.mkdir()
    file.write_text(f"s\th:m:s\n{1000 * job.seconds}\t0:00:00\n")
    assert cost.scales(jobs, tmp_path) == {("train_semantics", ""): (pytest.approx(1000), 1)}
    line = next(line for line in cost.table(jobs, tmp_path) if line.startswith("train_semantics"))
    assert "measured: 1 of its jobs" in line
    # Variants with self-enhancement refresh labels, the others do not.
    every = [job.seconds for job in jobs if job.rule == "train_semantics"]
    assert len(every) == 4 and len(set(every)) > 1
    assert float(line.split()[2]) == pytest.approx(1000 * sum(every) / 3600, abs=0.01)
