"""Paths as people type them. Standard library only: the Snakefile asks."""

from __future__ import annotations

import os
from pathlib import Path


def typed_path(text: str) -> str:
    """A path from a sheet or a config: `~` is the home folder, `\\` divides folders as `/` does.

    A file or folder of exactly this name comes first; the path is then what it was.
    """
    if Path(text).exists():
        return text
    # Path.expanduser raises where a user is unknown; this leaves the name as it is.
    return os.path.expanduser(text).replace("\\", "/")  # noqa: PTH111
