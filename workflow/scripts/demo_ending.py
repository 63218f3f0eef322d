"""Print what to look at after `make demo`, in seven lines. Standard library only.

python workflow/scripts/demo_ending.py results
"""

import csv
import sys
from pathlib import Path
from statistics import mean

BEFORE, AFTER = "baseline", "ovnerf"
"""The field that learned CLIP's labels alone, and the one with RSR and CSE."""


def score(rows: list[dict[str, str]], scene: str, variant: str, metric: str) -> str:
    """A scene's pooled score of the field, mean over seeds, as it is printed; `-` for none."""
    wanted = {"scene": scene, "variant": variant, "metric": metric, "protocol": "pooled"}
    wanted |= {"source": "field", "frame": "", "class": ""}
    values = [
        float(row["value"]) for row in rows if all(row[key] == cell for key, cell in wanted.items())
    ]
    return f"{mean(values):.1f}" if values else "-"


def changes(rows: list[dict[str, str]], metric: str) -> str:
    """A score of each scene before and after."""
    scenes = sorted({row["scene"] for row in rows})
    return ", ".join(
        f"{scene} {score(rows, scene, BEFORE, metric)} -> {score(rows, scene, AFTER, metric)}"
        for scene in scenes
    )


def ending(results: Path) -> list[str]:
    """The lines."""
    with (results / "tables/metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    picture = min(results.glob("*/*/*/figures/view_*.png"), default=None)
    asked = min(results.glob("*/*/*/*/*/points.zarr"), default=None)
    run = asked.parent if asked else "RUN"
    return [
        f"mIoU, percent:      {changes(rows, 'mIoU')}   (CLIP labels alone -> with RSR and CSE)",
        f"accuracy, percent:  {changes(rows, 'accuracy')}   (held-out views)",
        f"all scores:         {results}/tables/summary.md",
        f"a picture to open:  {picture or 'no held-out view was drawn'}",
        f'ask the field:      .venv/bin/python -m ovnerf query {run} "table"',
        f"look at it:         .venv/bin/python -m ovnerf view {run}",
        "a report:           .venv/bin/snakemake --report report.html",
        "your own photos:    docs/tutorial.md",
    ]


if __name__ == "__main__":
    print("\n".join(ending(Path(sys.argv[1]))))
