"""pycolmap without its log, with the stage's threads, and with names that its lists can hold."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pycolmap

ERROR = 2
"""Of pycolmap's levels: information and warnings, one a photo, are not shown."""


def quiet() -> None:
    """Let pycolmap log nothing but errors."""
    pycolmap.logging.minloglevel = ERROR


def threads() -> int:
    """Compute threads of the stage (`--threads`)."""
    return int(os.environ.get("OMP_NUM_THREADS", "1"))


def colmap_name(name: str) -> str:
    """What a photo is called in COLMAP's database and in the working folder.

    COLMAP reads pairs of names from a text file: blanks part them, and `#` begins a comment. Such
    characters (and `%`) become `%` and two hexadecimal digits; all other names stay as they are.
    """
    return re.sub(r"[ \t\n\r\f\v#%]", lambda found: f"%{ord(found[0]):02X}", name)


def photo_name(name: str) -> str:
    """The name of a photo, from what `colmap_name` made of it."""
    return re.sub("%([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), name)


@contextmanager
def database(path: Path) -> Iterator[pycolmap.Database]:
    """COLMAP's database of features and matches, made where it is missing."""
    opened = pycolmap.Database.open(path)
    try:
        yield opened
    finally:
        opened.close()
