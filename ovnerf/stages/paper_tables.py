"""Write tables I to VIII of the paper with our scores beside the published ones.

For each asked table `paper_<number>.csv`, a line for each printed number, and `paper_<number>.md`,
the same in the paper's layout. `order.csv` and `order.md`: for each comparison of the paper,
whether its order holds here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ovnerf.config.paper import PaperTables
from ovnerf.evaluation.order import as_markdown as order_page
from ovnerf.evaluation.order import order_of
from ovnerf.evaluation.paper_layout import as_markdown, paper_tables
from ovnerf.evaluation.tables import read_long
from ovnerf.storage.atomic import atomic_file


def run(*, metrics: Path, out: Path, settings: PaperTables) -> dict[str, Any]:
    """Write the tables of the long CSV file `metrics` to the folder `out`, beside what is there."""
    long = read_long([metrics])
    tables = paper_tables(long, settings)
    pages = {name: as_markdown(name, table, settings) for name, table in tables.items()}
    for name, table in tables.items():
        write(out, f"paper_{name}", table, pages[name])
    order = order_of(long)
    page = order_page(order, stand_ins=bool(settings.scenes or settings.encoders))
    write(out, "order", order, page)
    numbers = sum(int(table["ours_mean"].count()) for table in tables.values())
    return {"tables": len(tables), "numbers": numbers}


def write(folder: Path, name: str, table: pd.DataFrame, page: str) -> None:
    """Write a table as CSV and as Markdown."""
    with atomic_file(folder / f"{name}.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
    with atomic_file(folder / f"{name}.md") as temporary:
        temporary.write_text(page, encoding="utf-8")
