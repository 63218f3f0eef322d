"""The loop of every training: steps, progress, checkpoints, and stopping when asked to."""

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
from ovnerf.runtime.errors import Stopped, UserError


class Run(Protocol):
    """A training: its state, and how it moves on by one iteration."""

    iteration: int

    def step(self) -> None:
        """One iteration."""

    def save(self, path: Path, digest: str) -> None:
        """Everything that is needed to go on and end at the same result."""

    def restore(self, path: Path, digest: str) -> bool:
        """Go on from a checkpoint of the same digest; False when there is none."""


class LossWatch:
    """Whether every loss of a training was finite, looked at now and then.

    A field that was spoilt by one loss may give finite losses again, since samples of NaN density
    count as empty space. So all losses are added up on their device, where one that is not finite
    stays in the sum; only a look waits for the device.
    """

    def __init__(self, label: str) -> None:
        """Name the training, for messages."""
        self.label = label
        self.sum: Tensor | float = 0.0

    def add(self, loss: Tensor) -> None:
        """Take the loss of one iteration into account; does not wait."""
        self.sum = self.sum + loss.detach()

    def look(self, iteration: int, losses: Mapping[str, Tensor]) -> dict[str, float]:
        """These losses as numbers.

        Raises:
            UserError: one of them, or one since the last look, was not finite.
        """
        parts = torch.stack([torch.as_tensor(self.sum), *losses.values()])
        total, *values = parts.tolist()
        self.sum = 0.0
        if not math.isfinite(total):
            raise UserError(
                f"{self.label}: found a loss that is NaN or infinite by iteration {iteration}, "
                "expected finite losses",
                f"lower the learning rates of `{self.label}`, or mend its inputs",
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
                progress.log_checkpoint(label, run.iteration)
                saved = time.monotonic()
            if stop:
                raise Stopped(f"{label}: stopped as asked; iteration {run.iteration} is kept")
