"""Files and folders that appear under their name only when they are complete.

All are written beside their place as `.NAME.PID.tmp`, flushed to the disk and renamed, so that
neither a kill nor a power cut leaves half a result under the final name. What killed processes
left is removed by `ovnerf.runtime.lock.hold_lock`, which knows the pattern of these names.

Standard library only: the Snakefile's weight table is in a module that imports this one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def temporary_path(path: Path) -> Path:
    """Where this process writes what will be `path`: in the same folder, hence on the same disk."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A path to write the file `path` to; it becomes `path` when the block ends without error.

    The folder is made where it is missing, and an existing file is replaced. After an error
    nothing is left but the file that was there before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        yield temporary
        flush(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill; it becomes `path` when the block ends without error.

    An existing folder is replaced as a whole. After an error nothing is left but the folder that
    was there before. Files are flushed one by one, which takes well under a millisecond each on a
    local disk: the largest stores have some thousand.
    """
    temporary = temporary_path(path)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for folder, _, files in os.walk(temporary):
            for name in files:
                flush(Path(folder) / name)
        shutil.rmtree(path, ignore_errors=True)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def flush(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
