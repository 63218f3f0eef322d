"""The published code's arithmetic in plain tensors: what the fast path is timed against.

Density at every sample of every ray that is in the box and in an occupied cell, by `grid_sample`;
heads at samples above the weight threshold; composited as dense (rays, samples, channels) tensors;
pairwise divergences by broadcasting. (`ovnerf.field.reference` evaluates the heads at every sample
too: plainer, and slower still.)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ovnerf.config.semantics import Dino
from ovnerf.field import reference
from ovnerf.field.field import RadianceField
from ovnerf.field.reference import grid_products, sample_grid
from ovnerf.field.semantic_field import SemanticField
from ovnerf.labels.void import VOID


def weights(
    field: RadianceField,
    origin: Tensor,
    direction: Tensor,
    jitter: Tensor | None,
    max_samples: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Points (r, S, 3), rendering weights (r, S) and distances (r, S)."""
    distance, point, valid = sample_grid(field, origin, direction, jitter, max_samples)
    sigma = point.new_zeros(valid.shape)
    products = grid_products(field.density, point[valid])
    sigma[valid] = torch.relu(torch.stack([part.sum(-1) for part in products]).sum(0))
    delta = functional.pad(distance.diff(dim=-1), (0, 1))
    alpha = 1 - torch.exp(-sigma * delta * field.shape.distance_scale)
    clear = functional.pad(1 - alpha + 1e-10, (1, 0), value=1.0)[:, :-1]
    return point, alpha * clear.cumprod(-1), distance


def dense_sum(weight: Tensor, mask: Tensor, values: Tensor) -> Tensor:
    """Weighted sum over samples of values at masked samples, through a dense (r, S, d) tensor."""
    dense = values.new_zeros(*mask.shape, values.shape[-1])
    dense[mask] = values
    return (weight[..., None] * dense).sum(1)


def appearance(field: RadianceField, place: Tensor) -> Tensor:
    """Features (s, 27) at places (s, 3)."""
    return field.basis(torch.cat(grid_products(field.appearance, place), -1))


def pixel_colour(
    field: RadianceField,
    weight: Tensor,
    mask: Tensor,
    feature: Tensor,
    place: tuple[Tensor, Tensor],
    direction: Tensor,
) -> Tensor:
    """Colour over black (r, 3) of masked samples, decoded as the field does.

    Args:
        feature: of the masked samples.
        place: distances (r, S) and points (r, S, 3) of all samples.
    """
    if field.shape.colour_per == "voxel":
        length = field.step / field.shape.step_ratio
        feature = appearance(field, reference.stretch_means(weight * mask, *place, length)[mask])
    if field.shape.colour_per == "ray":
        opacity = (weight * mask).sum(1, keepdim=True)
        mean = dense_sum(weight, mask, feature) / opacity.clamp_min(1e-6)
        return opacity * reference.colour(field, mean, direction)
    view = direction[:, None].expand(*mask.shape, 3)[mask]
    return dense_sum(weight, mask, reference.colour(field, feature, view))


def colour(
    field: RadianceField,
    origin: Tensor,
    direction: Tensor,
    jitter: Tensor | None,
    background: float,
) -> Tensor:
    """Colour of rays (r, 3)."""
    point, weight, distance = weights(field, origin, direction, jitter, None)
    mask = weight > field.shape.weight_threshold
    x = appearance(field, point[mask])
    rgb = pixel_colour(field, weight, mask, x, (distance, point), direction)
    return rgb + (1 - weight.sum(-1))[:, None] * background


def semantics(
    field: SemanticField,
    origin: Tensor,
    direction: Tensor,
    jitter: Tensor | None,
    max_samples: int | None,
    wanted: tuple[str, ...] = ("feature", "scales", "colour"),
) -> dict[str, Tensor]:
    """Composited `feature` (r, D), `scales` (r, K) and `colour` (r, 3)."""
    radiance = field.radiance
    with torch.no_grad():
        point, weight, distance = weights(radiance, origin, direction, jitter, max_samples)
    mask = weight > radiance.shape.weight_threshold
    place = point[mask]
    x = appearance(radiance, place)
    out = {"feature": dense_sum(weight, mask, field.clip(x))}
    if "scales" in wanted:
        votes = field.scale_selection_basis(
            torch.cat(grid_products(field.scale_selection, place), -1)
        )
        out["scales"] = dense_sum(weight, mask, torch.sigmoid(votes)).softmax(-1)
    if "colour" in wanted:
        out["colour"] = pixel_colour(radiance, weight, mask, x, (distance, point), direction)
    return out


def feature_loss(feature: Tensor, scales: Tensor, pyramid: Tensor) -> Tensor:
    """Mean of 1 - cos(F, sum_k s_k f_k), F (r, D), s (r, K), f (r, K, D)."""
    target = torch.einsum("rk,rkd->rd", scales, pyramid)
    return (1 - functional.cosine_similarity(feature, target, dim=-1)).mean()


def correlation(cosine: Tensor, token: Tensor, settings: Dino, share: int) -> Tensor:
    """Both correlation losses of one crop (L, C), every pair's divergence as (L, L, C).

    `share`: how many crops the counts run over (here: as many times this crop's own).
    """
    p = (cosine / settings.temperature).softmax(-1)
    unit = functional.normalize(token, dim=-1)
    alike = unit @ unit.T - settings.shift
    divergence = (p[:, None] * (p[:, None].log() - p[None].log())).sum(-1)
    positive = (alike.clamp_min(0) * divergence).sum() / ((alike > 0).sum() * share).clamp_min(1)
    negative = (alike.clamp_max(0) * divergence).sum() / ((alike < 0).sum() * share).clamp_min(1)
    return settings.positive_weight * positive + settings.negative_weight * negative


def rank(label: np.ndarray, masks: np.ndarray, classes: int) -> np.ndarray:
    """RSR by painting one mask after the other."""
    ranked = np.full(label.shape, VOID, np.uint16)
    for mask in masks:
        votes = np.bincount(label[mask], minlength=classes)[:classes]
        if votes.max(initial=0) > 0:
            ranked[mask] = votes.argmax()
    return ranked


def label_map(
    field: SemanticField, origin: Tensor, direction: Tensor, text: Tensor, chunk: int
) -> Tensor:
    """argmax cosine per ray (r,)."""
    labels = []
    with torch.no_grad():
        for begin in range(0, len(origin), chunk):
            part = slice(begin, begin + chunk)
            out = semantics(field, origin[part], direction[part], None, None, ("feature",))
            unit = functional.normalize(out["feature"], dim=-1)
            labels.append((unit @ text.T).softmax(-1).argmax(-1))
    return torch.cat(labels)


def colour_map(field: RadianceField, origin: Tensor, direction: Tensor, chunk: int) -> Tensor:
    """Colours over black (r, 3)."""
    with torch.no_grad():
        parts = [
            colour(field, o, d, None, 0.0)
            for o, d in zip(origin.split(chunk), direction.split(chunk), strict=True)
        ]
    return torch.cat(parts).clamp(0, 1)
