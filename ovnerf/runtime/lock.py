"""One process per result. A job outlives a Snakemake that was killed alone; its successor waits.

Standard library only.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ovnerf.runtime.errors import UserError

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)
"""File systems without locks: Snakemake's own lock is then the only one."""


@contextmanager
def hold_lock(out: Path) -> Iterator[None]:
    """Hold the lock of result `out`; it goes with the process, however that ends.

    Unfinished files that killed processes left under temporary names are removed first.

    Raises:
        UserError: another process holds it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    path = out.with_name(f".{out.name}.lock")
    descriptor = acquire(path, out)
    try:
        for leftover in leftovers(out):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def acquire(path: Path, out: Path) -> int:
    """Descriptor of the locked file `path`."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            maker = os.read(descriptor, 200).decode(errors="replace") or "another process"
            os.close(descriptor)
            raise UserError(
                f"{out}: {maker} is making it",
                "wait until it ends, or end it, then run again",
            ) from None
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                os.close(descriptor)
                raise
        # The holder before removes the file when it ends: what was locked may be that old file.
        try:
            current = path.stat().st_ino == os.fstat(descriptor).st_ino
        except FileNotFoundError:
            current = False
        if current:
            os.truncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
            return descriptor
        os.close(descriptor)


def leftovers(out: Path) -> list[Path]:
    """What processes that died while writing `out` left beside it."""
    name = re.escape(out.name)
    pattern = re.compile(rf"\.{name}(\.partial\.safetensors)?\.\d+\.tmp")
    return [path for path in out.parent.iterdir() if pattern.fullmatch(path.name)]
