"""The loop of every training: steps, progress, checkpoints, and stopping when asked to."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from ovnerf import progress
from ovnerf.errors import Stopped


class Run(Protocol):
    """A training: its state, and how it moves on by one iteration."""

    iteration: int

    def step(self) -> None:
        """One iteration."""

    def save(self, path: Path, digest: str) -> None:
        """Everything that is needed to go on and end at the same result."""

    def restore(self, path: Path, digest: str) -> bool:
        """Go on from a checkpoint of the same digest; False when there is none."""


def run_with_checkpoints(
    run: Run,
    end: int,
    checkpoint: Path,
    digest: str,
    minutes: float,
    label: str,
    status: Callable[[], str] = lambda: "",
) -> None:
    """Step `run` to iteration `end`, saving every so many minutes; resumes from `checkpoint`.

    Raises:
        Stopped: the stage was asked to end; its state is in `checkpoint`.
    """
    run.restore(checkpoint, digest)
    progress.begin(label, "it", end, run.iteration)
    saved = time.monotonic()
    with tqdm(total=end, initial=run.iteration, desc=label, unit="it", disable=None) as bar:
        while run.iteration < end:
            run.step()
            bar.update()
            progress.advance()
            if run.iteration % 50 == 0:
                bar.set_postfix_str(status(), refresh=False)
            stop = progress.stop_wanted()
            if stop or time.monotonic() - saved > 60 * minutes:
                run.save(checkpoint, digest)
                progress.kept(label, run.iteration)
                saved = time.monotonic()
            if stop:
                raise Stopped(f"{label}: stopped as asked; iteration {run.iteration} is kept")
