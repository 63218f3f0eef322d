"""The jobs of a config as Snakemake's own dry run plans them, each with its sizes and costs.

Neither data nor weights are needed. `python -m ovnerf plan` and
`workflow/scripts/projected_cost.py` ask here; the costs are those of `ovnerf.runtime.costs`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovnerf.config.run import read_yaml
from ovnerf.inspection.jobs import PlannedJobs
from ovnerf.inspection.plan import make_plan
from ovnerf.runtime import costs
from ovnerf.runtime.errors import UserError
from ovnerf.runtime.job import Job
from ovnerf.storage.provenance import WORKFLOW_ROOT


@dataclass(frozen=True)
class Planned:
    """A job of the dry run, with the wildcards that tell it from its like.

    Attributes:
        inputs, outputs: files, by which jobs wait for each other.
    """

    wildcards: dict[str, str]
    job: Job
    inputs: frozenset[str] = frozenset()
    outputs: frozenset[str] = frozenset()

    @property
    def rule(self) -> str:
        """Name of its rule."""
        return self.job.rule

    @property
    def name(self) -> str:
        """Name of its benchmark file without the ending (see workflow/rules/common.smk)."""
        parts = dict(self.wildcards)
        if "seed" in parts:
            parts["seed"] = f"seed{parts['seed']}"
        order = ("dataset", "scene", "encoder", "shared", "variant", "seed", "part")
        return ".".join(parts[key] for key in order if key in parts) or "all"

    @property
    def seconds(self) -> float:
        """Modelled seconds with its start."""
        return costs.modelled_seconds(self.job)

    @property
    def cost(self) -> costs.Cost:
        """How its rule is reckoned."""
        return costs.COSTS[self.rule]


def read_jobs(path: Path) -> PlannedJobs:
    """The jobs of the config at `path`, by rule and wildcards."""
    return PlannedJobs(make_plan(read_yaml(path), str(path)))


def dry_run(*configs: Path) -> str:
    """What Snakemake would do if nothing were there yet, by configs laid over each other."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--forceall", "--cores", "1"]
    command += ["--snakefile", str(WORKFLOW_ROOT / "workflow/Snakefile")]
    command += ["--configfile", *map(str, configs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        where = " + ".join(map(str, configs))
        raise UserError(f"{where}: it cannot be planned:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout + done.stderr


def listed(body: str, key: str) -> list[str]:
    """The entries of a line of a job in a dry run."""
    found = re.search(rf"(?m)^    {key}: (.*)$", body)
    return found[1].split(", ") if found else []


def planned(output: str, jobs: PlannedJobs) -> Iterator[Planned]:
    """Every job of a dry run but `all`."""
    for rule, body in re.findall(r"(?m)^(?:local)?rule (\w+):\n((?:    .*\n)*)", output):
        wildcards = dict(pair.split("=", 1) for pair in listed(body, "wildcards"))
        if rule != "all":
            files = (frozenset(listed(body, key)) for key in ("input", "output"))
            yield Planned(wildcards, jobs.job(rule, wildcards), *files)


def finish_times(jobs: Sequence[Planned], seconds: Sequence[float], at_once: int) -> float:
    """Seconds until the last job ends, where so many run at once and each waits for its inputs.

    Of the jobs that could start, the one that takes longest does.
    """
    maker = {name: at for at, job in enumerate(jobs) for name in job.outputs}
    waits = [
        {maker[name] for name in job.inputs if name in maker} - {at} for at, job in enumerate(jobs)
    ]
    done: dict[int, float] = {}
    running: dict[int, float] = {}
    now = 0.0
    while len(done) < len(jobs):
        ready = [
            at
            for at in range(len(jobs))
            if at not in done and at not in running and waits[at] <= done.keys()
        ]
        ready.sort(key=lambda at: -seconds[at])
        for at in ready[: at_once - len(running)]:
            running[at] = now + seconds[at]
        first = min(running, key=lambda at: running[at])
        now = running.pop(first)
        done[first] = now
    return now
