"""Which scores differ between two results folders, or two versions of one, and by how much.

    python -m ovnerf compare results.before results

Not a rule of the workflow. Scores are paired by dataset, scene, seed, and all else that tells two
scores of `tables/metrics.csv` apart; those of single views and classes are left out.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ovnerf.evaluation.differences import paired_difference, pairs
from ovnerf.evaluation.summary import markdown
from ovnerf.evaluation.tables import aggregates, read_long
from ovnerf.runtime.errors import UserError

RUN = ["encoder", "variant", "source", "split", "protocol", "metric"]
"""A line of the comparison; scenes and seeds are its pairs."""
PAIRED = ["dataset", "scene", "seed", *RUN]
MOVED = 0.005
"""Smaller differences of every pair are printed as none."""


def run(first: Path, second: Path) -> dict[str, object]:
    """Print what moved from the first folder to the second; returns how many lines did.

    Raises:
        UserError: a folder without tables, or two that share no score.
    """
    tables = [aggregates(read_long([metrics_of(folder)])) for folder in (first, second)]
    joined = pairs(tables[0], tables[1], PAIRED)
    if joined.empty:
        raise UserError(
            f"{first} and {second}: no score is in both, expected the same scenes and variants"
        )
    rows = []
    for key, group in joined.groupby(RUN, sort=True):
        if group["difference"].abs().max() < MOVED:
            continue
        found = paired_difference(group["difference"].to_numpy())
        means = group["value_first"].mean(), group["value_second"].mean()
        rows.append([*key, *means, found.mean, found.low, found.high, found.pairs])
    columns = [*RUN, "first", "second", "difference", "low", "high", "pairs"]
    print(markdown(pd.DataFrame(rows, columns=columns)) if rows else "No score moved.")
    alone = [len(table) - len(joined) for table in tables]
    print(f"\n{len(joined)} scores in both; {alone[0]} in {first} alone, {alone[1]} in {second}.")
    return {"scores": len(joined), "moved": len(rows)}


def metrics_of(folder: Path) -> Path:
    """The long table of a results folder; UserError where there is none."""
    path = folder / "tables" / "metrics.csv"
    if not path.is_file():
        raise UserError(f"{path}: no such file", "name a results folder of a finished run")
    return path
