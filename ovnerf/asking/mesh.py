"""A triangle mesh of a trained field, coloured and labelled by its points (docs/asking.md#mesh)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ovnerf.asking.cloud_files import class_comments, stored_coordinates
from ovnerf.asking.description import Description
from ovnerf.asking.ply import write_ply
from ovnerf.asking.points import Points
from ovnerf.asking.surfaces import depths
from ovnerf.asking.volume import DepthView, empty_volume, surface, used_vertices
from ovnerf.config.export import Export
from ovnerf.config.points import FusePoints
from ovnerf.field.semantic_field import SemanticField
from ovnerf.runtime import progress
from ovnerf.runtime.errors import Stopped

MESH_SPREAD = 0.15
"""`max_spread` of the pixels that a mesh is made from. It is wider than that of points, because a
surface is the mean of many views, and one that is left out is a hole (docs/asking.md#mesh)."""


@dataclass(frozen=True)
class Mesh:
    """A surface.

    Attributes:
        vertex: f64 (n, 3), world. face: i64 (m, 3), front side towards the cameras.
        rgb: u8 (n, 3). label: u16 (n,), class index.
        cell: side of a cell of the grid that it comes from, world units.
    """

    vertex: np.ndarray
    face: np.ndarray
    rgb: np.ndarray
    label: np.ndarray
    cell: float


def make_mesh(
    field: SemanticField, description: Description, points: Points, settings: Export
) -> Mesh:
    """The surface that the training views see, by their median distances.

    Raises:
        UserError: no two views see a surface.
        Stopped: the stage was asked to end.
    """
    volume = empty_volume(points.xyz, settings.mesh_cell or points.voxel_size)
    counted = FusePoints(max_spread=MESH_SPREAD)
    size = description.height, description.width
    frames = description.training_frames
    progress.begin("export mesh", "frames", len(frames), 0)
    for frame in frames:
        found = depths(field, description, frame, counted)
        volume.add(
            DepthView(
                description.pose[frame],
                description.intrinsics,
                found.distance.reshape(size),
                found.seen.reshape(size),
            )
        )
        progress.advance()
        if progress.stop_wanted():
            raise Stopped("export mesh: stopped as asked; run it again to begin anew")
    vertex, face = large_components(*surface(volume), settings.min_component)
    _, nearest = cKDTree(points.xyz).query(vertex)
    return Mesh(vertex, face, points.rgb[nearest], points.label[nearest], volume.cell)


def large_components(
    vertex: np.ndarray, face: np.ndarray, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """A mesh without its connected parts of less than a share of its area; the largest stays.

    Args:
        vertex: f64 (n, 3). face: i64 (m, 3).
    """
    edges = face[:, [0, 1, 1, 2]].reshape(-1, 2).T
    graph = coo_array((np.ones(edges.shape[1], dtype=bool), tuple(edges)), (len(vertex),) * 2)
    _, part = connected_components(graph, directed=False)
    part = part[face[:, 0]]
    a, b, c = vertex[face].transpose(1, 0, 2)
    area = np.bincount(part, np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2)
    large = area >= min(share * area.sum(), area.max())
    return used_vertices(vertex, face[large[part]])


def write_mesh_ply(path: Path, description: Description, mesh: Mesh) -> None:
    """Vertices with colour and class index, and triangles."""
    columns = {
        **dict(zip("xyz", stored_coordinates(mesh.vertex, mesh.cell).T, strict=True)),
        **dict(zip(("red", "green", "blue"), mesh.rgb.T, strict=True)),
        "label": mesh.label,
    }
    write_ply(path, columns, class_comments(description), mesh.face)


def write_mesh_glb(path: Path, mesh: Mesh) -> None:
    """The coloured mesh as binary glTF.

    Its colours are linear light, as glTF defines those of vertices. glTF has 32-bit coordinates, so
    they are written from the middle of the mesh, whose place is that of its node: far from the
    world's origin they stay exact.
    """
    middle = (mesh.vertex.min(0) + mesh.vertex.max(0)) / 2
    place = np.eye(4)
    place[:3, 3] = middle
    scene = trimesh.Scene()
    scene.add_geometry(
        trimesh.Trimesh(
            mesh.vertex - middle, mesh.face, vertex_colors=linear_light(mesh.rgb), process=False
        ),
        geom_name="surface",
        transform=place,
    )
    path.write_bytes(scene.export(file_type="glb"))


def linear_light(rgb: np.ndarray) -> np.ndarray:
    """Colours of photos, u8 (n, 3) in sRGB, as amounts of light u8 (n, 3); IEC 61966-2-1.

    >>> linear_light(np.array([0, 128, 255], dtype=np.uint8)).tolist()
    [0, 55, 255]
    """
    share = rgb / 255
    light = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return (255 * light).round().astype(np.uint8)
