"""Get one weight file: from a folder of yours, else by download, resumed and verified.

Only this stage uses the network, and only for files of the table (`config/weights.tsv`).
"""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from ovnerf.runtime.errors import UserError
from ovnerf.storage.provenance import file_digest
from ovnerf.storage.weight_sources import fetch, read_table


def run(*, table: Path, out: Path, weights_dir: Path | None = None) -> dict[str, object]:
    """Put the table's file named `out` there; returns its sum and where it came from."""
    rows = read_table(table)
    if str(out) not in rows:
        raise UserError(f"{table}: no row for {out}", "add one, or put the file there yourself")
    weight = rows[str(out)]
    with tqdm(desc=out.name, disable=None, unit="B", unit_scale=True) as bar:

        def progress(here: int, total: int) -> None:
            bar.total = total or None
            bar.update(here - bar.n)

        origin = fetch(weight, out, weights_dir, progress)
    return {
        "file": str(out),
        "from": origin,
        "sha256": file_digest(out),
        "verified": bool(weight.sha256),
        "licence": weight.licence,
    }
