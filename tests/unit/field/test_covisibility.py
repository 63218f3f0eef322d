"""Pixels of two views that show the same point, by hand and against the test of novel views."""

import numpy as np
import pytest
import torch

from ovnerf.field.covisibility import UNSEEN, DepthViews, add_rows
from ovnerf.geometry.camera import Camera
from ovnerf.training.novel_views import seen_by


def facing_a_wall(*places: float) -> DepthViews:
    """Views of 1 x 2 pixels at x = `places`, in front of the wall z = 2."""
    pose = np.tile(np.eye(4), (len(places), 1, 1))
    pose[:, 0, 3] = places
    intrinsics = np.array([[2.0, 0, 1], [0, 2.0, 0.5], [0, 0, 1]])
    # Rays (-1/4, 0, 1) and (1/4, 0, 1), up to the wall.
    distance = np.full((len(places), 1, 2), 2 * np.sqrt(1 + 1 / 16), dtype=np.float32)
    return DepthViews(pose, intrinsics, distance)


def test_a_step_of_one_pixel():
    views = facing_a_wall(0, 1, 5)
    np.testing.assert_allclose(views.surface(0), [[-0.5, 0, 2], [0.5, 0, 2]], atol=1e-6)
    found = {other: pixel.tolist() for other, pixel in views.others(0)}
    assert found == {1: [UNSEEN, 0], 2: [UNSEEN, UNSEEN]}


def test_what_stands_before_a_point_hides_it_and_nothing_is_seen_behind_a_camera():
    views = facing_a_wall(0, 0, 0)
    views.distance[1] = 1
    views.distance[2, 0, 1] = 0
    views.pose[2, :3, :3] = np.diag([-1.0, 1, -1])
    assert [pixel.tolist() for _, pixel in views.others(0)] == [[UNSEEN, UNSEEN]] * 2
    # A pixel without a surface is at the camera itself, in front of which it does not lie.
    assert views.pixels(views.surface(2)[1:], 2).tolist() == [UNSEEN]


def test_rows_are_added_where_a_view_sees_the_point():
    total, count = np.zeros((3, 2), np.float32), np.zeros(3, np.int32)
    table = np.array([[0.25, 0.75], [1, 0]], np.float32)
    row = np.array([1, -1, 0], np.int32)
    for pixel in ([0, 1, UNSEEN], [2, 2, UNSEEN]):
        add_rows(total, count, table, row, np.array(pixel, np.int32))
    assert total.tolist() == [[1.25, 0.75], [0.25, 0.75], [0, 0]]
    assert count.tolist() == [2, 1, 0]


@pytest.mark.parametrize("seed", range(3))
def test_views_that_see_a_point_are_as_many_as_the_test_of_novel_views_counts(seed):
    random = np.random.default_rng(seed)
    height, width, count = 6, 8, 5
    turn = np.linalg.qr(np.eye(3) + 0.2 * random.normal(size=(count, 3, 3)))[0]
    turn *= np.sign(np.einsum("nii->ni", turn))[:, None]  # near the identity
    pose = np.tile(np.eye(4), (count, 1, 1))
    pose[:, :3, :3], pose[:, :3, 3] = turn, 0.3 * random.normal(size=(count, 3))
    intrinsics = np.array([[5.0, 0, 4], [0, 5.0, 3], [0, 0, 1]])
    distance = (2 + 0.2 * random.random((count, height, width))).astype(np.float32)
    views = DepthViews(pose, intrinsics, distance)
    point = views.surface(0)
    seen = sum((views.pixels(point, view) >= 0).astype(int) for view in range(count))
    matrices = [torch.from_numpy(one).float() for one in pose]
    cameras = [Camera(one, torch.from_numpy(intrinsics).float(), height, width) for one in matrices]
    expected = seen_by(
        torch.from_numpy(point).float(), cameras, list(torch.from_numpy(distance))
    ).numpy()
    assert 1 < expected.mean() < count
    assert (seen == expected).all()
