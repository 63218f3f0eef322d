"""The radiance field: marching, weights, per-ray features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ovnerf.field import native
from ovnerf.field.compositing import Picked, composite, rendering_weights
from ovnerf.field.heads import ColourHead
from ovnerf.field.marched import Marched
from ovnerf.field.occupancy import OccupancyGrid, corner_occupancy, occupied_bounds
from ovnerf.field.sampling import (
    Rays,
    SampleCapacity,
    Samples,
    WeightedSamples,
    indices,
    march,
)
from ovnerf.field.shape import FieldShape
from ovnerf.field.stretches import joined
from ovnerf.field.vm import VectorMatrixGrid

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

TRANSMITTANCE_END = 1e-7
"""A ray of reconstruction ends here. The light that is left falls on the background, where density
gets no gradient from it: at 1e-4 a tenth of the density's gradient would be missing, at 1e-7 less
than a thousandth (docs/performance.md)."""


class RadianceField(nn.Module):
    """TensoRF-VM density and appearance in a box (docs/method.md#field).

    Args:
        shape: sizes and constants.
        box: f32 (2, 3), scene units.
        generator: draws the initial grids; linear layers use torch's global generator.
    """

    box: Tensor

    def __init__(self, shape: FieldShape, box: Tensor, generator: torch.Generator) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("box", box.float())
        self.density = VectorMatrixGrid(shape.resolution, shape.density_ranks, generator)
        self.appearance = VectorMatrixGrid(shape.resolution, shape.appearance_ranks, generator)
        self.basis = nn.Linear(sum(shape.appearance_ranks), shape.appearance_width, bias=False)
        widths = shape.appearance_width, shape.head_width
        self.colour = ColourHead(*widths, shape.view_pe, shape.fea_pe)
        self.occupancy = OccupancyGrid.full(shape.resolution)
        self.measure()

    def measure(self) -> None:
        """Step and full ray length in samples, from the box and the resolution."""
        size = torch.tensor(self.density.resolution, device=self.box.device)
        sides = self.box[1] - self.box[0]
        self.step = float(self.shape.step_ratio * (sides / (size - 1)).mean())
        self.max_samples = int(float(sides.norm()) / self.step) + 1
        self.capacity = SampleCapacity()

    def optical_depth(
        self, point: Float32[Tensor, "s 3"], delta: Float32[Tensor, " s"]
    ) -> Float32[Tensor, " s"]:
        """sigma x delta x distance_scale of each sample (docs/method.md#density)."""
        return torch.relu(self.density.density(point)) * delta * self.shape.distance_scale

    def contributing_samples(
        self,
        origin: Float32[Tensor, "r 3"],
        direction: Float32[Tensor, "r 3"],
        jitter: Float32[Tensor, " r"] | None = None,
    ) -> tuple[WeightedSamples, Samples, Tensor]:
        """Samples that matter to reconstruction: those with a rendering weight above 0.

        All others have no density, or lie where the transmittance is below `TRANSMITTANCE_END`;
        neither colour nor opacity depends on them.

        Args:
            origin, direction: f32 (r, 3), scene units.
            jitter: f32 (r,) in [0, 1), as in `Rays.inside`.

        Returns:
            The s samples of weight above 0, with their weights; the b samples among them of weight
            above `weight_threshold`, which alone have colour; and the indices of these b in the s,
            i64 (b,).
        """
        rays = self.make_rays(origin, direction, jitter)
        limits = self.contributing_limits()
        contributing, coloured = self.march(rays, *limits)
        index = indices(contributing.weight > limits[1][1], len(coloured.samples))
        return contributing, coloured.samples, index

    def contributing_limits(self) -> tuple[float, tuple[float, float]]:
        """Where `contributing_samples` ends a ray, and the smallest weights of its two sets."""
        return TRANSMITTANCE_END, (0.0, self.shape.weight_threshold)

    def contributing_in(
        self, marched: Marched, places: Sequence[int]
    ) -> tuple[WeightedSamples, Samples, Tensor]:
        """`contributing_samples` in a fixed number of places for each of the two sets.

        Args:
            marched: by `march_into` with `contributing_limits`.
            places: each more than its set has samples.
        """
        contributing, coloured = (marched.keep_in(n, size) for n, size in enumerate(places))
        above = contributing.weight > self.shape.weight_threshold
        last = len(above) - 1  # An empty place.
        index = above.nonzero_static(size=len(coloured.samples), fill_value=last)[:, 0]
        return contributing, coloured.samples, index

    def samples_above_threshold(
        self,
        origin: Float32[Tensor, "r 3"],
        direction: Float32[Tensor, "r 3"],
        jitter: Float32[Tensor, " r"] | None = None,
        max_samples: int | None = None,
    ) -> tuple[Samples, Tensor]:
        """Samples of weight above `weight_threshold`, and their weights f32 (s,); no gradient.

        A weight is at most the transmittance, so a ray ends where that is at the threshold.
        `max_samples` cuts rays short (docs/method.md#short-rays).
        """
        threshold = self.shape.weight_threshold
        rays = self.make_rays(origin, direction, jitter, max_samples)
        (above,) = self.march(rays, threshold, (threshold,))
        return above.samples, above.weight

    def make_rays(
        self,
        origin: Float32[Tensor, "r 3"],
        direction: Float32[Tensor, "r 3"],
        jitter: Float32[Tensor, " r"] | None = None,
        max_samples: int | None = None,
    ) -> Rays:
        """Rays with the part of each that lies in the field's box (`Rays.inside`)."""
        limits = self.step, max_samples or self.max_samples, self.shape.near, self.shape.far
        return Rays.inside(self.box, origin, direction, jitter, *limits)

    @torch.no_grad()
    def march(
        self, rays: Rays, early_stop_transmittance: float, min_weights: Sequence[float]
    ) -> list[WeightedSamples]:
        """March rays through the occupied cells.

        Args:
            early_stop_transmittance: a ray ends where its transmittance is not above this.
            min_weights: weights, the smallest first.

        Returns:
            For each number in `min_weights`, the samples of greater weight. Compiled loops on a
            CPU, tensor operations elsewhere; both find the same samples.
        """
        if self.density.native(rays.origin):
            return self.march_natively(rays, early_stop_transmittance, min_weights)
        return self.march_by_tensors(rays, early_stop_transmittance, min_weights)

    def march_by_tensors(
        self, rays: Rays, early_stop_transmittance: float, min_weights: Sequence[float]
    ) -> list[WeightedSamples]:
        """`march` by tensor operations; on CUDA it waits for the device once."""
        fits = False
        while not fits:
            places = self.capacity.of(len(rays))
            marched = self.march_into(places, rays, early_stop_transmittance, min_weights)
            bounds, needed = marched.read()
            fits = self.capacity.fits(len(rays), *needed)
        return [marched.keep(number, ends) for number, ends in enumerate(bounds)]

    @torch.no_grad()
    def march_into(
        self,
        places: tuple[int, int],
        rays: Rays,
        early_stop_transmittance: float,
        min_weights: Sequence[float],
    ) -> Marched:
        """`march_by_tensors` into so many places for blocks and for samples, without waiting."""
        samples, needed = march(rays, self.box, self.occupancy, places)
        depth = self.optical_depth(samples.point, samples.delta)
        return Marched.of(samples, depth, needed, early_stop_transmittance, min_weights)

    def march_natively(
        self, rays: Rays, early_stop_transmittance: float, min_weights: Sequence[float]
    ) -> list[WeightedSamples]:
        """`march` by the compiled loop: the same samples."""
        count, distance, weight, transmittance, point = native.march(
            rays,
            self.box,
            self.occupancy,
            self.density.arrays(),
            self.shape.distance_scale,
            min_weights[0],
            early_stop_transmittance,
        )
        offset = functional.pad(count.cumsum(0), (1, 0))
        ray = torch.repeat_interleave(torch.arange(len(count)), count)
        delta = torch.full_like(distance, self.step)
        samples = Samples(offset, ray, distance, delta, point, offset.numpy())
        found = [WeightedSamples(samples, weight, transmittance)]
        for min_weight in min_weights[1:]:
            index = (weight > min_weight).nonzero()[:, 0]
            kept_offset = torch.searchsorted(index, offset)
            kept = samples.keep(index, kept_offset, kept_offset.numpy())
            picked = weight.index_select(0, index), transmittance.index_select(0, index)
            found.append(WeightedSamples(kept, *picked))
        return found

    def weights(
        self, weighted: WeightedSamples
    ) -> tuple[Float32[Tensor, " s"], Float32[Tensor, " r"]]:
        """Rendering weights and opacities, with gradients for the density's grids."""
        samples, grid = weighted.samples, self.density
        if grid.native(samples.point):
            scale = samples.delta * self.shape.distance_scale
            marched = samples.point, scale, weighted.weight, weighted.transmittance, samples.offset
            return native.RenderingWeights.apply(
                *marched, grid.resolution, *grid.planes, *grid.lines
            )
        packed = samples.offset, samples.ray
        weight = rendering_weights(self.optical_depth(samples.point, samples.delta), *packed)
        return weight, composite(weight, torch.ones_like(weight)[:, None], *packed)[:, 0]

    def appearance_features(self, samples: Samples) -> Float32[Tensor, "s width"]:
        """Appearance features x_i, 27 channels per sample (docs/method.md#heads)."""
        return self.appearance.mapped(samples.point, self.basis.weight)

    def ray_features(
        self, samples: Samples, weight: Float32[Tensor, " s"]
    ) -> Float32[Tensor, "r width"]:
        """u = [X; a] per ray, f32 (r, 28) (docs/method.md#affine-head).

        The basis has no bias, so it commutes with compositing: it is applied once per ray.
        """
        packed = samples.offset, samples.ray
        products = self.appearance.composited(samples.point, weight, *packed)
        opacity = composite(weight, torch.ones_like(weight)[:, None], *packed)
        return torch.cat([self.basis(products), opacity], -1)

    def decode_rays(
        self, ray: Float32[Tensor, "r width"], direction: Float32[Tensor, "r 3"]
    ) -> Float32[Tensor, "r 3"]:
        """Colour of rays over black from u = [X; a]: a times the colour of the mean feature X / a.

        Decoded once a ray, not once a sample (docs/method.md#colour-per-ray).
        """
        opacity = ray[:, -1:]
        return self.colour(ray[:, :-1] / opacity.clamp_min(1e-6), direction) * opacity

    def composited_colour(
        self, samples: Samples, weight: Float32[Tensor, " s"], direction: Float32[Tensor, "r 3"]
    ) -> Float32[Tensor, "r 3"]:
        """Colour of rays over black, decoded as the field's `colour_per` says.

        Args:
            samples: those that have colour; weight: theirs, f32 (s,).
            direction: of the rays, unit vectors.
        """
        if self.shape.colour_per == "ray":
            return self.decode_rays(self.ray_features(samples, weight), direction)
        if self.shape.colour_per == "voxel":
            samples, weight = joined(samples, weight, self.step / self.shape.step_ratio)
        # Empty places are of ray r.
        along = functional.pad(direction, (0, 0, 0, 1)).index_select(0, samples.ray)
        rgb = self.colour(self.appearance_features(samples), along)
        return composite(weight, rgb, samples.offset, samples.ray)

    def render_colour(
        self,
        origin: Float32[Tensor, "r 3"],
        direction: Float32[Tensor, "r 3"],
        jitter: Float32[Tensor, " r"] | None,
        background: float | Tensor,
    ) -> tuple[Float32[Tensor, "r 3"], Samples]:
        """Colour of rays with gradients for every parameter (reconstruction).

        Returns:
            rgb over a grey `background`, and the samples that were evaluated.
        """
        found = self.contributing_samples(origin, direction, jitter)
        return self.colour_of(*found, direction, background), found[0].samples

    def colour_of(
        self,
        contributing: WeightedSamples,
        coloured: Samples,
        index: Int64[Tensor, " b"],
        direction: Float32[Tensor, "r 3"],
        background: float | Tensor,
    ) -> Float32[Tensor, "r 3"]:
        """Colour of rays over a grey background from what `contributing_samples` found."""
        weight, opacity = self.weights(contributing)
        pixel = self.composited_colour(coloured, Picked.apply(weight, index), direction)
        return pixel + (1 - opacity[:, None]) * background

    @torch.no_grad()
    def alpha_grid(self) -> Float32[Tensor, "X Y Z"]:
        """Opacity of one step at every corner, without the distance scale.

        0 outside the occupied cells: rays have no samples there, so the density there was never
        compared with a photo.
        """
        x, y, z = self.density.resolution
        axis = [torch.linspace(-1, 1, size, device=self.box.device) for size in (x, y, z)]
        alpha = torch.empty(x, y, z, device=self.box.device)
        for index in range(x):
            plane = torch.stack(
                torch.meshgrid(axis[0][index : index + 1], axis[1], axis[2], indexing="ij"), -1
            )
            corners = plane.view(-1, 3)
            opacity = -torch.expm1(-torch.relu(self.density.density(corners)) * self.step)
            alpha[index] = opacity.where(self.occupancy.lookup(corners), 0).view(y, z)
        return alpha

    @torch.no_grad()
    def update_occupancy(self, shrink: bool) -> None:
        """Mark empty cells; with `shrink` also cut box and grids to what is occupied.

        What was empty before stays empty, but for the one corner by which the maximum in
        `corner_occupancy` reaches beyond what is occupied (as in TensoRF's code).
        """
        occupied = corner_occupancy(self.alpha_grid())
        if shrink:
            low, high = occupied_bounds(occupied)
            size = torch.tensor(self.density.resolution, device=self.box.device)
            edge = (self.box[1] - self.box[0]) / (size - 1)
            near = torch.tensor(low, device=edge.device)
            far = torch.tensor(high, device=edge.device) - 1
            self.box = torch.stack([self.box[0] + near * edge, self.box[0] + far * edge])
            occupied = occupied[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
            for grid in (self.density, self.appearance):
                grid.crop(low, high)
        self.occupancy = OccupancyGrid.from_corners(occupied, self.step_cells())
        self.measure()

    def resize(self, resolution: tuple[int, int, int]) -> None:
        """Resample the grids; the occupancy keeps its own resolution over the same box."""
        self.density.resize(resolution)
        self.appearance.resize(resolution)
        self.measure()

    def step_cells(self) -> float:
        """Step over the shortest cell edge."""
        size = torch.tensor(self.density.resolution, device=self.box.device)
        edge = (self.box[1] - self.box[0]) / (size - 1)
        return float(self.step / edge.min())

    def header(self) -> dict[str, Any]:
        """JSON-able description from which `radiance_from_header` rebuilds the module."""
        shape = {**asdict(self.shape), "resolution": self.density.resolution}
        return {"field": shape, "occupancy": tuple(self.occupancy.cells.shape)}


def radiance_from_header(header: dict[str, Any], tensors: dict[str, Tensor]) -> RadianceField:
    """A radiance field with the stored tensors (keys as in its state dict)."""
    stored: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in header["field"].items()
    }
    shape = FieldShape(**stored)
    field = RadianceField(shape, tensors["box"], torch.Generator())
    cells = torch.zeros(tuple(header["occupancy"]), dtype=torch.bool)
    field.occupancy = OccupancyGrid(cells)
    field.occupancy.coarse = torch.zeros_like(tensors["occupancy.coarse"])
    field.load_state_dict(tensors)
    field.measure()
    return field
