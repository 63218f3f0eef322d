"""Forward-facing scenes: recentring without a mirror, and the store that training reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scene_formats
import torch
from PIL import Image
from scene_folders import HEIGHT, WIDTH, camera_at, intrinsics
from scene_formats import FRAMES

from ovnerf.config.field import Reconstruct
from ovnerf.config.frames import ReadTruth, SampleFrames
from ovnerf.evaluation.metrics import psnr
from ovnerf.field.rendering import (
    ViewWeights,
    render_rgb,
    surface_distance,
    surface_points,
    to_uint8,
    view_weights,
)
from ovnerf.field.sampling import box_entry_exit
from ovnerf.geometry.camera import Camera
from ovnerf.geometry.rays import Ndc
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.forward import average_camera, forward_facing
from ovnerf.scenes.frames import read_frames
from ovnerf.scenes.layouts import list_scene
from ovnerf.stages import read_truth, sample_frames
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import open_store, read
from ovnerf.training.data import load_photos, scene_box
from ovnerf.training.reconstruct import Reconstruction

NEAR = 0.5
"""Nearest bound of `scene_formats.write_llff`."""


def scene(folder: Path, held_out: str = "none") -> tuple:
    listing = list_scene(scene_formats.write_llff(folder), "llff")
    return listing, read_frames(listing, None, None, 10, held_out)


def published_recentring(pose: np.ndarray) -> np.ndarray:
    """Poses (n, 3, 4) after the published recentring and scaling, word by word."""
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
    scaled = box.similarity.poses(moved.pose)
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
    surface = surface_points(camera, view)
    torch.testing.assert_close(surface[:, 2], torch.full((4,), 3.0))
    expected = (surface - camera.pose[:3, 3]).norm(dim=-1)
    torch.testing.assert_close(surface_distance(camera, view), expected)
    empty = ViewWeights(origin, direction, torch.zeros(5, dtype=torch.long), one[:0], one[:0])
    assert (surface_distance(camera, empty) == 0).all()


def two_walls(pose: np.ndarray) -> np.ndarray:
    """u8 (48, 64, 3): a striped disc two units ahead before a striped wall eight units ahead."""
    row, column = np.mgrid[:48, :64] + 0.5
    local = np.stack([(column - 32) / 60, (row - 24) / 60, np.ones_like(row)], -1)
    ray = local @ pose[:3, :3].T

    def meets(depth: float) -> np.ndarray:
        return pose[:3, 3] + (depth - pose[2, 3]) / ray[..., 2:] * ray

    def stripes(point: np.ndarray, pitch: float) -> np.ndarray:
        x, y = point[..., 0] * pitch, point[..., 1] * pitch
        return 128 + 100 * np.stack([np.sin(x), np.sin(y), np.cos(x + y)], -1)

    disc = np.linalg.norm(meets(2)[..., :2], axis=-1) < 0.35
    return np.where(disc[..., None], stripes(meets(2), 9), stripes(meets(8), 2)).astype(np.uint8)


@pytest.mark.slow
def test_a_field_learns_near_and_far_in_warped_coordinates(tmp_path):
    """From files to rendered depth, in a world whose axes are not the cameras'."""
    random = np.random.default_rng(0)
    turn = np.eye(4)
    turn[:3, :3] = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    turn[:3, 3] = (3, 1, 2)
    (tmp_path / "scene/images").mkdir(parents=True)
    (tmp_path / "scene/classes.txt").write_text("disc\nwall\n")
    rows = []
    for index in range(12):
        pose = np.eye(4)
        pose[:3, 3] = random.uniform(-0.3, 0.3, 3) * (1, 1, 0.1)
        Image.fromarray(two_walls(pose)).save(tmp_path / f"scene/images/{index:02d}.png")
        right, down, forward, centre = (turn @ pose)[:3].T
        matrix = np.stack([down, right, -forward, centre, (48, 64, 60)], 1)
        rows.append([*matrix.ravel(), 1.9, 9])
    np.save(tmp_path / "scene/poses_bounds.npy", np.array(rows))
    frames = tmp_path / "frames.zarr"
    settings = SampleFrames(layout="llff", box="ndc")
    sample_frames.run(folder=tmp_path / "scene", out=frames, settings=settings)
    group = open_store(frames, "frames")
    short = Reconstruct(
        iterations=250,
        batch_rays=512,
        voxels_start=32**3,
        voxels_end=64**3,
        density_ranks=(8, 8, 8),
        appearance_ranks=(8, 8, 8),
        head_width=16,
        learning_rate_head=3e-3,
        tv_density=0.1,
        tv_appearance=0.1,
    )
    photos = load_photos(group, frame_indices(group, "train"))
    run = Reconstruction(photos, scene_box(group), short, torch.device("cpu"))
    while run.iteration < short.iterations:
        run.step()
    held_out = load_photos(group, frame_indices(group, "all")[:1])
    camera = held_out.camera(0)
    view = view_weights(run.field, camera)
    image = to_uint8(render_rgb(run.field, view), 48, 64).numpy()
    assert psnr(held_out.rgb[0].numpy(), image) > 20
    depth = surface_distance(camera, view).view(48, 64) / group.attrs["similarity"]["scale"]
    centre, corner = depth[22:26, 30:34].median(), depth[:4, :4].median()
    assert float(centre) == pytest.approx(2, rel=0.1)
    assert float(corner) == pytest.approx(8 * 1.18, rel=0.2)
