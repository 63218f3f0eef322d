"""Whole views of a trained field: tiles, no autograd, bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ovnerf.compute.transfer import to_host
from ovnerf.field.compositing import composite
from ovnerf.field.field import RadianceField, SemanticField
from ovnerf.field.sampling import Samples
from ovnerf.geometry.camera import Camera

TILE_RAYS = {"cpu": 1024, "cuda": 16384}
"""Rays rendered at once: on CPU few enough that the colour head's activations stay in the cache."""


@dataclass(frozen=True)
class ViewWeights:
    """What is constant of a view while density is frozen (docs/method.md#frozen-density).

    Attributes:
        origin, direction: f32 (r, 3). offset: i64 (r + 1,).
        distance, weight: f32 (s,), samples above the weight threshold; 8 bytes each together.
    """

    origin: Tensor
    direction: Tensor
    offset: Tensor
    distance: Tensor
    weight: Tensor

    def opacity(self) -> Tensor:
        """Summed weights (r,)."""
        ray = sample_rays(self.offset, len(self.weight))
        return composite(self.weight, torch.ones_like(self.weight)[:, None], self.offset, ray)[:, 0]

    def expected_distance(self) -> Tensor:
        """Mean distance (r,), scene units; 0 where the ray meets nothing."""
        ray = sample_rays(self.offset, len(self.weight))
        total = composite(self.weight, self.distance[:, None], self.offset, ray)[:, 0]
        return total / self.opacity().clamp_min(1e-6)

    def tiles(self, box: Tensor) -> Iterator[tuple[slice, Samples, Tensor]]:
        """(rays, their samples, weights), a bounded number of rays at a time."""
        scale = 2 / (box[1] - box[0])
        ends = to_host(self.offset)
        for rays in tile_slices(self.origin):
            bounds = ends[rays.start : rays.stop + 1]
            part = slice(int(bounds[0]), int(bounds[-1]))
            offset = self.offset[rays.start : rays.stop + 1] - part.start
            ray = sample_rays(offset, part.stop - part.start)
            distance = self.distance[part]
            place = self.origin[rays][ray] + self.direction[rays][ray] * distance[:, None]
            point = (place - box[0]) * scale - 1
            yield (
                rays,
                Samples(offset, ray, distance, distance, point, bounds - part.start),
                self.weight[part],
            )

    def nbytes(self) -> int:
        """Size in memory."""
        return sum(part.numel() * part.element_size() for part in vars(self).values())


def surface_points(camera: Camera, view: ViewWeights) -> Tensor:
    """Mean point where each ray of the view ends, f32 (r, 3), scene units before any warp."""
    point = view.origin + view.direction * view.expected_distance()[:, None]
    return camera.ndc.inverse_points(point) if camera.ndc else point


def surface_distance(camera: Camera, view: ViewWeights) -> Tensor:
    """Distance from the camera to `surface_points`, f32 (r,), scene units; 0 for empty rays."""
    along = view.expected_distance()
    if camera.ndc is None:
        return along
    reach = (surface_points(camera, view) - camera.pose[:3, 3]).norm(dim=-1)
    return torch.where(along > 0, reach, along)


def sample_rays(offset: Tensor, samples: int) -> Tensor:
    """Ray of each sample (s,) from offsets (r + 1,)."""
    rays = torch.arange(len(offset) - 1, device=offset.device)
    return torch.repeat_interleave(rays, offset.diff(), output_size=samples)


def tile_slices(rays: Tensor) -> list[slice]:
    """Rays (r, 3) by tiles, as many at once as suit their device."""
    size = TILE_RAYS[rays.device.type]
    return [slice(begin, min(begin + size, len(rays))) for begin in range(0, len(rays), size)]


@torch.no_grad()
def view_weights(field: RadianceField, camera: Camera) -> ViewWeights:
    """March one view in evaluation mode (no jitter, full-length rays)."""
    origin, direction = camera.rays()
    counts, distances, weights = [], [], []
    for tile in tile_slices(origin):
        samples, weight = field.samples_above_threshold(origin[tile], direction[tile])
        counts.append(samples.offset.diff())
        distances.append(samples.distance)
        weights.append(weight)
    offset = torch.nn.functional.pad(torch.cat(counts).cumsum(0), (1, 0))
    return ViewWeights(origin, direction, offset, torch.cat(distances), torch.cat(weights))


@torch.no_grad()
def render_rgb(field: RadianceField, view: ViewWeights) -> Tensor:
    """Colour of every ray over black, clamped: f32 (r, 3)."""
    out = torch.zeros(len(view.origin), 3, device=view.origin.device)
    for rays, samples, weight in view.tiles(field.box):
        direction = view.direction[rays][samples.ray]
        rgb = field.colour(field.appearance_features(samples), direction)
        out[rays] = composite(weight, rgb, samples.offset, samples.ray)
    return out.clamp(0, 1)


@torch.no_grad()
def render_labels(field: SemanticField, view: ViewWeights, text: Tensor, void: int) -> Tensor:
    """argmax_c t_c . F per ray, i64 (r,); `void` where the ray meets nothing.

    F itself is not needed (docs/method.md#labels-from-u).

    Args:
        text: unit rows (C, D).
    """
    table = text @ field.clip.matrix()  # (C, 28)
    out = torch.full((len(view.origin),), void, device=view.origin.device)
    for rays, samples, weight in view.tiles(field.radiance.box):
        ray = field.ray_features(samples, weight)
        label = (ray @ table.T).argmax(-1)
        out[rays] = torch.where(ray[:, -1] > 0, label, void)
    return out


def to_uint8(rgb: Tensor, height: int, width: int) -> Tensor:
    """Colours (H W, 3) in [0, 1] -> u8 (H, W, 3), rounded."""
    return (rgb * 255).round().to(torch.uint8).view(height, width, 3)
