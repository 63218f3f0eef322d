"""Files as other tools and other people leave them: refused in one message, or read right."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import table

TABLES = sorted(path.stem for path in Path(__file__).parent.glob("cases_*.py"))
CASES = [
    pytest.param(case, id=f"{name.removeprefix('cases_')}: {case.what}")
    for name in TABLES
    for case in importlib.import_module(name).CASES
]


@pytest.mark.parametrize("case", CASES)
def test_foreign_input(case: table.Case, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    table.run(case, tmp_path, capsys)
