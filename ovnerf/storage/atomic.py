"""Files and folders that appear under their name only when they are complete.

All are written beside their place as `.NAME.PID.tmp`, flushed to the disk and renamed, so that
neither a kill nor a power cut leaves half a result under the final name. What killed processes
left is removed by `ovnerf.runtime.lock.hold_lock`, which knows the pattern of these names.

A folder is replaced as a whole, so it must hold nothing that the same command did not make: a
person may have named a folder of their own. Who replaces one says which files in it are strangers.

No large library: the Snakefile's weight table is in a module that imports this one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from ovnerf.runtime.errors import UserError
from ovnerf.storage.provenance import NOTES

Strangers = Callable[[Path], Iterable[str]]
"""Names of the files in a folder that a command is not known to have made (`files_in`)."""
UNCOUNTED = {*NOTES, ".DS_Store", "Thumbs.db"}
"""Files that nobody misses: notes on a result, and what systems leave where someone looked."""
NAMED = 3
"""How many strangers a message names."""


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
def atomic_folder(path: Path, strangers: Strangers) -> Iterator[Path]:
    """An empty folder to fill; it becomes `path` when the block ends without error.

    An existing folder is replaced as a whole; where `path` is a link, the one that it leads to.
    After an error nothing is left but the folder that was there before. Files are flushed one by
    one, which takes well under a millisecond each on a local disk: the largest stores have some
    thousand.

    Raises:
        UserError: as `require_replaceable`, before the block and again after it.
    """
    require_replaceable(path, strangers)
    path = path.resolve() if path.is_symlink() else path
    temporary = temporary_path(path)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for folder, _, files in os.walk(temporary):
            for name in files:
                flush(Path(folder) / name)
        # Someone may have put a file there while the block was busy for hours.
        require_replaceable(path, strangers)
        shutil.rmtree(path, ignore_errors=True)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_replaceable(path: Path, strangers: Strangers) -> None:
    """UserError where a folder result at `path` would replace what its command did not make.

    Fine are nothing, an empty folder, and a folder without strangers. The folder in which this
    process runs is refused, too: whoever is there would be left in one that is gone.
    """
    if not path.exists() and not path.is_symlink():
        return
    if not path.is_dir():
        kind = "a link that leads to no folder" if path.is_symlink() else "a file"
        raise UserError(
            f"{path}: found {kind}, expected a folder or nothing there", "name another folder"
        )
    there = path.resolve()
    if Path.cwd().is_relative_to(there):
        raise UserError(
            f"{path}: found the folder that this command runs in, or one around it; it would be "
            "replaced as a whole",
            "name a new folder inside the one you are in",
        )
    found = list(islice(strangers(path), NAMED + 1))
    if found:
        names = ", ".join(found[:NAMED]) + (" and more" if len(found) > NAMED else "")
        raise UserError(
            f"{path}: found {names}, not made by an earlier run of this command; expected an empty "
            "folder, none, or an earlier result, because it is replaced as a whole",
            "name another folder, or remove this one if nothing in it is needed",
        )


def files_in(folder: Path) -> Iterator[str]:
    """Names below `folder` of all that is no folder, sorted, with `/` between folders.

    Links count, to folders as well: they are a person's. Files of `UNCOUNTED` names do not.
    """
    for where, folders, files in os.walk(folder):
        links = [name for name in folders if Path(where, name).is_symlink()]
        folders.sort()
        for name in sorted([*files, *links]):
            if name not in UNCOUNTED:
                yield Path(where, name).relative_to(folder).as_posix()


def flush(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
