"""What every job took: a table of all jobs, and a chart of time and memory by rule.

These numbers differ from run to run; the tables of scores, which do not, are `aggregate`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ovnerf.evaluation.runs import read_runs, time_and_memory
from ovnerf.storage.atomic import atomic_file


def run(*, logs: Path, benchmarks: Path, chart: Path, out: Path) -> dict[str, Any]:
    """Write the table `out` and the picture `chart` from the logs' closing lines."""
    table = read_runs(logs, benchmarks)
    with atomic_file(chart) as temporary:
        time_and_memory(table).savefig(temporary, dpi=110, format="png")
    with atomic_file(out) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    return {
        "jobs": len(table),
        "job_seconds": round(float(table.job_seconds.sum()), 1),
        "jobs_with_warnings": int(table.warning.notna().sum()),
    }
