"""Result folders that hold a list of their files, by which the next run knows what it may replace.

Stores need none: `zarr.json` names the arrays (`ovnerf.storage.stores`). The list is hidden, is no
part of the result (`path_digest` leaves it out), and stays when Snakemake or a person deletes a
file of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ovnerf.storage.atomic import atomic_folder, files_in
from ovnerf.storage.provenance import LIST


@contextmanager
def listed_folder(path: Path, stage: str) -> Iterator[Path]:
    """`atomic_folder` for the result of a stage; the list of its files is written at the end.

    Raises:
        UserError: `path` holds a file that this stage did not make (`not_of_stage`).
    """
    with atomic_folder(path, partial(not_of_stage, stage=stage)) as folder:
        yield folder
        content = {"stage": stage, "files": list(files_in(folder))}
        (folder / LIST).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def not_of_stage(folder: Path, stage: str) -> Iterator[str]:
    """Names of the files in `folder` that an earlier run of this stage is not known to have made.

    Known are the files of its list. A folder without one vouches for nothing, be it of an earlier
    version: Snakemake deletes such a result itself before the stage makes it again.
    """
    listed = listed_files(folder, stage)
    return (name for name in files_in(folder) if name not in listed)


def listed_files(folder: Path, stage: str) -> set[str]:
    """The files of a folder's list; empty for another stage's, a damaged one, and where none is."""
    try:
        content = json.loads((folder / LIST).read_text(encoding="utf-8"))
        return set(content["files"]) if content["stage"] == stage else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()
