"""Rays of warped, forward-facing scenes (docs/method.md#ndc)."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from ovnerf.geometry.rays import FARTHEST, Ndc, pixel_rays

NDC = Ndc((1.5, 2.0))


def test_points_by_hand():
    point = torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 1.0], [-3.0, 1.0, 2.0]])
    warped = torch.tensor([[0.375, 1.0, 0.5], [0.0, 0.0, -1.0], [-2.25, 1.0, 0.0]])
    torch.testing.assert_close(NDC.points(point), warped)
    torch.testing.assert_close(NDC.inverse_points(warped), point)
    assert NDC.inverse_points(torch.tensor([0.0, 0.0, 1.0]))[2] == FARTHEST


def test_a_ray_by_hand():
    """From (0, 0, -1) along (1, 0, 2): meets z = 1 at (1, 0, 1), and x / z goes to 1 / 2."""
    origin, direction = NDC.rays(torch.tensor([[0.0, 0, -1]]), torch.tensor([[1.0, 0, 2]]))
    torch.testing.assert_close(origin, torch.tensor([[1.5, 0, -1]]))
    # End: (1.5 * 0.5, 0, 1); on the way there: (0.75 - 1.5, 0, 2).
    expected = normalize(torch.tensor([[-0.75, 0, 2]]), dim=-1)
    torch.testing.assert_close(direction, expected)


def test_a_camera_at_the_origin_sees_the_unit_square():
    intrinsics = torch.tensor([[40.0, 0, 16], [0, 50, 12], [0, 0, 1]])
    ndc = Ndc.of_camera(intrinsics, 24, 32)
    assert ndc.scale == (2.5, 50 / 12)
    corner = torch.tensor([-0.5, 31.5]), torch.tensor([-0.5, 23.5])
    origin, direction = pixel_rays(torch.eye(4), intrinsics, *corner, ndc)
    torch.testing.assert_close(origin, torch.tensor([[-1.0, -1, -1], [1, 1, -1]]))
    torch.testing.assert_close(direction, torch.tensor([[0.0, 0, 1], [0, 0, 1]]))


number = st.floats(-1, 1, allow_subnormal=False)


@settings(max_examples=50)
@given(st.tuples(*[number] * 6), st.floats(1.05, 50))
def test_points_of_a_ray_lie_on_the_warped_ray_in_the_same_order(values, depth):
    values = torch.tensor(values, dtype=torch.float64)
    origin, direction = values[:3] * 0.9, values[3:].clone()
    direction[2] = direction[2].abs() + 0.2
    begin, along = NDC.rays(origin[None], direction[None])
    assert math.isclose(float(begin[0, 2]), -1, abs_tol=1e-9)
    assert math.isclose(float(along.norm()), 1, abs_tol=1e-9)
    at = (torch.tensor([depth, depth + 1]).double() - origin[2]) / direction[2]
    warped = NDC.points(origin + at[:, None] * direction)
    distance = (warped - begin) @ along[0]
    assert 0 < distance[0] < distance[1]
    torch.testing.assert_close(begin + distance[:, None] * along, warped, atol=1e-9, rtol=0)


def published_ndc(
    origin: np.ndarray, direction: np.ndarray, focal: float, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """The closed form for OpenGL axes and near plane 1, direction not normalised."""
    origin = origin - ((1 + origin[2]) / direction[2]) * direction
    (x, y, z), (u, v, w) = origin, direction
    horizontal, vertical = -2 * focal / width, -2 * focal / height
    begin = np.array([horizontal * x / z, vertical * y / z, 1 + 2 / z])
    along = np.array([horizontal * (u / w - x / z), vertical * (v / w - y / z), -2 / z])
    return begin, along


def test_the_published_rays_of_the_mirrored_world_are_ours_turned_by_half():
    """Handedness: published poses live in a world with all three axes reversed.

    The warp of that world, for OpenGL axes, differs from ours by the signs of x and y: a half turn
    and no mirror, so both describe the same photos.
    """
    random = np.random.default_rng(0)
    intrinsics = torch.tensor([[40.0, 0, 16], [0, 40, 12], [0, 0, 1]], dtype=torch.float64)
    ndc = Ndc.of_camera(intrinsics, 24, 32)
    for _ in range(20):
        origin = random.uniform(-0.5, 0.5, 3)
        direction = np.array([*random.uniform(-0.5, 0.5, 2), 1.0])
        ours = ndc.rays(torch.from_numpy(origin)[None], torch.from_numpy(direction)[None])
        begin, along = published_ndc(-origin, -direction, 40, 32, 24)
        turn = np.array([-1, -1, 1])
        np.testing.assert_allclose(ours[0][0].numpy(), turn * begin, atol=1e-12)
        unit = turn * along / np.linalg.norm(along)
        np.testing.assert_allclose(ours[1][0].numpy(), unit, atol=1e-12)
