"""`train.csv`: the losses of a training."""

from __future__ import annotations

from pathlib import Path


def write_log(path: Path, rows: list[dict[str, float]]) -> None:
    """Write a CSV with one row per logged iteration, numbers with six significant digits."""
    # Imported where it is needed: pandas is slow to load, and renders never write a log.
    import pandas as pd

    pd.DataFrame(rows).to_csv(path, index=False, float_format="%.6g")
