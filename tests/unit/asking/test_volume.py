"""Meshes from depth: a sphere and a wall whose distances are known exactly, and their floaters."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from asking_fixtures import pose_towards_centre

from ovnerf.asking.mesh import large_components
from ovnerf.asking.volume import DepthView, Volume, empty_volume, known_cubes, surface
from ovnerf.runtime.errors import UserError

CENTRE = np.array([1.0, 2.0, 3.0])
SIDE, FOCAL = 60, 50.0
INTRINSICS = np.array([[FOCAL, 0, SIDE / 2], [0, FOCAL, SIDE / 2], [0, 0, 1]])


def directions(pose: np.ndarray) -> np.ndarray:
    """Unit direction of each pixel's ray, (SIDE, SIDE, 3), world."""
    y, x = np.indices((SIDE, SIDE)) + 0.5
    local = np.stack([(x - SIDE / 2) / FOCAL, (y - SIDE / 2) / FOCAL, np.ones_like(x)], -1)
    ray = local @ pose[:3, :3].T
    return ray / np.linalg.norm(ray, axis=-1, keepdims=True)


def sphere_view(place: np.ndarray, radius: float) -> DepthView:
    """What a camera at a place sees of a sphere around `CENTRE`."""
    pose = np.array(pose_towards_centre(place))
    ray = directions(pose)
    along = ray @ (CENTRE - place)
    under = radius**2 - np.sum((CENTRE - place) ** 2) + along**2
    distance = along - np.sqrt(np.maximum(under, 0))
    return DepthView(pose, INTRINSICS, distance, under > 0.02)


@pytest.fixture(scope="module")
def sphere() -> Volume:
    """A sphere of radius 0.5, seen from 60 places evenly around it."""
    volume = empty_volume(CENTRE + np.array([[-0.5] * 3, [0.5] * 3]), 0.04)
    height = 1 - (2 * np.arange(60) + 1) / 60
    turn = np.arange(60) * np.pi * (3 - np.sqrt(5))
    flat = np.sqrt(1 - height**2)
    for side in np.stack([flat * np.cos(turn), flat * np.sin(turn), height], 1):
        volume.add(sphere_view(CENTRE + 2 * side, 0.5))
    return volume


def test_a_sphere_becomes_a_closed_sphere(sphere: Volume) -> None:
    vertex, face = surface(sphere)
    radius = np.linalg.norm(vertex - CENTRE, axis=1)
    assert abs(np.median(radius) - 0.5) < 0.25 * sphere.cell
    assert np.abs(radius - 0.5).max() < sphere.cell
    mesh = trimesh.Trimesh(vertex, face, process=True)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.1)  # > 0: front outwards


def test_nothing_is_made_where_one_view_sees_alone(sphere: Volume) -> None:
    """Two cameras on one side: half a sphere, with no lid at its open end."""
    half = empty_volume(CENTRE + np.array([[-0.5] * 3, [0.5] * 3]), 0.04)
    for offset in ([2.0, 0.0, 0.1], [2.0, 0.1, 0.0]):
        half.add(sphere_view(CENTRE + np.array(offset), 0.5))
    vertex, face = surface(half)
    assert np.abs(np.linalg.norm(vertex - CENTRE, axis=1) - 0.5).max() < half.cell
    assert vertex[:, 0].min() > CENTRE[0]
    mesh = trimesh.Trimesh(vertex, face)
    assert not mesh.is_watertight
    once = empty_volume(CENTRE + np.array([[-0.5] * 3, [0.5] * 3]), 0.04)
    once.add(sphere_view(CENTRE + np.array([2.0, 0.0, 0.1]), 0.5))
    with pytest.raises(UserError, match="mesh: found no surface that two training views see"):
        surface(once)


def test_the_mean_of_the_views_is_the_surface() -> None:
    """A wall at x = 1, once measured 0.1 too near and once 0.1 too far."""
    volume = empty_volume(np.array([[0.9, -0.1, -0.1], [1.1, 0.1, 0.1]]), 0.05)
    pose = np.eye(4)
    pose[:3, :3] = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # looks along x
    for off in (-0.1, 0.1):
        distance = (1 + off) / directions(pose)[..., 0]
        volume.add(DepthView(pose, INTRINSICS, distance, np.ones_like(distance, dtype=bool)))
    vertex, _ = surface(volume)
    assert np.abs(vertex[:, 0] - 1).max() < 0.01


def test_a_large_grid_gets_coarser_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ovnerf.asking.volume.MAX_CELLS", 27_000)
    volume = empty_volume(np.array([[0.0] * 3, [2.0, 2.0, 2.0]]), 0.01)
    assert volume.value.size <= 31**3
    assert 2 / 22 < volume.cell < 1.1 * 2 / 22  # 22 cells and 8 of margin, thrice: 27 000


def test_cubes_need_eight_known_corners() -> None:
    known = np.ones((3, 3, 3), dtype=bool)
    known[0, 0, 0] = False
    expected = np.ones((2, 2, 2), dtype=bool)
    expected[0, 0, 0] = False
    np.testing.assert_array_equal(known_cubes(known), expected)


def test_small_parts_are_left_out_and_the_largest_stays() -> None:
    """A square of area 4 beside a triangle of area 0.5, which is 11 % of all."""
    vertex = np.array(
        [[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0], [5, 0, 0], [6, 0, 0], [5, 1, 0]], dtype=float
    )
    face = np.array([[4, 5, 6], [0, 1, 2], [0, 2, 3]])
    kept, faces = large_components(vertex, face, 0.12)
    np.testing.assert_array_equal(kept, vertex[:4])
    np.testing.assert_array_equal(faces, [[0, 1, 2], [0, 2, 3]])
    assert len(large_components(vertex, face, 0.11)[1]) == 3
    assert len(large_components(vertex, face, 1.0)[1]) == 2
