"""Join the scores of all scenes and write the wide tables made from them.

The folder gets `metrics.csv` (long form, every score), `components.csv`, `per_class.csv`,
`image_quality.csv`, `paper.csv` (beside the published numbers) and `summary.md`, the page to read.
Other files there, like those of `paper_tables`, stay.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ovnerf.evaluation.summary import summary
from ovnerf.evaluation.tables import (
    beside_paper,
    components,
    image_quality,
    per_class,
    read_long,
)
from ovnerf.storage.atomic import atomic_file


def run(*, metrics: list[Path], out: Path, about: str = "") -> dict[str, Any]:
    """Write the tables of the long CSV files `metrics` to the folder `out`; returns row counts.

    Args:
        metrics: long CSV files.
        out: folder; each file appears there when it is complete.
        about: a sentence for the captions of summary.md: what the scores do not say of the run.
    """
    long = read_long(metrics)
    tables = {
        "components": components(long),
        "per_class": per_class(long),
        "image_quality": image_quality(long),
        "paper": beside_paper(long),
    }
    page = summary(long, tables["paper"], about)
    for name, table in {"metrics": long, **tables}.items():
        with atomic_file(out / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
    with atomic_file(out / "summary.md") as temporary:
        temporary.write_text(page, encoding="utf-8")
    return {"rows": len(long), **{name: len(table) for name, table in tables.items()}}
