"""A stage's log while it works, its warnings, and ending early when the machine asks for it.

A stage's loop calls :func:`begin` once and :func:`advance` after each frame or iteration. The lines
go to standard error, so that a job's log shows where it began, what was kept, and by which process.
SIGTERM (a cluster takes the machine back) only sets a flag; the loop saves its state and leaves.
Standard library only.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

LOG_SECONDS = 60.0
"""Time between two lines about how far a loop is."""


@dataclass
class Work:
    """One loop: `done` of `total` units, `first` of which an earlier process had done.

    `begun` and `logged` are the times (time.monotonic, seconds) of its start and of its last line.
    """

    label: str
    unit: str
    total: int
    first: int
    done: int
    begun: float
    logged: float

    def rate(self) -> float | None:
        """Units per second of this process; None before the first."""
        seconds = time.monotonic() - self.begun
        return (self.done - self.first) / seconds if self.done > self.first and seconds else None


@dataclass
class State:
    """The running stage.

    Attributes:
        work: its latest loop.
        stop: whether it was asked to end.
        warnings: what a person should look at -> the files (or other places) it is about, each
            once.
    """

    work: Work | None = None
    stop: bool = False
    warnings: dict[str, list[str]] = field(default_factory=dict)


STATE = State()


def log(text: str) -> None:
    """One line on standard error, with the process it comes from."""
    # A reader that has gone (`tee`, killed with the job) must not cost a checkpoint.
    with suppress(BrokenPipeError):
        print(f"[{os.getpid()}] {text}", file=sys.stderr, flush=True)


def begin(label: str, unit: str, total: int, first: int = 0) -> None:
    """A loop of `total` units starts, or goes on after the `first` that are done."""
    now = time.monotonic()
    STATE.work = Work(label, unit, total, first, first, now, now)
    log(f"{label}: {'goes on at' if first else 'begins at'} {first} of {total} {unit}")


def advance(count: int = 1) -> None:
    """So many more units are done; logs that every LOG_SECONDS, where no progress bar is seen."""
    work, now = STATE.work, time.monotonic()
    if work is None:
        return
    work.done += count
    if now - work.logged >= LOG_SECONDS and (rate := work.rate()):
        left = (work.total - work.done) / rate / 60
        done = f"{work.done} of {work.total} {work.unit}"
        log(f"{work.label}: {done}, {rate:.3g} a second, {left:.1f} minutes left")
        work.logged = now


def log_checkpoint(label: str, done: int) -> None:
    """The state at `done` is on disk."""
    log(f"{label}: kept {done}")


def warn(text: str, about: str = "") -> None:
    """Note what a person should look at; the stage's closing line has each text once.

    Args:
        about: the file it is about; files with the same text are counted together.
    """
    places = STATE.warnings.setdefault(text, [])
    if about and about not in places:
        places.append(about)


def warnings() -> list[str]:
    """The warnings so far, each with its first place and the number of places."""
    lines = []
    for text, places in STATE.warnings.items():
        count = f" and {len(places) - 1} more" if len(places) > 1 else ""
        lines.append(f"{places[0]}{count}: {text}" if places else text)
    return lines


def stop_wanted() -> bool:
    """Whether the stage was asked to end; its loop then keeps its state and raises `Stopped`."""
    return STATE.stop


@contextmanager
def watched() -> Iterator[State]:
    """Fresh progress for one stage; SIGTERM asks it to end while the block runs."""
    STATE.work, STATE.stop, STATE.warnings = None, False, {}

    def ask(number: int, frame: FrameType | None) -> None:
        STATE.stop = True

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield STATE
    finally:
        signal.signal(signal.SIGTERM, before)
        STATE.stop = False
