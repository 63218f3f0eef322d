"""pycolmap without its own log, and with as many threads as the stage was given."""

from __future__ import annotations

import os
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


@contextmanager
def database(path: Path) -> Iterator[pycolmap.Database]:
    """COLMAP's database of features and matches, made where it is missing."""
    opened = pycolmap.Database.open(path)
    try:
        yield opened
    finally:
        opened.close()
