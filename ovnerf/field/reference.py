"""Plain rendering, the paper's equations in order: what tests and benchmarks compare with.

Every sample of every ray, dense (rays, samples, D) tensors, no occupancy skipping, no packing,
no algebra. Differentiable, slow, only for small inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ovnerf.field.field import RadianceField
from ovnerf.field.sampling import box_entry_exit
from ovnerf.field.semantic_field import SemanticField
from ovnerf.field.vm import LINE_AXES, PLANE_AXES, VectorMatrixGrid


def grid_products(grid: VectorMatrixGrid, points: Tensor) -> list[Tensor]:
    """Plane x line per mode at points (s, 3) in [-1, 1]^3, by `grid_sample`; see `vm`."""
    products = []
    for mode, ((a, b), c) in enumerate(zip(PLANE_AXES, LINE_AXES, strict=True)):
        plane = grid.image(mode).permute(2, 0, 1)[None]
        line = grid.lines[mode].T[None, :, :, None]
        at_plane = points[:, [a, b]][None, None]
        at_line = torch.stack([torch.zeros_like(points[:, c]), points[:, c]], -1)[None, None]
        on_plane = functional.grid_sample(plane, at_plane, align_corners=True)
        on_line = functional.grid_sample(line, at_line, align_corners=True)
        products.append((on_plane * on_line)[0, :, 0].T)
    return products


def sample_grid(
    field: RadianceField,
    origin: Tensor,
    direction: Tensor,
    jitter: Tensor | None,
    max_samples: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Distances (r, S), normalised points (r, S, 3), validity (r, S) (docs/method.md#sampling)."""
    count = max_samples or field.max_samples
    entry, leave = box_entry_exit(origin, direction, field.box)
    begin = entry.clamp(field.shape.near, field.shape.far)
    if jitter is None:  # a ray from afar that would end inside the box begins where it enters
        cut = (entry > field.shape.far) & (begin + count * field.step <= leave)
        begin = torch.where(cut, entry, begin)
    shift = torch.zeros_like(begin) if jitter is None else jitter
    number = torch.arange(count, device=begin.device)
    # In the fast path's order of operations: both look at the same positions, to the last bit.
    distance = (begin + shift * field.step)[:, None] + number * field.step
    place = origin[:, None] + direction[:, None] * distance[..., None]
    point = (place - field.box[0]) * (2 / (field.box[1] - field.box[0])) - 1
    valid = point.abs().amax(-1) <= 1
    flat = point.view(-1, 3)
    occupied = field.occupancy.lookup(flat).view(valid.shape)
    return distance, point, valid & occupied


def weights(field: RadianceField, distance: Tensor, point: Tensor, valid: Tensor) -> Tensor:
    """w = T alpha, (r, S) (paper Eq. 1-2, docs/method.md#weights)."""
    flat = point.view(-1, 3)
    density = torch.stack([part.sum(-1) for part in grid_products(field.density, flat)]).sum(0)
    sigma = torch.relu(density).view(valid.shape) * valid
    delta = functional.pad(distance.diff(dim=-1), (0, 1))
    alpha = 1 - torch.exp(-sigma * delta * field.shape.distance_scale)
    clear = functional.pad(1 - alpha + 1e-10, (1, 0), value=1.0)[:, :-1]
    return alpha * clear.cumprod(-1)


def appearance(field: RadianceField, point: Tensor) -> Tensor:
    """x at every sample: (r, S, 27)."""
    products = torch.cat(grid_products(field.appearance, point.reshape(-1, 3)), -1)
    return field.basis(products).view(*point.shape[:2], -1)


def colour(field: RadianceField, feature: Tensor, view: Tensor) -> Tensor:
    """The colour head on all samples at once: (..., 27), (..., 3) -> (..., 3)."""
    return torch.sigmoid(field.colour.layers(field.colour.inputs(feature, view)))


def pixel_colour(
    field: RadianceField, weight: Tensor, distance: Tensor, point: Tensor, direction: Tensor
) -> Tensor:
    """Colour of rays over black (r, 3), from the weights (r, S) of their samples.

    The head decodes every sample, once a stretch (docs/method.md#colour-per-voxel), or once a ray
    (docs/method.md#colour-per-ray).
    """
    if field.shape.colour_per == "voxel":
        point = stretch_means(weight, distance, point, field.step / field.shape.step_ratio)
    feature = appearance(field, point)
    if field.shape.colour_per == "ray":
        opacity = weight.sum(1, keepdim=True)
        mean = (weight[..., None] * feature).sum(1) / opacity.clamp_min(1e-6)
        return opacity * colour(field, mean, direction)
    view = direction[:, None].expand_as(point)
    return (weight[..., None] * colour(field, feature, view)).sum(1)


def stretch_means(weight: Tensor, distance: Tensor, point: Tensor, length: float) -> Tensor:
    """Weighted mean point (r, S, 3) of each sample's stretch; any point where its weight is 0."""
    number = (distance / length).floor().long()
    number = (number - number[:, :1])[..., None]
    fixed = weight.detach()[..., None]
    sums = fixed.new_zeros(len(number), int(number.max()) + 1, 4)
    sums = sums.scatter_add(1, number.expand(-1, -1, 4), torch.cat([fixed, fixed * point], -1))
    total, place = sums.gather(1, number.expand(-1, -1, 4)).split([1, 3], -1)
    return place / total.clamp_min(1e-12)


def render_colour(
    field: RadianceField,
    origin: Tensor,
    direction: Tensor,
    jitter: Tensor | None,
    background: float,
) -> Tensor:
    """Colour of rays (r, 3), every sample evaluated."""
    distance, point, valid = sample_grid(field, origin, direction, jitter)
    weight = weights(field, distance, point, valid)
    used = weight * (weight > field.shape.weight_threshold)
    rgb = pixel_colour(field, used, distance, point, direction)
    return rgb + (1 - weight.sum(-1))[:, None] * background


def render_semantics(
    field: SemanticField,
    origin: Tensor,
    direction: Tensor,
    jitter: Tensor | None,
    max_samples: int | None = None,
) -> dict[str, Tensor]:
    """Dense composited outputs: `feature` (r, D), `scales` (r, K), `colour` (r, 3)."""
    radiance = field.radiance
    distance, point, valid = sample_grid(radiance, origin, direction, jitter, max_samples)
    weight = weights(radiance, distance, point, valid).detach()
    seen = weight * (weight > radiance.shape.weight_threshold)
    used, x = seen[..., None], appearance(radiance, point)
    votes = field.scale_selection_basis(
        torch.cat(grid_products(field.scale_selection, point.reshape(-1, 3)), -1)
    )
    votes = torch.sigmoid(votes).view(*point.shape[:2], -1)
    return {
        "feature": (used * field.clip(x)).sum(1),
        "scales": (used * votes).sum(1).softmax(-1),
        "colour": pixel_colour(radiance, seen, distance, point, direction),
    }
