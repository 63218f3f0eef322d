"""The tiny workflow through a real Slurm: the same results, few submissions, cancelled jobs again.

One scene, one variant and two seeds. One training is cancelled with `scancel` while it runs.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest
import slurm
import yaml
from tiny_run import Place, planned_jobs, results_of

from ovnerf.storage.provenance import REPOSITORY_ROOT

PROFILE = REPOSITORY_ROOT / "workflow" / "profiles" / "slurm"
SCENES, SEEDS = 1, 2
JOBS = Counter(
    dict.fromkeys(
        (
            *("sample_frames", "read_truth", "propose_regions", "cache_features"),
            *("cache_dino", "rank_regions", "score_labels", "reconstruct", "draw_figures"),
            *("render_depth", "score_agreement"),
        ),
        SCENES,
    )
    | dict.fromkeys(("train_shared", "train_semantics", "render_views", "evaluate"), SCENES * SEEDS)
    | {"aggregate": 1, "summarise_runs": 1}
)
# Two rules of a scene, two of its labels and two of each trained seed are one submission each.
SAVED = SCENES + SCENES + SCENES * SEEDS


@dataclass
class Watched:
    """A run on the cluster, and what the queue showed while it went on."""

    place: Place
    printed: str = ""
    code: int = -1
    seconds: float = 0.0
    cancelled: str = ""
    seen: dict[str, dict[str, str]] = field(default_factory=dict)

    def look(self) -> None:
        """Note every job in the queue; cancel the first training that runs."""
        for line in slurm.ask("squeue", "-h", "-o", "%i|%T|%k|%m|%l").splitlines():
            job, state, comment, memory, limit = line.split("|")
            self.seen[job] = {"rule": comment, "memory": memory, "limit": limit}
            if not self.cancelled and state == "RUNNING" and "train_semantics" in comment:
                slurm.ask("scancel", job)
                self.cancelled = job

    def go(self) -> None:
        """Run the workflow through Slurm to its end."""
        arguments = ("--workflow-profile", str(PROFILE), "--latency-wait", "10")
        # Jobs of seconds, not of hours: look again soon.
        often = ("--slurm-init-seconds-before-status-checks", "1")
        begin = time.monotonic()
        with (self.place.folder / "printed.txt").open("w") as output:
            process = subprocess.Popen(
                self.place.command(*arguments, *often),
                cwd=self.place.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                while process.poll() is None:
                    self.look()
                    time.sleep(0.3)
            finally:
                process.kill()
                self.code = process.wait()
        self.seconds = time.monotonic() - begin
        self.printed = (self.place.folder / "printed.txt").read_text()


@pytest.fixture(scope="module")
def run(cluster: None, finished: Place, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    watched = Watched(Place(tmp_path_factory.mktemp("slurm_run")))
    watched.place.take_scene(finished)
    watched.place.configure({"variants": ["ovnerf"], "seeds": list(range(SEEDS))})
    watched.go()
    assert watched.code == 0, watched.printed[-4000:]
    return watched


def submitted(printed: str) -> list[str]:
    """Job ids that the plugin reported."""
    return re.findall(r"submitted with SLURM jobid (\d+)", printed)


def minutes_of(limit: str) -> int:
    """Minutes of a time limit as `squeue` prints it: [days-][hours:]minutes:seconds."""
    days, _, clock = limit.rpartition("-")
    hours, minutes, _ = ("0:" + clock).split(":")[-3:]
    return 24 * 60 * int(days or 0) + 60 * int(hours) + int(minutes)


def test_what_seeds_share_is_made_once(run: Watched) -> None:
    assert planned_jobs(run.printed) == JOBS


def test_short_steps_are_submitted_together(run: Watched) -> None:
    again = 1
    assert len(submitted(run.printed)) == JOBS.total() - SAVED + again


def test_a_cancelled_job_is_submitted_again_with_twice_of_everything(run: Watched) -> None:
    assert run.cancelled
    assert f"SLURM-job '{run.cancelled}' failed, SLURM status is: 'CANCELLED'" in run.printed
    assert run.printed.count("Trying to restart job") == 1
    first = run.seen[run.cancelled]
    (second,) = (
        seen
        for job, seen in run.seen.items()
        if seen["rule"] == first["rule"] and job != run.cancelled
    )
    reserved = re.search(
        r"^rule train_semantics:(?:\n    .*)*?mem_mb=(\d+),.*runtime=(\d+)",
        run.printed,
        re.MULTILINE,
    )
    assert reserved
    memory, minutes = map(int, reserved.groups())
    assert (first["memory"], second["memory"]) == (f"{memory}M", f"{2 * memory}M")
    assert (minutes_of(first["limit"]), minutes_of(second["limit"])) == (minutes, 2 * minutes)


def test_only_what_computes_on_a_card_asks_for_one(run: Watched) -> None:
    profile = yaml.safe_load((PROFILE / "config.yaml").read_text())
    on_a_card = {rule for rule, wanted in profile["set-resources"].items() if wanted["gpu"] != 0}
    jobs = {job: seen["rule"] for job, seen in run.seen.items()}
    for job, rule in jobs.items():
        asked = bool(re.search("TresPerJob=gres.gpu", slurm.ask("scontrol", "show", "job", job)))
        assert asked == any(name in rule for name in on_a_card), rule


def test_results_are_those_of_this_machine_alone(
    run: Watched, finished: Place, record_property: pytest.RecordProperty
) -> None:
    record_property("slurm_seconds", round(run.seconds))
    here, there = results_of(finished), results_of(run.place)
    # What puts variants beside each other differs: four there, one here.
    both = {name for name in here.keys() & there.keys() if not re.search("tables/|figures", name)}
    assert {name for name in here if "/ovnerf/seed0/" in name} <= both
    assert {name: here[name] for name in both} == {name: there[name] for name in both}
    assert run.place.planned() == Counter()
