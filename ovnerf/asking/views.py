"""Views of a trained field that can be asked again without marching a ray."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ovnerf.asking.description import Description
from ovnerf.asking.fuse import unit_features
from ovnerf.field.rendering import render_rgb, surface_distance, to_uint8, view_weights
from ovnerf.field.semantic_field import SemanticField
from ovnerf.field.surface import render_ray_features
from ovnerf.geometry.camera import Camera


@dataclass(frozen=True)
class View:
    """A rendered view.

    Attributes:
        rgb: u8 (H, W, 3).
        depth: f32 (H, W), distance along the ray in the unit of the poses, 0 where a ray meets
            nothing.
        opacity: f32 (H, W).
        feature: f32 (H, W, 28), unit features as those of points.
    """

    rgb: np.ndarray
    depth: np.ndarray
    opacity: np.ndarray
    feature: np.ndarray


def render_view(field: SemanticField, description: Description, pose: np.ndarray) -> View:
    """March the view of a pose f64 (4, 4), camera to world, once.

    Pixels whose ray meets nothing have feature 0, so a score of them is 0.5 in mode `relevancy`.
    """
    return render_camera(field, description, description.camera(pose, field.radiance.box.device))


@torch.no_grad()
def render_camera(field: SemanticField, description: Description, camera: Camera) -> View:
    """March a view once, of any camera in scene units; as `render_view`."""
    size = camera.height, camera.width
    view = view_weights(field.radiance, camera)
    matrix = field.clip.matrix().cpu().numpy()
    feature = unit_features(render_ray_features(field, view).cpu().numpy(), matrix)
    depth = surface_distance(camera, view).cpu().numpy() / description.similarity.scale
    return View(
        rgb=to_uint8(render_rgb(field.radiance, view), *size).cpu().numpy(),
        depth=depth.reshape(size).astype(np.float32),
        opacity=view.opacity().cpu().numpy().reshape(size),
        feature=feature.reshape(*size, -1),
    )
