"""Steps of a reconstruction on CUDA, recorded once and then replayed.

A step launches 600 to 1100 kernels, and launching them takes the host six to eight times as long as
the card takes to run them. A CUDA graph launches them all at once, but what it holds has a fixed
size. So samples are kept in a fixed number of places, a quarter more than a batch needs, and the
places that stay empty weigh nothing (`Marched.keep_in`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovnerf.compute import graphs
from ovnerf.field.marched import Marched
from ovnerf.runtime import progress

if TYPE_CHECKING:
    from ovnerf.training.reconstruct import Batch, Reconstruction

UNRECORDED = 3
"""Steps after a change of the grids that are not recorded: libraries set themselves up, and the
number of places settles."""
MARGIN = 1024
"""Places in addition to a quarter more than are needed."""


def enough(needed: int) -> int:
    """How many places to make where so many are needed."""
    return needed + needed // 4 + MARGIN


class RecordedSteps:
    """Takes the steps of a reconstruction, each as two replays with one look at sizes between.

    Attributes:
        places: how many there are for blocks and samples of the march, and for the two sets of
            `RadianceField.contributing_samples`; part of a run's state, because the order of some
            sums depends on them.
    """

    def __init__(self, run: Reconstruction) -> None:
        """Take the steps of `run`, from wherever it is."""
        self.run = run
        rays = run.settings.batch_rays
        self.places = [enough(4 * rays), *[enough(32 * rays)] * 3]
        self.recordable = True
        self.forget()

    def forget(self) -> None:
        """Record anew: the grids or the optimiser are others."""
        self.taken = 0
        self.graphs: tuple[torch.cuda.CUDAGraph, torch.cuda.CUDAGraph] | None = None

    def __call__(self, batch: Batch) -> tuple[Tensor, NDArray[np.int64]]:
        """`Reconstruction.take`: one step of Adam on a batch that lies on the host.

        The loss that is returned is overwritten by the next step.
        """
        if self.taken == 0:
            self.batch = batch.to(self.run.device)
        else:
            self.batch.fill(batch)
        if self.taken >= UNRECORDED and self.graphs is None and self.recordable:
            self.record()
        bounds = self.march_in_enough_places()
        if self.graphs is not None:
            self.graphs[1].replay()
        else:
            self.loss = self.learn()
        self.taken += 1
        return self.loss, bounds

    def record(self) -> None:
        """Record both halves of a step; where the card cannot, say so and go on without."""
        try:
            first, (self.marched, self.direction) = graphs.record(self.march)
            second, self.loss = graphs.record(self.learn, after=first)
        except RuntimeError as error:  # Too little memory for recordings is one, too.
            reason = str(error).partition("\n")[0]
            progress.log(f"reconstruct: steps are launched singly, not recorded: {reason}")
            self.recordable = False
        else:
            self.graphs = first, second

    def march_in_enough_places(self) -> NDArray[np.int64]:
        """March the batch; where there are too few places, or far too many, change them and again.

        Returns:
            Where each ray's contributing samples begin, i64 (b + 1,).
        """
        while True:
            if self.graphs is not None:
                self.graphs[0].replay()
            else:
                self.marched, self.direction = self.march()
            bounds, needed = self.marched.read()
            counts = *needed, *bounds[:, -1].tolist()
            pairs = zip(counts, self.places, strict=True)
            if all(count < place <= 2 * enough(count) for count, place in pairs):
                return bounds[0]
            self.places, self.graphs = [enough(count) for count in counts], None

    def march(self) -> tuple[Marched, Tensor]:
        """The samples of the batch, and the directions of its rays, f32 (b, 3)."""
        batch, field = self.batch, self.run.field
        origin, direction = self.run.photos.rays(batch.photo, batch.row, batch.column)
        rays = field.make_rays(origin, direction, batch.jitter)
        places = self.places[0], self.places[1]
        return field.march_into(places, rays, *field.contributing_limits()), direction

    def learn(self) -> Tensor:
        """A step of Adam from what `march` found; the loss."""
        field, places = self.run.field, self.places[2:]
        found = field.contributing_in(self.marched, places)
        rgb = field.colour_of(*found, self.direction, self.batch.background)
        return self.run.learn(rgb, self.batch)
