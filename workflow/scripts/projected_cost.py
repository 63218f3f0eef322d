"""Print what a config would cost: jobs, hours on a card, CPU hours and disk, rule by rule.

    python workflow/scripts/projected_cost.py config/benchmark.yaml
    python workflow/scripts/projected_cost.py config/benchmark.yaml --measured results/benchmarks

The jobs are those of Snakemake's own dry run, so neither data nor weights are needed. Seconds and
disk come from the cost model (ovnerf/runtime/costs.py), whose constants have their sources beside
them; where an earlier run of the same config left benchmark files (`--measured`, by default those
in its results folder), a rule's model is scaled to them and the table says so. Disk is counted
before compression.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from ovnerf.config.run import read_yaml  # noqa: E402
from ovnerf.inspection.jobs import PlannedJobs  # noqa: E402
from ovnerf.inspection.plan import make_plan, shipped  # noqa: E402
from ovnerf.runtime import costs  # noqa: E402
from ovnerf.runtime.errors import UserError  # noqa: E402
from ovnerf.runtime.job import Job  # noqa: E402


@dataclass(frozen=True)
class Planned:
    """A job of the dry run, with the wildcards that tell it from its like."""

    wildcards: dict[str, str]
    job: Job

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


def dry_run(path: Path) -> str:
    """What Snakemake would do if nothing were there yet."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--forceall", "--cores", "1"]
    command += ["--snakefile", str(REPOSITORY / "Snakefile"), "--configfile", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{path}: it cannot be planned:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout + done.stderr


def planned(output: str, jobs: PlannedJobs) -> Iterator[Planned]:
    """Every job of a dry run but `all`."""
    for rule, body in re.findall(r"(?m)^(?:local)?rule (\w+):\n((?:    .*\n)*)", output):
        found = re.search(r"(?m)^    wildcards: (.*)$", body)
        pairs = (pair.split("=", 1) for pair in (found[1].split(", ") if found else ()))
        if rule != "all":
            wildcards = dict(pairs)
            yield Planned(wildcards, jobs.job(rule, wildcards))


def group(job: Planned) -> tuple[str, str]:
    """Jobs whose measured seconds may stand for each other's."""
    encoder = job.wildcards.get("encoder", "") if job.rule.startswith("cache_features") else ""
    return job.rule, encoder


def measured_seconds(folder: Path, job: Planned) -> float | None:
    """Seconds of a job in an earlier run, if its benchmark file is there."""
    path = folder / job.rule / f"{job.name}.tsv"
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        return float(next(csv.DictReader(file, delimiter="\t"))["s"])


def scales(jobs: list[Planned], folder: Path) -> dict[tuple[str, str], tuple[float, int]]:
    """Group -> (measured over modelled seconds, measured jobs)."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for job in jobs:
        seconds = measured_seconds(folder, job)
        if seconds is not None:
            found.setdefault(group(job), []).append((seconds, job.seconds))
    return {
        key: (sum(real for real, _ in pairs) / sum(model for _, model in pairs), len(pairs))
        for key, pairs in found.items()
    }


def table(jobs: list[Planned], folder: Path) -> list[str]:
    """One line per rule, in the order of the workflow, and their sum."""
    known = scales(jobs, folder)
    row = "{:<17}{:>6}{:>10}{:>10}{:>10}  {}".format
    lines = [row("rule", "jobs", "card h", "CPU h", "disk GB", "where the hours come from")]
    totals = [0, 0.0, 0.0, 0.0]
    for rule in costs.COSTS:
        mine = [job for job in jobs if job.rule == rule]
        if not mine:
            continue
        hours = sum(known.get(group(job), (1.0, 0))[0] * job.seconds for job in mine) / 3600
        card = mine[0].cost.card
        disk = sum(job.cost.disk(job.job) for job in mine) / 1e9
        cells = [len(mine), hours * card, hours * (not card), disk]
        totals = [total + cell for total, cell in zip(totals, cells, strict=True)]
        seen = sum(number for (name, _), (_, number) in known.items() if name == rule)
        source = f"measured: {seen} of its jobs" if seen else mine[0].cost.source
        lines.append(row(rule, cells[0], *(f"{cell:.2f}" for cell in cells[1:]), source))
    return [*lines, row("all rules", totals[0], *(f"{total:.1f}" for total in totals[1:]), "")]


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("--measured", type=Path, metavar="FOLDER", help="benchmark files")
    options = parser.parse_args()
    try:
        config = Path(shipped(str(options.config)))
        known = read_jobs(config)
        jobs = list(planned(dry_run(config), known))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    folder = options.measured or Path(known.plan.config.results) / "benchmarks"
    print("\n".join(table(jobs, folder)))
    print(f"\nBenchmark files of an earlier run were looked for in {folder}.")
    guessed = [text for size in known.sizes.values() for text in size.guessed]
    if guessed:
        print(f"Not known and taken as: {', '.join(guessed)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
