"""Simple meshes that furniture is put together from; lengths in metres."""

from __future__ import annotations

from typing import cast

import numpy as np
import trimesh


def box(low: tuple[float, float, float], high: tuple[float, float, float]) -> trimesh.Trimesh:
    """Axis-aligned box between two corners."""
    low_corner, high_corner = np.asarray(low, float), np.asarray(high, float)
    mesh = trimesh.creation.box(extents=high_corner - low_corner)
    mesh.apply_translation((low_corner + high_corner) / 2)
    return mesh


def cushion(
    low: tuple[float, float, float], high: tuple[float, float, float], radius: float
) -> trimesh.Trimesh:
    """Box with rounded edges: a sphere whose octants are pushed apart."""
    low_corner, high_corner = np.asarray(low, float), np.asarray(high, float)
    sphere = trimesh.creation.icosphere(subdivisions=2)
    # A generic turn, so that no vertex lies on a coordinate plane and every octant is decided.
    turn = trimesh.transformations.euler_matrix(0.31, 0.47, 0.23)[:3, :3]
    unit = sphere.vertices @ turn.T
    half = (high_corner - low_corner) / 2
    radius = min(radius, *half)
    vertices = unit * radius + np.sign(unit) * (half - radius) + (low_corner + high_corner) / 2
    return trimesh.Trimesh(vertices, sphere.faces, process=False)


def rod(x: float, y: float, low: float, high: float, radius: float) -> trimesh.Trimesh:
    """Upright cylinder."""
    mesh = trimesh.creation.cylinder(radius=radius, height=high - low, sections=16)
    mesh.apply_translation((x, y, (low + high) / 2))
    return mesh


def frustum(low: float, high: float, bottom: float, top: float) -> trimesh.Trimesh:
    """Closed upright frustum around the z axis with radii `bottom` and `top`."""
    profile = [(0.0, low), (bottom, low), (top, high), (0.0, high)]
    return trimesh.creation.revolve(profile, sections=28)


def joined(*meshes: trimesh.Trimesh) -> trimesh.Trimesh:
    """Several meshes as one."""
    return cast(trimesh.Trimesh, trimesh.util.concatenate(list(meshes)))
