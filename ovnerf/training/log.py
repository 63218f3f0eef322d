"""The table of a training's losses."""

from __future__ import annotations

from pathlib import Path


def write_log(path: Path, rows: list[dict[str, float]]) -> None:
    """`train.csv`: one row per logged step, six significant digits."""
    # Not above: renders read checkpoints, too, and never write one.
    import pandas as pd

    pd.DataFrame(rows).to_csv(path, index=False, float_format="%.6g")
