"""Whole views of a trained field, rendered by tiles of rays: no autograd, bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ovnerf.compute.transfer import to_host
from ovnerf.field import native
from ovnerf.field.compositing import composite
from ovnerf.field.field import RadianceField
from ovnerf.field.sampling import Samples
from ovnerf.field.semantic_field import SemanticField
from ovnerf.geometry.camera import Camera

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64, UInt8

TILE_RAYS = {"cpu": 4096, "cuda": 16384}
"""Rays rendered at once."""


@dataclass(frozen=True)
class ViewWeights:
    """What stays the same in a view while density is frozen (docs/method.md#frozen-density).

    Attributes:
        origin, direction: the view's rays, scene units.
        offset: as in `Samples`.
        distance, weight: of the samples above the weight threshold; 8 bytes a sample together.
    """

    origin: Float32[Tensor, "r 3"]
    direction: Float32[Tensor, "r 3"]
    offset: Int64[Tensor, " r+1"]
    distance: Float32[Tensor, " s"]
    weight: Float32[Tensor, " s"]

    def opacity(self) -> Float32[Tensor, " r"]:
        """Summed weights of each ray, in [0, 1]."""
        ray = sample_rays(self.offset, len(self.weight))
        return composite(self.weight, torch.ones_like(self.weight)[:, None], self.offset, ray)[:, 0]

    def expected_distance(self) -> Float32[Tensor, " r"]:
        """Weighted mean distance of each ray's samples, scene units; 0 for rays without samples."""
        ray = sample_rays(self.offset, len(self.weight))
        total = composite(self.weight, self.distance[:, None], self.offset, ray)[:, 0]
        return total / self.opacity().clamp_min(1e-6)

    def tiles(self, box: Float32[Tensor, "2 3"]) -> Iterator[tuple[slice, Samples, Tensor]]:
        """Slices of rays, the samples of each, and their weights f32 (s,).

        A slice has at most `TILE_RAYS` rays, which bounds the memory that rendering takes.
        """
        ends = to_host(self.offset)
        for rays in tile_slices(self.origin):
            bounds = ends[rays.start : rays.stop + 1]
            part = slice(int(bounds[0]), int(bounds[-1]))
            offset = self.offset[rays.start : rays.stop + 1] - part.start
            ray = sample_rays(offset, part.stop - part.start)
            distance = self.distance[part]
            point = sample_points(self.origin[rays], self.direction[rays], offset, distance, box)
            yield (
                rays,
                Samples(offset, ray, distance, distance, point, bounds - part.start),
                self.weight[part],
            )

    def nbytes(self) -> int:
        """Bytes that its tensors take in memory."""
        return sum(part.numel() * part.element_size() for part in vars(self).values())


def surface_points(camera: Camera, view: ViewWeights) -> Float32[Tensor, "r 3"]:
    """The point at each ray's expected distance, scene units, with the warp undone."""
    point = view.origin + view.direction * view.expected_distance()[:, None]
    return camera.ndc.inverse_points(point) if camera.ndc else point


def surface_distance(camera: Camera, view: ViewWeights) -> Float32[Tensor, " r"]:
    """Distance from the camera to `surface_points`, scene units; 0 for rays without samples."""
    along = view.expected_distance()
    if camera.ndc is None:
        return along
    reach = (surface_points(camera, view) - camera.pose[:3, 3]).norm(dim=-1)
    return torch.where(along > 0, reach, along)


def sample_rays(offset: Int64[Tensor, " ends"], samples: int) -> Int64[Tensor, " s"]:
    """The ray that each sample belongs to; the number of samples is given to avoid waiting."""
    rays = torch.arange(len(offset) - 1, device=offset.device)
    return torch.repeat_interleave(rays, offset.diff(), output_size=samples)


def sample_points(
    origin: Float32[Tensor, "r 3"],
    direction: Float32[Tensor, "r 3"],
    offset: Int64[Tensor, " ends"],
    distance: Float32[Tensor, " s"],
    box: Float32[Tensor, "2 3"],
) -> Float32[Tensor, "s 3"]:
    """Points of packed samples at given distances along their rays, normalised by the box."""
    if native.usable(origin, direction, distance, box):
        return native.points(origin, direction, offset, distance, box)
    ray = sample_rays(offset, len(distance))
    world = origin[ray] + direction[ray] * distance[:, None]
    return (world - box[0]) * (2 / (box[1] - box[0])) - 1


def tile_slices(rays: Float32[Tensor, "r 3"]) -> list[slice]:
    """Slices that cover the rays, `TILE_RAYS` of their device at once."""
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
def render_rgb(field: RadianceField, view: ViewWeights) -> Float32[Tensor, "r 3"]:
    """Colour of every ray over a black background, clamped to [0, 1]."""
    out = torch.zeros(len(view.origin), 3, device=view.origin.device)
    for rays, samples, weight in view.tiles(field.box):
        out[rays] = field.composited_colour(samples, weight, view.direction[rays])
    return out.clamp(0, 1)


@torch.no_grad()
def render_labels(
    field: SemanticField, view: ViewWeights, text: Float32[Tensor, "C D"], void: int
) -> Int64[Tensor, " r"]:
    """argmax_c t_c . F per ray; `void` where the ray has no samples.

    Args:
        text: unit vectors, one per class.
    """
    return render_labels_and_probability(field, view, text, void)[0]


@torch.no_grad()
def render_labels_and_probability(
    field: SemanticField, view: ViewWeights, text: Float32[Tensor, "C D"], void: int
) -> tuple[Int64[Tensor, " r"], Float32[Tensor, " r"]]:
    """`render_labels`, and how probable each label is: softmax_c(t_c . F) at the label.

    F itself is not needed (docs/method.md#labels-from-u). Rays without samples have probability 0.
    """
    table = text @ field.clip.matrix()  # (C, 28)
    labels = torch.full((len(view.origin),), void, device=view.origin.device)
    probability = torch.zeros(len(view.origin), device=view.origin.device)
    for rays, samples, weight in view.tiles(field.radiance.box):
        ray = field.ray_features(samples, weight)
        score = ray @ table.T
        label, seen = score.argmax(-1), ray[:, -1] > 0
        labels[rays] = torch.where(seen, label, void)
        probability[rays] = torch.where(seen, score.softmax(-1).amax(-1), 0)
    return labels, probability


def to_uint8(
    rgb: Float32[Tensor, "pixels 3"], height: int, width: int
) -> UInt8[Tensor, "{height} {width} 3"]:
    """Colours in [0, 1] as an 8-bit image, rounded."""
    return (rgb * 255).round().to(torch.uint8).view(height, width, 3)
