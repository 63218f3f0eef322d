"""The loop of both trainings: steps, progress, checkpoints, and stopping on request."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from ovnerf.runtime import progress
from ovnerf.runtime.allocator import give_back_freed_memory
from ovnerf.runtime.errors import Stopped, UserError


class Run(Protocol):
    """The state of a training that `run_with_checkpoints` can run."""

    iteration: int
    """Iterations done so far."""

    def step(self) -> None:
        """Do one iteration and count it."""

    def save(self, path: Path, digest: str) -> None:
        """Write everything that is needed to go on and end at the same result."""

    def restore(self, path: Path, digest: str) -> bool:
        """Go on from a checkpoint of the same digest; False when there is none."""


class LossWatch:
    """Stops a training after a loss that is NaN or infinite.

    Looking at every loss would make the host wait for the device at every iteration. Looking at a
    few would miss some: a field spoilt by one such loss may give finite losses again, since samples
    of NaN density count as empty space. So losses are summed on their device, where a loss that is
    not finite makes the sum not finite, and the sum is read now and then.
    """

    def __init__(self, stage: str) -> None:
        """Name the stage that trains, for messages."""
        self.stage = stage
        self.sum: Tensor | float = 0.0

    def add(self, loss: Tensor) -> None:
        """Add the loss of one iteration; does not wait for the device."""
        self.sum = self.sum + loss.detach()

    def look(self, iteration: int, losses: Mapping[str, Tensor]) -> dict[str, float]:
        """The values of some losses (scalars) by their names; waits for the device.

        Raises:
            UserError: a loss added since the last call was NaN or infinite.
        """
        parts = torch.stack([torch.as_tensor(self.sum), *losses.values()])
        total, *values = parts.tolist()
        self.sum = 0.0
        if not math.isfinite(total):
            raise UserError(
                f"{self.stage}: found a loss that is NaN or infinite by iteration {iteration}, "
                "expected finite losses",
                f"lower the learning rates of `{self.stage}`, or mend its inputs",
            )
        return dict(zip(losses, values, strict=True))


def run_with_checkpoints(
    run: Run,
    end: int,
    checkpoint: Path,
    digest: str,
    minutes: float,
    label: str,
    status: Callable[[], str] = lambda: "",
) -> None:
    """Step `run` to iteration `end`, from the checkpoint's iteration where there is one.

    Args:
        checkpoint: file, written every `minutes` and when the stage is asked to end.
        digest: what the run is made from; a checkpoint with another digest is not used.
        label: name of the stage, for progress and messages.
        status: a few words on the state of the run, for the progress bar.

    Raises:
        Stopped: the stage was asked to end; its state is in `checkpoint`.
        UserError: a loss was not finite (`LossWatch`).
    """
    run.restore(checkpoint, digest)
    give_back_freed_memory()  # What loading needed.
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
                progress.log_checkpoint(label, run.iteration)
                saved = time.monotonic()
            if stop:
                raise Stopped(f"{label}: stopped as asked; iteration {run.iteration} is kept")
