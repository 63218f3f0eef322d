"""What a table of foreign inputs is made of, and how one row of it is run.

Each module `cases_*.py` beside this file holds a list `CASES`. A row builds some files in an empty
folder and names a command; it then says either how the command must refuse them, or what must be
there after it has read them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ovnerf.cli import main

Arguments = Sequence[str | Path]


@dataclass(frozen=True)
class Refused:
    """Input that must end in one message and exit code 2, with nothing written.

    Attributes:
        what: the input in a few words; the name of the test.
        make: builds the files below an empty folder, returns the command's arguments.
        words: what the message must contain, each a plain substring (`{folder}` is the empty
            folder): the file, what was found, what was expected.
    """

    what: str
    make: Callable[[Path], Arguments]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Read:
    """Input that must be read, and read right.

    Attributes:
        what: the input in a few words; the name of the test.
        make: builds the files below an empty folder, returns the command's arguments.
        check: asserts the exact values that the command left below that folder.
        words: what the command must say (on either stream), each a plain substring.
    """

    what: str
    make: Callable[[Path], Arguments]
    check: Callable[[Path], None]
    words: tuple[str, ...] = ()


Case = Refused | Read


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder; the bytes of files, None for folders and other things."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def run(case: Case, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Build the input of a row, run its command in this process, assert what the row says."""
    arguments = [str(argument) for argument in case.make(folder)]
    before = contents(folder)
    capsys.readouterr()
    code = main(arguments)
    captured = capsys.readouterr()
    said = captured.out + captured.err
    assert "Traceback" not in said
    for word in case.words:
        assert word.format(folder=folder) in said, said
    if isinstance(case, Refused):
        assert code == 2, said
        assert captured.err.count("error:") == 1
        assert contents(folder) == before
    else:
        assert code == 0, said
        case.check(folder)
