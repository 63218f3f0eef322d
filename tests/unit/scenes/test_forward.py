"""Forward-facing scenes: recentring without a mirror, and the store that training reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scene_formats
import torch
from scene_folders import HEIGHT, WIDTH, camera_at, intrinsics
from scene_formats import FRAMES

from ovnerf.cameras import Ndc
from ovnerf.config import ReadTruth, SampleFrames
from ovnerf.errors import UserError
from ovnerf.field.rendering import Camera, ViewWeights
from ovnerf.field.sampling import box_entry_exit
from ovnerf.scenes.forward import average_camera, forward_facing
from ovnerf.scenes.frames import read_frames
from ovnerf.scenes.layouts import list_scene
from ovnerf.splits import frame_indices
from ovnerf.stages import read_truth, sample_frames
from ovnerf.stores import open_store, read
from ovnerf.training.data import load_photos, scene_box

NEAR = 0.5
"""Nearest bound of `scene_formats.write_llff`."""


def scene(folder: Path, held_out: str = "none") -> tuple:
    listing = list_scene(scene_formats.write_llff(folder), "llff")
    return listing, read_frames(listing, None, None, 10, held_out)


def published_recentring(pose: np.ndarray) -> np.ndarray:
    """Poses (n, 3, 4) after the published recentring and scaling (method 1.3), word by word."""
    opengl = pose @ np.diag([1.0, -1, -1, 1])
    z = opengl[:, :3, 2].mean(0)
    z /= np.linalg.norm(z)
    x = np.cross(z, opengl[:, :3, 1].mean(0))
    x /= np.linalg.norm(x)
    average = np.eye(4)
    average[:3] = np.stack([x, np.cross(x, z), z, opengl[:, :3, 3].mean(0)], 1)
    recentred = np.linalg.inv(average) @ opengl
    recentred[:, :3, 3] /= 0.75 * NEAR
    return recentred


def test_the_average_camera_becomes_the_origin(tmp_path):
    listing, frames = scene(tmp_path / "scene")
    moved, box = forward_facing(listing, frames)
    assert np.allclose(average_camera(moved.pose), np.eye(4), atol=1e-12)
    assert np.allclose(np.linalg.det(moved.pose[:, :3, :3]), 1)
    assert box.similarity.scale == pytest.approx(1 / (0.75 * NEAR))
    assert box.in_scene() == [[-2, -2, -1], [2, 2, 1]]
    # Distances between cameras are those of the file: nothing but a rigid motion.
    gaps = [np.linalg.norm(np.diff(p[:, :3, 3], axis=0), axis=1) for p in (frames.pose, moved.pose)]
    np.testing.assert_allclose(*gaps, atol=1e-12)


def test_the_published_world_is_ours_mirrored(tmp_path):
    listing, frames = scene(tmp_path / "scene")
    moved, box = forward_facing(listing, frames)
    published = published_recentring(frames.pose)
    assert np.allclose(np.linalg.det(published[:, :3, :3]), -1)
    scaled = box.similarity.poses(torch.from_numpy(moved.pose)).numpy()
    np.testing.assert_allclose(published[:, :3, 3], -scaled[:, :3, 3], atol=1e-9)
    # Optical axis: minus the published z column, in a world with all axes reversed.
    np.testing.assert_allclose(published[:, :3, 2], scaled[:, :3, 2], atol=1e-9)


def test_cameras_that_look_apart_are_refused(tmp_path):
    listing, frames = scene(tmp_path / "scene")
    frames.pose[3] = camera_at(0.1, 0.1, 1.7)
    with pytest.raises(UserError, match=r"frame 03 has rays \d+ degrees off"):
        forward_facing(listing, frames)


def test_layouts_without_bounds_are_refused(tmp_path):
    folder = scene_formats.write_nerfstudio(tmp_path / "scene")
    settings = SampleFrames(layout="nerfstudio", box="ndc")
    with pytest.raises(UserError, match="expected llff, whose poses come with near and far"):
        sample_frames.run(folder=folder, out=tmp_path / "frames.zarr", settings=settings)
    assert not (tmp_path / "frames.zarr").exists()


@pytest.fixture
def stores(tmp_path) -> tuple[Path, Path]:
    """Frames and truth of a 3DOVS scene with the published split."""
    folder = scene_formats.write_llff(tmp_path / "scene")
    frames, truth = tmp_path / "frames.zarr", tmp_path / "truth.zarr"
    settings = SampleFrames(layout="llff", held_out="none", box="ndc")
    found = sample_frames.run(folder=folder, out=frames, settings=settings)
    assert (found["train"], found["box"]) == (FRAMES, "ndc")
    settings = ReadTruth(layout="llff")
    read_truth.run(folder=folder, frames=frames, out=truth, settings=settings)
    return frames, truth


def test_the_published_split_trains_on_all_and_scores_the_labelled(stores):
    group = open_store(stores[0], "frames")
    assert read(group, "split").tolist() == [2, 0, 0, 0, 2, *[0] * 7]
    assert frame_indices(group, "train") == list(range(FRAMES))
    assert frame_indices(group, "test") == [0, 4]


def test_training_sees_warped_rays_that_cross_the_box(stores):
    group = open_store(stores[0], "frames")
    assert group.attrs["space"] == "ndc"
    photos = load_photos(group, frame_indices(group, "train"))
    assert photos.ndc == Ndc((2 * intrinsics()[0, 0] / WIDTH, 2 * intrinsics()[1, 1] / HEIGHT))
    origin, direction = photos.camera(5).rays()
    torch.testing.assert_close(origin[:, 2], torch.full((HEIGHT * WIDTH,), -1.0))
    entry, leave = box_entry_exit(origin, direction, scene_box(group))
    assert (leave > entry).all()
    drawn = photos.rays(torch.tensor([5]), torch.tensor([2]), torch.tensor([3]))
    torch.testing.assert_close(drawn[0][0], origin[2 * WIDTH + 3])
    torch.testing.assert_close(drawn[1][0], direction[2 * WIDTH + 3])


def test_depth_is_measured_before_the_warp():
    """A surface at z = 3 before two cameras comes back there."""
    camera = Camera(torch.eye(4), torch.from_numpy(intrinsics()).float(), 2, 2, Ndc((1.5, 2.0)))
    camera.pose[0, 3] = 0.25
    origin, direction = camera.rays()
    distance = (1 - 2 / 3 - (-1)) / direction[:, 2]
    one = torch.ones(4)
    view = ViewWeights(origin, direction, torch.arange(5), distance, one)
    surface = camera.surface(view)
    torch.testing.assert_close(surface[:, 2], torch.full((4,), 3.0))
    expected = (surface - camera.pose[:3, 3]).norm(dim=-1)
    torch.testing.assert_close(camera.distance(view), expected)
    empty = ViewWeights(origin, direction, torch.zeros(5, dtype=torch.long), one[:0], one[:0])
    assert (camera.distance(empty) == 0).all()
