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
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from ovnerf.inspection.plan import shipped  # noqa: E402
from ovnerf.inspection.projection import Planned, dry_run, planned, read_jobs  # noqa: E402
from ovnerf.runtime import costs  # noqa: E402
from ovnerf.runtime.errors import UserError  # noqa: E402


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
