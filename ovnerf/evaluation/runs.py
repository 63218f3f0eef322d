"""What each job did: its closing line in the log, beside the time that Snakemake measured."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ovnerf.evaluation.figures import new_figure

COLUMNS = (
    *("dataset", "scene", "encoder", "variant", "seed", "rule"),
    *("frames", "done", "unit", "went_on_at", "rate", "seconds", "job_seconds"),
    *("peak_memory_mb", "expected_memory_mb", "warning", "digest", "out"),
)
WHOLE = ("frames", "done", "went_on_at", "peak_memory_mb", "expected_memory_mb")
"""Whole numbers, some of them missing."""
BAR_INCHES = 0.3


def closing_line(log: Path) -> dict[str, Any] | None:
    """The JSON object that ends a log; None for a job that did not end well."""
    lines = log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return found if isinstance(found, dict) and "stage" in found else None


def place_of(out: str, results: str, rule: str) -> dict[str, str]:
    """Dataset, scene, encoder, variant and seed from the path of a result.

    Paths are `{results}/{dataset}/{scene}/[{encoder}/[{variant}/seed{seed}/]]name`; what lies
    elsewhere (tables, weights) belongs to none.
    """
    if not Path(out).is_relative_to(results):
        return {}
    parts = Path(out).relative_to(results).parts[:-1]
    if rule == "make_room":  # room/room.json is of the scene
        parts = parts[:2]
    if len(parts) < 2:
        return {}
    names = dict(zip(("dataset", "scene", "encoder"), parts, strict=False))
    if len(parts) > 4 and re.fullmatch(r"seed\d+", parts[4]):
        names |= {"variant": parts[3], "seed": parts[4].removeprefix("seed")}
    return names


def job_seconds(benchmark: Path) -> float | None:
    """Wall seconds of a job with its process start, from Snakemake's benchmark file."""
    if not benchmark.is_file():
        return None
    with benchmark.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return float(rows[0]["s"]) if rows else None


def read_runs(logs: Path, benchmarks: Path) -> pd.DataFrame:
    """One row per job that ended well, by rule and place.

    Args:
        logs: folder `{results}/logs`, in it one folder per rule.
        benchmarks: Snakemake's, of the same shape.
    """
    rows = []
    for log in sorted(logs.rglob("*.log")):
        closing = closing_line(log)
        if closing is None or "out" not in closing:
            continue
        measured = benchmarks / log.relative_to(logs).with_suffix(".tsv")
        rows.append(run_row(closing, str(logs.parent), job_seconds(measured)))
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(WHOLE, "Int64"))
    return table.sort_values(["rule", "out"], ignore_index=True)


def run_row(closing: Mapping[str, Any], results: str, measured: float | None) -> dict[str, Any]:
    """The cells of one job."""
    rule = closing["stage"]
    known = {key: closing[key] for key in COLUMNS if key in closing}
    frames = closing.get("frames", closing.get("views"))
    place = place_of(closing["out"], results, rule)
    return {**known, **place, "rule": rule, "frames": frames, "job_seconds": measured}


def time_and_memory(table: pd.DataFrame) -> Figure:
    """Bars by rule, slowest on top: job time (and inside the stage), and the largest peak."""
    by_rule = table.assign(job=table.job_seconds.fillna(table.seconds)).groupby("rule")
    sums = by_rule[["job", "seconds"]].sum().sort_values("job")
    count = by_rule.size()[sums.index]
    peak = by_rule.peak_memory_mb.max()[sums.index].astype(float)  # unknown becomes NaN: no bar
    names = [f"{rule} ({count[rule]})" for rule in sums.index]
    figure = new_figure(9, 1.2 + BAR_INCHES * len(names))
    time, memory = figure.subplots(1, 2, sharey=True)
    time.barh(names, sums.job, color="0.8", label="job, with the start of its process")
    time.barh(names, sums.seconds, color="tab:blue", label="inside the stage")
    time.set_xlabel("seconds, all jobs of a rule (their number)")
    time.legend(fontsize=8, loc="lower right")
    memory.barh(names, peak, color="tab:orange")
    memory.set_xlabel("largest peak memory of a job, MB")
    return figure
