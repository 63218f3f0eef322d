"""The projected cost: jobs as planned, constants times sizes, measured seconds where they exist."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from tiny_run import Place

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


def jobs_of(cost: ModuleType, place: Place, monkeypatch: pytest.MonkeyPatch) -> list:
    """Every job of a place's config, as the script sees it."""
    monkeypatch.chdir(place.folder)
    plan = cost.read_plan(Path("config.yaml"))
    return list(cost.planned(cost.dry_run(Path("config.yaml")), plan))


@pytest.fixture
def jobs(cost: ModuleType, finished: Place, monkeypatch: pytest.MonkeyPatch) -> list:
    """Those of the finished tiny run."""
    return jobs_of(cost, finished, monkeypatch)


def test_it_counts_what_snakemake_plans_and_finds_every_benchmark_file(
    cost: ModuleType, jobs: list, finished: Place
) -> None:
    assert Counter(job.rule for job in jobs) == finished.planned("--forceall")
    measured = [cost.measured_seconds(Path("results/benchmarks"), job) for job in jobs]
    assert all(seconds and seconds > 0 for seconds in measured)
    assert {job.rule for job in jobs} < set(cost.RULES)


def test_constants_times_sizes_by_hand(
    cost: ModuleType, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {job.rule: job for job in jobs_of(cost, place, monkeypatch)}
    assert not one["aggregate"].plan.guessed
    assert one["cache_dino"].frames == 12 and one["render_views"].frames == 2
    # 40 iterations of 256 rays, where 30 000 of 4096 take 17.4 minutes.
    seconds = one["reconstruct"].model.seconds(one["reconstruct"])
    assert seconds == pytest.approx(1044 * 40 * 256 / (30_000 * 4096))
    # 30 iterations, two thirds of them in the shared part; 15 000 take an hour.
    assert one["train_shared"].model.seconds(one["train_shared"]) == pytest.approx(20 * 0.24)
    assert one["train_semantics"].model.seconds(one["train_semantics"]) == pytest.approx(10 * 0.24)
    # 48 pixels high: windows of 16, 8 apart, 5 x 7; and of 9, 4 apart, 11 x 15.
    assert one["cache_features"].windows == 35 + 11 * 15
    assert one["sample_frames"].model.bytes(one["sample_frames"]) == 12 * 64 * 48 * 3


def test_measured_seconds_scale_the_rule_and_the_table_says_so(
    cost: ModuleType, jobs: list, tmp_path: Path
) -> None:
    job = next(job for job in jobs if job.rule == "train_semantics")
    file = tmp_path / "train_semantics" / f"{cost.name_of(job)}.tsv"
    file.parent.mkdir()
    file.write_text(f"s\th:m:s\n{1000 * cost.modelled(job)}\t0:00:00\n")
    assert cost.scales(jobs, tmp_path) == {("train_semantics", ""): (pytest.approx(1000), 1)}
    line = next(line for line in cost.table(jobs, tmp_path) if line.startswith("train_semantics"))
    assert "measured: 1 of its jobs" in line
    assert float(line.split()[2]) == pytest.approx(4 * 1000 * cost.modelled(job) / 3600, abs=0.01)
