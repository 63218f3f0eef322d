"""Reading the CSV files of other stages, which a person may have edited or cut short."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd

from ovnerf.runtime.errors import UserError
from ovnerf.storage.text import read_text


def read_csv(path: Path, hint: str, **options: Any) -> pd.DataFrame:
    """`pandas.read_csv` of a UTF-8 file, with these options of it.

    Args:
        hint: what to do about a file that is not good.

    Raises:
        UserError: no such file, or one that is no CSV.
    """
    text = read_text(path)
    try:
        return pd.read_csv(io.StringIO(text), **options)
    except ValueError as error:  # pandas' own errors are ValueErrors
        found = " ".join(str(error).split())
        raise UserError(f"{path}: not a CSV file with a header ({found})", hint) from None


def require_numbers(path: Path, column: pd.Series, hint: str) -> pd.Series:
    """A column of a CSV file as f64; UserError naming the first line that holds something else."""
    try:
        return column.astype(float)
    except ValueError:
        numbers = pd.to_numeric(column, errors="coerce")
    row = int((numbers.isna() & column.notna()).to_numpy().argmax())
    raise UserError(
        f"{path}, line {row + 2}: found {column.iloc[row]!r} as `{column.name}`, expected a number",
        hint,
    )


def read_train_log(path: Path) -> pd.DataFrame:
    """A training's `train.csv`: `iteration` and further columns of numbers, empty where none was.

    Raises:
        UserError: as `read_csv`, no column `iteration`, or a cell that is no number.
    """
    hint = "it is the train.csv of a finished training; rerun train_semantics"
    table = read_csv(path, hint)
    if "iteration" not in table:
        columns = ", ".join(map(str, table.columns))
        raise UserError(f"{path}: found columns {columns}, expected `iteration` among them", hint)
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            table[name] = require_numbers(path, table[name], hint)
    return table
