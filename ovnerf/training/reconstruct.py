"""TensoRF-VM reconstruction from posed RGB frames (docs/method.md#reconstruction)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Adam

from ovnerf.compute.seeds import use_deterministic_seed
from ovnerf.compute.transfer import to_device
from ovnerf.config.field import Reconstruct
from ovnerf.field.field import FieldShape, RadianceField, radiance_from_header
from ovnerf.field.vm import grid_resolution
from ovnerf.runtime.allocator import give_back_freed_memory
from ovnerf.storage.tensors import (
    load_optimiser_tensors,
    load_tensors,
    module_tensors,
    optimiser_tensors,
    save_tensors,
    strip,
)
from ovnerf.training.batches import PixelBatches, generator
from ovnerf.training.data import Photos
from ovnerf.training.loop import LossWatch
from ovnerf.training.recorded import RecordedSteps

FIRST_OCCUPANCY = 400
"""The occupancy is not made before this iteration, however short the run: the density is raw."""
LOGGED_STEPS = 200
"""Rows of the log of a whole run."""


def growth(settings: Reconstruct) -> dict[int, float]:
    """Iteration -> number of voxels that the grids get there (docs/method.md#upsampling).

    Numbers are spaced evenly in their logarithm.
    """
    steps = len(settings.upsample_at)
    voxels = np.geomspace(settings.voxels_start, settings.voxels_end, steps + 1)[1:]
    at = [round(share * settings.iterations) for share in settings.upsample_at]
    return dict(zip(at, voxels.tolist(), strict=True))


def occupancy_updates(settings: Reconstruct) -> list[int]:
    """Iterations at which the occupancy is made from the density, ascending."""
    at = [round(share * settings.iterations) for share in settings.occupancy_at]
    return sorted({max(FIRST_OCCUPANCY, step) for step in at})


@dataclass(frozen=True)
class Batch:
    """What an iteration takes.

    Attributes:
        photo, row, column: i64 (b,), the pixels.
        jitter: f32 (b,) in [0, 1), as in `Rays.inside`.
        background: f32 (), grey behind the scene.
        fade: f64 (), what is left of the weight of total variation.
    """

    photo: Tensor
    row: Tensor
    column: Tensor
    jitter: Tensor
    background: Tensor
    fade: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on another device; does not wait for it."""
        return Batch(*(to_device(getattr(self, part.name), device) for part in fields(self)))

    def fill(self, other: Batch) -> None:
        """Overwrite the values of this batch with those of another one, on any device."""
        for part in fields(self):
            mine = getattr(self, part.name)
            mine.copy_(to_device(getattr(other, part.name), mine.device))


class Reconstruction:
    """A reconstruction in progress: field, optimiser, iteration, rows of its log."""

    def __init__(
        self, photos: Photos, box: Tensor, settings: Reconstruct, device: torch.device
    ) -> None:
        """Start at iteration 0; `box` is f32 (2, 3), lowest and highest corner in scene units."""
        self.settings, self.photos, self.device = settings, photos.to(device), device
        grid_generator = use_deterministic_seed(settings.seed)
        shape = FieldShape(
            resolution=grid_resolution(settings.voxels_start, box),
            density_ranks=settings.density_ranks,
            appearance_ranks=settings.appearance_ranks,
            appearance_width=settings.appearance_width,
            head_width=settings.head_width,
            step_ratio=settings.step_ratio,
            distance_scale=settings.distance_scale,
            weight_threshold=settings.weight_threshold,
            near=settings.near_scene,
            view_pe=settings.view_pe,
            fea_pe=settings.fea_pe,
            colour_per=settings.colour_per,
        )
        self.field = RadianceField(shape, box, grid_generator).to(device)
        if settings.density_start:
            self.field.density.start_at(settings.density_start)
        self.initial_samples = self.field.max_samples
        """Samples of a ray across the box at the first resolution, for `ray_length: as_shipped`."""
        self.batches = PixelBatches(len(photos), *photos.size, settings.batch_rays, settings.seed)
        self.growth, self.occupancy_updates = growth(settings), occupancy_updates(settings)
        self.iteration = 0
        self.rows: list[dict[str, float]] = []
        self.watch = LossWatch("reconstruct")
        self.recorded = RecordedSteps(self)
        self.new_optimiser()

    def new_optimiser(self) -> None:
        """Replace the optimiser by a fresh Adam at the initial rates; at every change of grids."""
        settings, on_card = self.settings, self.device.type == "cuda"
        rates = settings.learning_rate_grid, settings.learning_rate_head
        grids = [*self.field.density.parameters(), *self.field.appearance.parameters()]
        heads = [*self.field.basis.parameters(), *self.field.colour.parameters()]
        self.optimiser = Adam(
            [
                {"params": grids, "lr": self.rate(rates[0]), "initial": rates[0]},
                {"params": heads, "lr": self.rate(rates[1]), "initial": rates[1]},
            ],
            betas=(0.9, 0.99),
            fused=True,
            capturable=on_card,
        )
        self.restarted = self.iteration
        self.recorded.forget()

    def rate(self, value: float) -> float | Tensor:
        """A learning rate, where the optimiser's step on this device can read it."""
        return torch.tensor(value, device=self.device) if self.device.type == "cuda" else value

    def step(self) -> None:
        """One iteration: change the grids if it is due, draw a batch, take one step of Adam."""
        self.change_grids()
        self.lower_rates()
        take = self.recorded if self.device.type == "cuda" else self.take
        loss, bounds = take(self.draw())
        self.iteration += 1
        self.watch.add(loss)
        if self.iteration % max(1, self.settings.iterations // LOGGED_STEPS) == 0:
            self.log(self.watch.look(self.iteration, {"loss": loss})["loss"], bounds)

    def lower_rates(self) -> None:
        """Set the learning rates of this iteration."""
        for group in self.optimiser.param_groups:
            past = (self.iteration - self.restarted) / self.settings.iterations
            rate = group["initial"] * self.settings.learning_rate_decay**past
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def draw(self) -> Batch:
        """The batch of this iteration, on the host."""
        draw = generator(self.settings.seed, "reconstruct", self.iteration)
        pixels = self.batches.at(self.iteration)
        jitter = torch.rand(len(pixels[0]), generator=draw)
        coin = torch.rand((), generator=draw)
        white = (coin < 0.5) & self.settings.random_background
        fade = self.settings.learning_rate_decay ** (self.iteration / self.settings.iterations)
        return Batch(*pixels, jitter, white.float(), torch.tensor(fade, dtype=torch.float64))

    def take(self, batch: Batch) -> tuple[Tensor, NDArray[np.int64]]:
        """One step of Adam on a batch.

        Returns:
            The mean squared error of its colours, and where each ray's samples begin, i64 (b + 1,).
        """
        pixels = batch.photo, batch.row, batch.column
        origin, direction = self.photos.rays(*pixels)
        rgb, samples = self.field.render_colour(origin, direction, batch.jitter, batch.background)
        return self.learn(rgb, batch), samples.bounds

    def learn(self, rgb: Tensor, batch: Batch) -> Tensor:
        """One step of Adam from the colours f32 (b, 3) of a batch; their mean squared error."""
        target = self.photos.colours(batch.photo, batch.row, batch.column)
        loss = (rgb.clamp(0, 1) - target).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        settings, field = self.settings, self.field
        field.density.add_total_variation_gradient(settings.tv_density * batch.fade)
        field.appearance.add_total_variation_gradient(settings.tv_appearance * batch.fade)
        self.optimiser.step()
        return loss.detach()  # A graph that lives on would be part of the next recording.

    def change_grids(self) -> None:
        """Update occupancy, shrink the box, grow the grids, if due (docs/method.md#upsampling)."""
        if self.iteration in self.occupancy_updates:
            self.field.update_occupancy(shrink=self.iteration == self.occupancy_updates[0])
            self.new_optimiser()
        if self.iteration in self.growth:
            self.field.resize(grid_resolution(self.growth[self.iteration], self.field.box))
            self.new_optimiser()
            give_back_freed_memory()

    def log(self, loss: float, bounds: NDArray[np.int64]) -> None:
        """Add one row of `train.csv`: mean squared error, and where its rays' samples begin."""
        counts = np.diff(bounds)
        self.rows.append(
            {
                "iteration": self.iteration,
                "loss": loss,
                "psnr": -10 * float(np.log10(max(loss, 1e-12))),
                "samples_per_ray": float(counts.mean()),
                "rays_without_samples": float((counts == 0).mean()),
                "resolution": max(self.field.density.resolution),
            }
        )

    def save(self, path: Path, digest: str) -> None:
        """Write everything that is needed to go on and end at the same result."""
        header: dict[str, Any] = {
            **self.field.header(),
            "digest": digest,
            "iteration": self.iteration,
            "restarted": self.restarted,
            "rows": self.rows,
            "places": self.recorded.places,
        }
        tensors = module_tensors(self.field, "field.") | optimiser_tensors(self.optimiser)
        save_tensors(path, tensors, header)

    def restore(self, path: Path, digest: str) -> bool:
        """Go on from a checkpoint of the same digest; False when there is none."""
        if not path.exists():
            return False
        tensors, header = load_tensors(path)
        if header["digest"] != digest:
            return False
        self.field = radiance_from_header(header, strip(tensors, "field.")).to(self.device)
        self.iteration, self.rows = header["iteration"], header["rows"]
        self.new_optimiser()
        self.restarted = header["restarted"]
        load_optimiser_tensors(self.optimiser, tensors)
        self.recorded.places = header["places"]
        return True
