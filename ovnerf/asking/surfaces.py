"""What the pixels of a trained field's views see: surface points, normals, ray features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ovnerf.asking.description import Description
from ovnerf.config.points import FusePoints
from ovnerf.field.rendering import ViewWeights, view_weights
from ovnerf.field.semantic_field import SemanticField
from ovnerf.field.surface import (
    distances_at_shares,
    points_at,
    ray_colours,
    render_ray_features,
)
from ovnerf.runtime.errors import UserError

SUREST = 0.25
"""This share of a view's opaque pixels counts however widely their weight is spread: a field that
was trained for a short time is fog everywhere, and would have no points at all."""


@dataclass(frozen=True)
class Surface:
    """What the pixels of a view see, all arrays with a row per pixel.

    Attributes:
        seen: bool (r,), which pixels count.
        distance: f64 (r,), from the camera, world units.
        point, normal: f64 (r, 3), world; normals are unit vectors towards the camera, or 0.
        opacity: f32 (r,). feature: f32 (r, 28), u of each ray.
        colour: f32 (r, 3) in [0, 1], of the surface (`ray_colours`).
    """

    seen: np.ndarray
    distance: np.ndarray
    point: np.ndarray
    normal: np.ndarray
    opacity: np.ndarray
    colour: np.ndarray
    feature: np.ndarray


@dataclass(frozen=True)
class Depths:
    """Where the rays of a view end, all arrays with a row per pixel.

    Attributes:
        view: the marched view.
        seen, distance, opacity: as in `Surface`.
        point: f64 (r, 3), world.
    """

    view: ViewWeights
    seen: np.ndarray
    distance: np.ndarray
    opacity: np.ndarray
    point: np.ndarray


def widest(spread: np.ndarray, max_spread: float) -> float:
    """Largest spread of a pixel that counts, as a share of its distance.

    Args:
        spread: f64 (n,), those of a view's pixels that are opaque enough.
    """
    return max(max_spread, float(np.quantile(spread, SUREST))) if len(spread) else max_spread


@torch.no_grad()
def depths(
    field: SemanticField, description: Description, frame: int, settings: FusePoints
) -> Depths:
    """March the view of one frame."""
    device = field.radiance.box.device
    camera = description.camera(description.pose[frame], device)
    view = view_weights(field.radiance, camera)
    quarter, point, three_quarters = (
        description.similarity.world(points_at(camera, view, distance).cpu().numpy())
        for distance in distances_at_shares(view, (0.25, 0.5, 0.75))
    )
    distance = np.linalg.norm(point - description.pose[frame, :3, 3], axis=-1)
    spread = np.linalg.norm(three_quarters - quarter, axis=-1) / np.maximum(distance, 1e-12)
    opacity = view.opacity().cpu().numpy()
    opaque = opacity > settings.min_opacity
    seen = opaque & (spread <= widest(spread[opaque], settings.max_spread))
    return Depths(view, seen, distance, opacity, point)


@torch.no_grad()
def see(
    field: SemanticField, description: Description, frame: int, settings: FusePoints
) -> Surface:
    """March the view of one frame and take from it what its pixels see."""
    found = depths(field, description, frame, settings)
    feature = render_ray_features(field, found.view)
    centre, size = description.pose[frame, :3, 3], (description.height, description.width)
    return Surface(
        found.seen,
        found.distance,
        found.point,
        normals(found.point, found.seen, centre, size),
        found.opacity,
        ray_colours(field, found.view, feature).cpu().numpy(),
        feature.cpu().numpy(),
    )


def normals(
    point: np.ndarray, seen: np.ndarray, centre: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Surface normals f64 (r, 3) from differences between neighbouring pixels' points.

    Unit vectors towards the camera at `centre`; 0 where the pixel, or one of its four neighbours,
    does not count, and at the border of the image.

    Args:
        point: f64 (r, 3). seen: bool (r,). size: (height, width), r pixels row by row.
    """
    grid, known = point.reshape(*size, 3), seen.reshape(size)
    found = np.zeros_like(grid)
    across = grid[1:-1, 2:] - grid[1:-1, :-2]
    down = grid[2:, 1:-1] - grid[:-2, 1:-1]
    inner = np.cross(across, down)
    inner *= -np.sign(np.sum(inner * (grid[1:-1, 1:-1] - centre), -1, keepdims=True))
    length = np.linalg.norm(inner, axis=-1, keepdims=True)
    usable = known[1:-1, 1:-1] & known[1:-1, 2:] & known[1:-1, :-2] & known[2:, 1:-1]
    usable &= known[:-2, 1:-1] & (length[..., 0] > 0)
    found[1:-1, 1:-1] = np.where(usable[..., None], inner / np.maximum(length, 1e-300), 0)
    return found.reshape(-1, 3)


def spacing(views: Iterator[Depths], focal: float) -> float:
    """Median distance between the surface points of neighbouring pixels, world units.

    Args:
        focal: focal length in pixels; a pixel is distance / focal wide on a surface that it faces.

    Raises:
        UserError: no pixel counts.
    """
    distances = np.concatenate([view.distance[view.seen] for view in views])
    if not len(distances):
        raise UserError(
            "fuse_points: no pixel of the first views sees a surface",
            "give `voxel_size`, or look at the renders: is the field opaque anywhere?",
        )
    return float(np.median(distances)) / focal
