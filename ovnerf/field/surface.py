"""Where a view's rays meet a surface, and the ray features there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ovnerf.field.compositing import sum_before
from ovnerf.field.rendering import ViewWeights, render_rgb, sample_rays
from ovnerf.field.semantic_field import SemanticField
from ovnerf.geometry.camera import Camera

if TYPE_CHECKING:
    from jaxtyping import Float32


def distances_at_shares(view: ViewWeights, shares: Sequence[float]) -> Float32[Tensor, "q r"]:
    """Distances at which shares of a ray's weight are reached, scene units; 0 without samples.

    Each is the distance of a sample. Half of the weight gives the median distance, which, unlike
    the mean, lies on one of two surfaces where a ray grazes the nearer one.

    Args:
        shares: q numbers in (0, 1].
    """
    if len(view.weight) == 0:
        return view.weight.new_zeros(len(shares), len(view.offset) - 1)
    ray = sample_rays(view.offset, len(view.weight))
    reached = sum_before(view.weight, view.offset, ray) + view.weight.double()
    total = torch.zeros(len(view.offset) - 1, dtype=torch.float64, device=reached.device)
    total.index_add_(0, ray, view.weight.double())
    found = []
    for share in shares:
        before = torch.zeros_like(view.offset[1:])
        before.index_add_(0, ray, (reached < total[ray] * share).long())
        # Rounding of the sums must not lead beyond the ray's last sample.
        index = torch.minimum(view.offset[:-1] + before, view.offset[1:] - 1).clamp_min(0)
        found.append(view.distance[index].where(view.offset.diff() > 0, 0))
    return torch.stack(found)


def points_at(
    camera: Camera, view: ViewWeights, distance: Float32[Tensor, " r"]
) -> Float32[Tensor, "r 3"]:
    """The point of each ray at a distance along it, scene units, with the warp undone."""
    point = view.origin + view.direction * distance[:, None]
    return camera.ndc.inverse_points(point) if camera.ndc else point


@torch.no_grad()
def render_ray_features(field: SemanticField, view: ViewWeights) -> Float32[Tensor, "r width"]:
    """u = [X; a] of every ray of a view (docs/method.md#affine-head); 0 without samples."""
    width = field.clip.first.in_features + 1
    out = torch.zeros(len(view.origin), width, device=view.origin.device)
    for rays, samples, weight in view.tiles(field.radiance.box):
        out[rays] = field.ray_features(samples, weight)
    return out


@torch.no_grad()
def ray_colours(
    field: SemanticField, view: ViewWeights, feature: Float32[Tensor, "r width"]
) -> Float32[Tensor, "r 3"]:
    """Colour of every ray over black, decoded from its mean appearance instead of every sample.

    The colour head runs once a ray, not forty times, which is most of the time of rendering colours
    (docs/asking.md#points has what it changes). A field whose ray features are of a volume of its
    own has its colours rendered.

    Args:
        feature: u of each ray, by `render_ray_features`.
    """
    if field.own is not None:
        return render_rgb(field.radiance, view)
    return field.radiance.decode_rays(feature, view.direction).clamp(0, 1)
