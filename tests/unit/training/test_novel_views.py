import math

import pytest
import torch

from ovnerf.config.semantics import Cse
from ovnerf.field.rendering import ViewWeights, surface_points
from ovnerf.geometry.camera import Camera
from ovnerf.training.novel_views import (
    between,
    interpolated,
    novel_poses,
    panorama,
    seen_by,
    unbroken,
)


def poses(count=8):
    """Cameras on a line, looking along world y with world z up (OpenCV axes)."""
    pose = torch.eye(4).repeat(count, 1, 1)
    pose[:, :3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    pose[:, 0, 3] = torch.arange(count).float()
    return pose


def test_between_by_hand():
    first, second = torch.eye(4), torch.eye(4)
    second[:3, :3] = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # 90 degrees about z
    second[:3, 3] = torch.tensor([4.0, 0, 0])
    middle = between(first, second, 0.5)
    half = math.sqrt(0.5)
    expected = torch.tensor([[half, -half, 0], [half, half, 0], [0, 0, 1]])
    assert torch.allclose(middle[:3, :3], expected, atol=1e-6)
    assert middle[:3, 3].tolist() == [2, 0, 0]


def test_interpolated_views_lie_between_training_cameras():
    novel = interpolated(poses(), [range(8)], 5, seed=0)
    assert len(novel) == 5
    assert (novel[:, 0, 3] > 0).all() and (novel[:, 0, 3] < 7).all()
    assert torch.equal(novel, interpolated(poses(), [range(8)], 5, seed=0))
    for pose in novel:
        assert torch.allclose(pose[:3, :3] @ pose[:3, :3].T, torch.eye(3), atol=1e-6)


def test_views_keep_out_of_the_gaps_of_held_out_frames():
    frames = [1, 2, 3, 4, 6, 7, 8, 10]  # held out: 0, 5, 9
    assert unbroken(frames) == [range(4), range(4, 7), range(7, 8)]
    train = poses()
    train[:, 0, 3] = torch.tensor(frames).float()
    places = {
        gaps: novel_poses(train, frames, Cse(novel_views=40, novel_gaps=gaps), 0)[:, 0, 3]
        for gaps in ("avoid", "any")
    }
    kept = places["avoid"]
    assert (((kept > 1) & (kept < 4)) | ((kept > 6) & (kept < 8))).all()
    assert (kept < 4).any() and (kept > 6).any()
    assert ((places["any"] > 4) & (places["any"] < 6)).any()
    # The last frame before a gap has its views on its other side.
    one = novel_poses(train[:4], frames[:4], Cse(novel_views=4), 0)
    assert 3 < one[3, 0, 3] < 4


def test_frames_with_gaps_on_both_sides_have_no_views_beside_them():
    frames = [1, 3, 5, 7, 9, 11, 13, 15]
    assert len(novel_poses(poses(), frames, Cse(novel_views=5), 0)) == 0
    assert len(novel_poses(poses(), frames, Cse(novel_views=5, novel_gaps="any"), 0)) == 5


def test_panorama_of_the_method():
    novel = panorama(poses(), 4, (0.25, 0.25, 0.0))
    for pose in novel:
        rotation = pose[:3, :3]
        assert torch.allclose(rotation @ rotation.T, torch.eye(3), atol=1e-6)
        assert torch.linalg.det(rotation).item() == pytest.approx(1, abs=1e-5)
        assert rotation[2, 2].item() == pytest.approx(-0.2 / math.hypot(1, 0.2), abs=1e-6)
        assert rotation[2, 0].item() == pytest.approx(0, abs=1e-6)  # the horizon is level
        assert rotation[2, 1] < 0  # image down points down
        offset = pose[:3, 3] - torch.tensor([0.25, 0.25, 0])
        assert offset[2].item() == pytest.approx(-0.001, abs=1e-6)
        assert offset[:2].norm().item() == pytest.approx(0.005, abs=1e-6)
    assert (novel[0, :3, 2] + novel[2, :3, 2])[:2].abs().max() < 1e-6  # opposite headings


def test_no_novel_views():
    assert novel_poses(poses(), range(8), Cse(novel_views=0), 0).shape == (0, 4, 4)


def test_seen_by_counts_cameras_that_agree_on_the_distance():
    intrinsics = torch.tensor([[4.0, 0, 4], [0, 4, 4], [0, 0, 1]])
    camera = Camera(torch.eye(4), intrinsics, 8, 8)
    other = torch.eye(4)
    other[0, 3] = 100.0  # sees nothing of it
    # One ray straight ahead that meets a surface at distance 2.
    view = ViewWeights(
        torch.zeros(1, 3),
        torch.tensor([[0.0, 0, 1]]),
        torch.tensor([0, 1]),
        torch.tensor([2.0]),
        torch.tensor([1.0]),
    )
    agree, blocked = torch.full((8, 8), 2.05), torch.full((8, 8), 1.0)
    cameras = [camera, camera, Camera(other, intrinsics, 8, 8)]
    surface = surface_points(camera, view)
    assert seen_by(surface, cameras, [agree, blocked, agree]).tolist() == [1]
