"""`python -m benchmarks`: times the fast path against the plain one, in turn, in one process."""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
from dataclasses import replace
from itertools import chain
from pathlib import Path

import torch

from benchmarks import systems
from benchmarks.cases import FULL, QUICK, cases, describe
from benchmarks.measure import Result
from benchmarks.scene import bench_field

COLUMNS = ("case", "size", "reference s", "fast s", "ratio", "reference MB", "fast MB")


def table(results: list[Result]) -> str:
    """Markdown."""
    rows = [
        f"| {r.case} | {r.size} | {r.reference_s:.3g} | {r.fast_s:.3g} | {r.ratio:.3g} "
        f"| {r.reference_peak_mb:.0f} | {r.fast_peak_mb:.0f} | {r.max_abs_diff:.1e} "
        f"| {r.max_grad_rel_diff:.1e} | {r.reference_share:.2g} |"
        for r in results
    ]
    head = [*COLUMNS, "difference", "gradient difference", "share of reference run"]
    rule = "|" + "---|" * len(head)
    return "\n".join([f"| {' | '.join(head)} |", rule, *rows])


def main() -> None:
    """Run the cases and write `bench.json` and `bench.md`."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one repeat")
    parser.add_argument("--only", nargs="*", default=[], help="prefixes of cases to run")
    parser.add_argument("--repeats", type=int, help="timed runs of each; medians are kept")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="torch threads")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for the tables")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sizes = QUICK if arguments.quick else FULL
    sizes = replace(sizes, repeats=arguments.repeats or sizes.repeats)
    native = os.environ.get("OVNERF_NATIVE", "1") != "0"
    header = (
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, compiled loops {'on' if native else 'off'}; "
        + describe(bench_field(sizes.edge), sizes)
    )
    print(header, flush=True)
    results = []
    for name, case in chain(cases(sizes), systems.cases(sizes)):
        if arguments.only and not name.startswith(tuple(arguments.only)):
            continue
        results.append(case())
        print(table(results[-1:]).splitlines()[-1], flush=True)
        gc.collect()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = [result.as_dict() for result in results]
    (arguments.out / "bench.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "bench.md").write_text(f"{header}\n\n{table(results)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
