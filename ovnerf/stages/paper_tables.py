"""Write tables I to VIII of the paper with our scores beside the published ones.

For each asked table `paper_<number>.csv`, a line for each printed number, and `paper_<number>.md`,
the same in the paper's layout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ovnerf.config.paper import PaperTables
from ovnerf.evaluation.paper_layout import as_markdown, paper_tables
from ovnerf.evaluation.tables import read_long
from ovnerf.storage.atomic import atomic_file


def run(*, metrics: Path, out: Path, settings: PaperTables) -> dict[str, Any]:
    """Write the tables of the long CSV file `metrics` to the folder `out`, beside what is there."""
    tables = paper_tables(read_long([metrics]), settings)
    for name, table in tables.items():
        with atomic_file(out / f"paper_{name}.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
        with atomic_file(out / f"paper_{name}.md") as temporary:
            temporary.write_text(as_markdown(name, table, settings), encoding="utf-8")
    return {
        "tables": len(tables),
        "numbers": sum(table["ours_mean"].count() for table in tables.values()),
    }
