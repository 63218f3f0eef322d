"""Print seconds per rule from Snakemake's benchmark files, slowest first. Standard library only."""

import csv
import sys
from pathlib import Path


def seconds_per_rule(folder: Path) -> dict[str, tuple[int, float]]:
    """Rule -> (jobs, seconds in total); `folder` holds one folder per rule."""
    found = {}
    for rule in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(rule.glob("*.tsv"))
        rows = [
            next(csv.DictReader(file.open(encoding="utf-8", newline=""), delimiter="\t"))
            for file in files
        ]
        found[rule.name] = (len(rows), sum(float(row["s"]) for row in rows))
    return found


def lines(found: dict[str, tuple[int, float]]) -> list[str]:
    """A small table, slowest rule first, with the sum at the end."""
    total = (sum(jobs for jobs, _ in found.values()), sum(spent for _, spent in found.values()))
    rows = [*sorted(found.items(), key=lambda item: -item[1][1]), ("all rules", total)]
    return [f"{'rule':<18}{'jobs':>6}{'seconds':>10}"] + [
        f"{rule:<18}{jobs:>6}{seconds:>10.1f}" for rule, (jobs, seconds) in rows
    ]


if __name__ == "__main__":
    print("\n".join(lines(seconds_per_rule(Path(sys.argv[1])))))
