"""Up, floor and walls of models whose true directions are known."""

from __future__ import annotations

import numpy as np
import pytest
from capture_fixtures import look
from scipy.spatial.transform import Rotation

from ovnerf.capture.upright import floor_centre, stand_up


def points_of_a_room(random: np.random.Generator) -> np.ndarray:
    """Floor, two walls and a table of a room of 4 x 3 x 2.4 m, with clutter and 1 cm of noise."""
    flat = random.random((4, 400, 3)) * (4, 3, 2.4)
    flat[0, :, 2] = 0
    flat[1, :, 0] = 0
    flat[2, :, 1] = 3
    flat[3] = (1, 1, 0.7) + random.random((400, 3)) * (1.2, 0.8, 0)
    clutter = random.random((400, 3)) * (4, 3, 2.4)
    points = np.concatenate([*flat, clutter])
    return points + random.normal(0, 0.01, points.shape)


def handheld(random: np.random.Generator, spread: float) -> np.ndarray:
    """Thirty cameras that look down by 20 degrees, into directions so many radians apart, and roll
    by two degrees (standard deviation)."""
    poses = []
    for yaw in random.uniform(-spread, spread, 30):
        pose = look((2, 1.5, 1.5), (2 + np.cos(yaw), 1.5 + np.sin(yaw), 1.5 - 0.36))
        roll = Rotation.from_rotvec([0, 0, random.normal(0, np.radians(2))])
        pose[:3, :3] = pose[:3, :3] @ roll.as_matrix()
        poses.append(pose)
    return np.array(poses)


@pytest.mark.parametrize("spread", [np.pi, 0.5])
def test_the_vertical_and_the_walls_are_found_whatever_the_model_s_axes(spread: float) -> None:
    random = np.random.default_rng(3)
    points, pose = points_of_a_room(random), handheld(random, spread)
    turned = Rotation.random(random_state=5).as_matrix()
    pose[:, :3] = turned @ pose[:, :3]
    found = stand_up(pose, points @ turned.T)
    rotation = found.rotation @ turned
    assert np.degrees(np.arccos(rotation[2, 2])) < 1
    assert np.abs(rotation[:2, :2]).max(1) == pytest.approx(1, abs=2e-4)
    assert found.level == pytest.approx(2, abs=0.7)


def test_the_origin_is_on_the_floor() -> None:
    points = points_of_a_room(np.random.default_rng(1))
    assert floor_centre(points)[2] == pytest.approx(0, abs=0.03)
