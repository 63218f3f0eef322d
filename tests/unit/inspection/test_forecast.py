"""What `plan` prints: hours on this machine, when the last job ends, and what would be cheaper."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovnerf.cli import main
from ovnerf.config.run import override, read_yaml
from ovnerf.inspection import forecast, machine
from ovnerf.inspection.jobs import PlannedJobs, shared_id
from ovnerf.inspection.machine import Machine
from ovnerf.inspection.plan import make_plan
from ovnerf.inspection.projection import Planned, finish_times, planned
from ovnerf.runtime.job import Job
from ovnerf.storage.provenance import REPOSITORY_ROOT

CONFIG = "config/example_capture.yaml"
DATA = read_yaml(REPOSITORY_ROOT / CONFIG)
ONE_CORE = Machine(encoders=1.0, rest=1.0)


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Planned]:
    """Four jobs of a scene of which nothing is known but its width: 30 frames of 960x720."""
    monkeypatch.chdir(tmp_path)
    known = PlannedJobs(make_plan(DATA, CONFIG))
    variant = known.plan.variants["ovnerf"][0]
    names = {"dataset": "mine", "scene": "desk", "encoder": "clip"}
    names |= {"variant": "ovnerf", "shared": shared_id(variant)}
    rules = ("propose_regions", "cache_features", "reconstruct", "train_shared")
    return [Planned(names, known.job(rule, names)) for rule in rules]


def made(name: str, *needs: str) -> Planned:
    return Planned({}, Job(name), frozenset(needs), frozenset({name}))


def test_jobs_wait_for_what_they_read_and_for_a_free_core() -> None:
    """A and B (2 s, 3 s) start at once; C (1 s) needs A, D (4 s) needs both."""
    chain = [made("a"), made("b"), made("c", "a"), made("d", "a", "b", "elsewhere")]
    seconds = [2.0, 3.0, 1.0, 4.0]
    assert finish_times(chain, seconds, 2) == 7
    assert finish_times(chain, seconds, 1) == 10


def test_files_of_a_dry_run_tie_jobs_together(jobs: list[Planned]) -> None:
    known = PlannedJobs(make_plan(DATA, CONFIG))
    text = (
        "rule cache_dino:\n    input: a/frames.zarr, weights/dino.safetensors\n"
        "    output: a/dino.zarr\n    wildcards: dataset=mine, scene=desk\n"
        "localrule all:\n    input: a/dino.zarr\n"
    )
    (only,) = planned(text, known)
    assert only.inputs == {"a/frames.zarr", "weights/dino.safetensors"}
    assert (only.outputs, only.wildcards["scene"]) == ({"a/dino.zarr"}, "desk")


def test_seconds_on_a_core_of_another_speed(jobs: list[Planned]) -> None:
    slow = Machine(encoders=0.5, rest=0.25)
    regions, _, field, _ = (job.job for job in jobs)
    # SAM ViT-H and 1024 prompts for each of 30 frames, at half of 100 GFLOP/s.
    flop = 2 * 632e6 * 4096 + 16 * 4096**2 * 1280 + 1024 * 3.5e9
    assert forecast.job_seconds(regions, slow, False) == pytest.approx(4 + 30 * flop / 50e9)
    assert forecast.job_seconds(regions, slow, True) == pytest.approx(4 + 30 * flop / 5e12)
    # 17.4 minutes on a V100, 24 times that on a core, four times that here.
    assert forecast.job_seconds(field, slow, False) == pytest.approx(4 + 17.4 * 60 * 24 * 4)


def test_what_would_be_cheaper_is_named_with_the_hours_it_saves(jobs: list[Planned]) -> None:
    lines = list(forecast.cheaper(DATA, CONFIG, jobs, ONE_CORE, False))
    assert lines[1].endswith("one pass a frame instead of thousands of windows")
    windows, dense = jobs[1].job.windows, 3 * 2  # 448 x 336 in windows of 224 at steps of 112
    saved = 30 * (windows - dense) * 35e9 / 100e9 / 3600
    assert float(lines[1].split()[0]) == pytest.approx(saved, abs=0.006)
    # Three quarters of both parts of the schedule's rays.
    assert float(next(line for line in lines if "reconstruct:" in line).split()[0]) == (
        pytest.approx(0.75 * 17.4 * 24 / 60, abs=0.006)
    )
    assert float(next(line for line in lines if "train_semantics:" in line).split()[0]) == (
        pytest.approx(0.75 * 2 * 2 / 3, abs=0.006)
    )
    table = forecast.table(jobs, [3600.0] * 4)
    assert table[-1].split()[:4] == ["all", "rules", "4", "4.00"]


def test_fewer_refreshes_are_offered_where_there_are_more_than_two() -> None:
    def offered(every: float) -> list[str]:
        cse = {"train_semantics": {"cse": {"every": every}}}
        plan = make_plan(override(DATA, cse), CONFIG)
        return [each.text for each in forecast.changes(plan) if "cse.every" in each.text]

    assert len(offered(0.1)) == 1 and not offered(0.17)


def test_the_machine_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = [Machine(2.0, 3.0), Machine(5.0, 5.0)]
    monkeypatch.setattr(machine, "measure", lambda threads: found.pop(0))
    assert machine.this_machine(1) == machine.this_machine(1) == Machine(2.0, 3.0)
    assert machine.this_machine(2) == Machine(5.0, 5.0)  # more threads, another answer
    (tmp_path / "ovnerf/machine.json").write_text("damaged")
    monkeypatch.setattr(machine, "measure", lambda threads: Machine(1.0, 1.0))
    assert machine.this_machine(2) == Machine(1.0, 1.0)


def test_a_config_that_is_not_there_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "no.yaml"]) == 2
    assert "no.yaml: no such file" in capsys.readouterr().err
