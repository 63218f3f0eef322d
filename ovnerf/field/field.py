"""The radiance field and its semantic branch: marching, weights, per-ray features.

Density is frozen while semantics train, the CLIP head is affine and compositing is linear, so a
ray is reduced once to u = [X; a]: X the composited 27 appearance channels, a the summed weights.
Everything 512-dimensional happens per ray, or not at all (docs/method.md#algebra).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ovnerf.compute.transfer import to_host
from ovnerf.field import native
from ovnerf.field.compositing import composite, rendering_weights, transmittance
from ovnerf.field.heads import ClipHead, ColourHead
from ovnerf.field.occupancy import BLOCK, COARSE, OccupancyGrid, corner_occupancy, occupied_bounds
from ovnerf.field.sampling import (
    Rays,
    SampleCapacity,
    Samples,
    WeightedSamples,
    indices,
    kept_offsets,
    march,
    ray_offsets,
)
from ovnerf.field.vm import VectorMatrixGrid

TRANSMITTANCE_END = 1e-7
"""A ray of reconstruction ends here. The light that is left falls on the background, where density
gets no gradient from it: at 1e-4 a tenth of the density's gradient would be missing, at 1e-7 less
than a thousandth (docs/performance.md)."""


@dataclass(frozen=True)
class FieldShape:
    """What is needed to build a field besides its tensors."""

    resolution: tuple[int, int, int]
    density_ranks: tuple[int, int, int]
    appearance_ranks: tuple[int, int, int]
    appearance_width: int
    head_width: int
    step_ratio: float
    distance_scale: float
    weight_threshold: float
    near: float
    far: float = 2.5


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
        self.colour = ColourHead(shape.appearance_width, shape.head_width)
        self.occupancy = OccupancyGrid.full(shape.resolution)
        self.measure()

    def measure(self) -> None:
        """Step and full ray length in samples, from the box and the resolution."""
        size = torch.tensor(self.density.resolution, device=self.box.device)
        sides = self.box[1] - self.box[0]
        self.step = float(self.shape.step_ratio * (sides / (size - 1)).mean())
        self.max_samples = int(float(sides.norm()) / self.step) + 1
        self.capacity = SampleCapacity()

    def optical_depth(self, point: Tensor, delta: Tensor) -> Tensor:
        """sigma x delta x distance_scale per sample (s,), see docs/method.md#density."""
        return torch.relu(self.density.density(point)) * delta * self.shape.distance_scale

    def contributing_samples(
        self, origin: Tensor, direction: Tensor, jitter: Tensor | None = None
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
        floors = 0.0, self.shape.weight_threshold
        rays = self.make_rays(origin, direction, jitter)
        seen, bright = self.march(rays, TRANSMITTANCE_END, floors)
        index = indices(seen.weight > floors[1], len(bright.samples))
        return seen, bright.samples, index

    def samples_above_threshold(
        self,
        origin: Tensor,
        direction: Tensor,
        jitter: Tensor | None = None,
        max_samples: int | None = None,
    ) -> tuple[Samples, Tensor]:
        """Samples of weight above `weight_threshold`, and their weights f32 (s,); no gradient.

        A weight is at most the transmittance, so a ray ends where that is at the threshold.
        `max_samples` cuts rays short (docs/method.md#short-rays).
        """
        threshold = self.shape.weight_threshold
        rays = self.make_rays(origin, direction, jitter, max_samples)
        (found,) = self.march(rays, threshold, (threshold,))
        return found.samples, found.weight

    def make_rays(
        self,
        origin: Tensor,
        direction: Tensor,
        jitter: Tensor | None = None,
        max_samples: int | None = None,
    ) -> Rays:
        """Rays with the part of each that lies in the field's box (`Rays.inside`)."""
        place = self.step, max_samples or self.max_samples, self.shape.near, self.shape.far
        return Rays.inside(self.box, origin, direction, jitter, *place)

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
            ray, distance, delta, point, found = march(
                rays, self.box, self.occupancy, self.capacity.of(len(rays))
            )
            offset = ray_offsets(ray, len(rays))
            depth = self.optical_depth(point, delta)
            light = transmittance(depth, offset, ray)
            weight = -torch.expm1(-depth) * light
            masks = [(weight > floor) & (light > early_stop_transmittance) for floor in min_weights]
            offsets = [kept_offsets(mask, offset) for mask in masks]
            host = to_host(torch.cat([*offsets, found]))
            bounds = host[:-2].reshape(len(masks), len(rays) + 1)
            fits = self.capacity.fits(len(rays), *host[-2:].tolist())
        packed = Samples(offset, ray, distance, delta, point, bounds[0])
        kept = [indices(mask, int(ends[-1])) for mask, ends in zip(masks, bounds, strict=True)]
        return [
            WeightedSamples(packed.keep(index, *ends), weight[index], light[index])
            for index, *ends in zip(kept, offsets, bounds, strict=True)
        ]

    def march_natively(
        self, rays: Rays, early_stop_transmittance: float, min_weights: Sequence[float]
    ) -> list[WeightedSamples]:
        """`march` by the compiled loop: the same samples."""
        grid = self.density
        count, distance, weight, light, point = native.march(
            rays.origin,
            rays.direction,
            rays.first,
            rays.count,
            rays.step,
            rays.max_samples,
            self.box,
            self.occupancy.cells,
            (self.occupancy.coarse, BLOCK, COARSE),
            grid.resolution,
            grid.planes,
            grid.lines,
            self.shape.distance_scale,
            min_weights[0],
            early_stop_transmittance,
        )
        offset = functional.pad(count.cumsum(0), (1, 0))
        ray = torch.repeat_interleave(torch.arange(len(count)), count)
        delta = torch.full_like(distance, self.step)
        samples = Samples(offset, ray, distance, delta, point, offset.numpy())
        found = [WeightedSamples(samples, weight, light)]
        for floor in min_weights[1:]:
            index = (weight > floor).nonzero()[:, 0]
            ends = torch.searchsorted(index, offset)
            kept = samples.keep(index, ends, ends.numpy())
            found.append(WeightedSamples(kept, weight[index], light[index]))
        return found

    def weights(self, seen: WeightedSamples) -> tuple[Tensor, Tensor]:
        """Rendering weights (s,) and opacities (r,), with gradients for the density's grids."""
        samples, grid = seen.samples, self.density
        if grid.native(samples.point):
            scale = samples.delta * self.shape.distance_scale
            known = (
                samples.point,
                scale,
                seen.weight,
                seen.transmittance,
                samples.offset,
                grid.resolution,
            )
            return native.RenderingWeights.apply(*known, *grid.planes, *grid.lines)
        packed = samples.offset, samples.ray
        weight = rendering_weights(self.optical_depth(samples.point, samples.delta), *packed)
        return weight, composite(weight, torch.ones_like(weight)[:, None], *packed)[:, 0]

    def appearance_features(self, samples: Samples) -> Tensor:
        """x_i per sample (s, 27)."""
        return self.basis(self.appearance.features(samples.point))

    def render_colour(
        self, origin: Tensor, direction: Tensor, jitter: Tensor | None, background: float
    ) -> tuple[Tensor, Samples]:
        """Colour of rays with gradients for every parameter (reconstruction).

        Returns:
            rgb (r, 3) over a grey `background`, and the samples that were evaluated.
        """
        seen, bright, index = self.contributing_samples(origin, direction, jitter)
        weight, opacity = self.weights(seen)
        rgb = self.colour(self.appearance_features(bright), direction[bright.ray])
        pixel = composite(weight[index], rgb, bright.offset, bright.ray)
        return pixel + (1 - opacity[:, None]) * background, seen.samples

    @torch.no_grad()
    def alpha_grid(self) -> Tensor:
        """Opacity of one step at every corner, without the distance scale: (X, Y, Z).

        0 outside the occupied cells: rays have no samples there, so what the density holds there
        was never compared with a photo.
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
    shape = FieldShape(
        **{
            key: tuple(value) if isinstance(value, list) else value
            for key, value in header["field"].items()
        }
    )
    field = RadianceField(shape, tensors["box"], torch.Generator())
    cells = torch.zeros(tuple(header["occupancy"]), dtype=torch.bool)
    field.occupancy = OccupancyGrid(cells)
    field.occupancy.coarse = torch.zeros_like(tensors["occupancy.coarse"])
    field.load_state_dict(tensors)
    field.measure()
    return field


class SemanticField(nn.Module):
    """A radiance field with CLIP head and scale-selection grid (docs/method.md#semantic-branch).

    Args:
        radiance: trained field; its density never changes here.
        scale_selection_ranks: ranks of the scale-selection grid.
        scales: number of pyramid scales K.
        width: CLIP dimension D. head_width: hidden width of the head.
        generator: draws the selection grid.
    """

    def __init__(
        self,
        radiance: RadianceField,
        scale_selection_ranks: tuple[int, int, int],
        scales: int,
        width: int,
        head_width: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.radiance = radiance
        self.sizes = {
            "scale_selection_ranks": tuple(scale_selection_ranks),
            "scales": scales,
            "width": width,
            "head_width": head_width,
        }
        self.clip = ClipHead(radiance.shape.appearance_width, head_width, width)
        self.scale_selection = VectorMatrixGrid(
            radiance.density.resolution, scale_selection_ranks, generator
        )
        self.scale_selection_basis = nn.Linear(sum(scale_selection_ranks), scales)

    def ray_features(self, samples: Samples, weight: Tensor) -> Tensor:
        """u = [X; a] per ray (r, 28) (docs/method.md#affine-head).

        The basis has no bias, so it too commutes with compositing: it is applied once per ray.
        """
        packed = samples.offset, samples.ray
        products = self.radiance.appearance.composited(samples.point, weight, *packed)
        opacity = composite(weight, torch.ones_like(weight)[:, None], *packed)
        return torch.cat([self.radiance.basis(products), opacity], -1)

    def scale_weights(self, samples: Samples, weight: Tensor) -> Tensor:
        """s(r), softmax of the composited sigmoids: (r, K) (docs/method.md#scale-selection)."""
        vote = torch.sigmoid(
            self.scale_selection_basis(self.scale_selection.features(samples.point))
        )
        return composite(weight, vote, samples.offset, samples.ray).softmax(-1)

    def header(self) -> dict[str, Any]:
        """JSON-able description from which `semantics_from_header` rebuilds the module."""
        return {**self.radiance.header(), "semantics": self.sizes}


def semantics_from_header(header: dict[str, Any], tensors: dict[str, Tensor]) -> SemanticField:
    """A semantic field with the stored tensors (keys as in its state dict)."""
    prefix = "radiance."
    radiance = radiance_from_header(
        header,
        {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)},
    )
    field = SemanticField(radiance, **header["semantics"], generator=torch.Generator())
    field.load_state_dict(tensors)
    return field
