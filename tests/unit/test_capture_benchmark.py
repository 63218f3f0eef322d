"""What `benchmarks.capture --psnr` trains, and how it scores it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import scene_formats
import torch

from benchmarks import capture
from benchmarks.peer_runs import train_ours
from ovnerf.config.field import Reconstruct
from ovnerf.config.frames import MakeRoom
from ovnerf.config.run import read_yaml
from ovnerf.scenes.frames import reader_of
from ovnerf.scenes.layouts import list_scene
from ovnerf.stages import make_room
from ovnerf.storage.provenance import REPOSITORY_ROOT
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import Store, read
from ovnerf.training.reconstruct import Reconstruction

SHORT = {"iterations": 3, "batch_rays": 64, "voxels_start": 1000, "voxels_end": 1000}


def test_held_out_views_of_a_field_by_the_examples_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    room = MakeRoom(seed=1, frames=10, width=160, height=120, supersampling=1)
    make_room.run(out=tmp_path / "room" / "room.json", settings=room)
    asked: list[Reconstruct] = []

    def train(store: Store, settings: Reconstruct, device: torch.device) -> Reconstruction:
        asked.append(settings)
        return train_ours(store, settings.model_copy(update=SHORT), device)

    def ten_off(store: Store, *_: object) -> tuple[dict[str, np.ndarray], float]:
        photos = read(store, "rgb", frame_indices(store, "test"))
        return {"rgb": np.where(photos < 128, photos + 10, photos - 10)}, 0.0

    monkeypatch.setattr(capture, "train_ours", train)
    monkeypatch.setattr(capture, "render_views", ten_off)
    found = capture.held_out_psnr(tmp_path / "room", "replica", None, tmp_path / "frames.zarr")
    example = read_yaml(REPOSITORY_ROOT / "config/example_replica.yaml")
    assert asked == [Reconstruct.model_validate(example["reconstruct"])]
    assert found == pytest.approx(28.1308, abs=1e-3)  # 20 log10(255 / 10)


def test_captured_images_get_the_poses_of_the_frames_they_are(tmp_path: Path):
    """All frames but 0 and 3 were captured; the scene's camera is that of its own files."""
    make_room.run(
        out=tmp_path / "room" / "room.json",
        settings=MakeRoom(seed=1, frames=12, width=40, height=30, supersampling=1),
    )
    listing = list_scene(tmp_path / "room", "replica", None, "")
    true = reader_of(listing).poses(listing)
    images = tmp_path / "captured" / "images"
    images.mkdir(parents=True)
    captured = [number for number in range(12) if number not in (0, 3)]
    for number in captured:
        shutil.copy(listing.images[number], images / f"frame_{number:06d}.png")
    capture.with_true_poses(tmp_path / "captured", listing, true)
    found = list_scene(tmp_path / "captured", "nerfstudio", None, "scannet_20")
    reader = reader_of(found)
    assert np.allclose(reader.poses(found), true[captured])
    assert np.allclose(
        reader.intrinsics(found, 40, 30), reader_of(listing).intrinsics(listing, 40, 30)
    )


def test_captured_poses_are_compared_after_the_best_similarity(tmp_path: Path):
    """The true world is twice as large, on its side and elsewhere, and one direction is 3 degrees
    off: over twelve frames 3 / sqrt(12) = 0.866 degrees RMSE."""
    found = scene_formats.write_colmap(tmp_path, name="frame_{:06d}.png")
    true = scene_formats.poses()
    side = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    true[:, :3, :3] = side @ true[:, :3, :3]
    true[:, :3, 3] = 2 * true[:, :3, 3] @ side.T + (5, -4, 3)
    sine, cosine = np.sin(np.radians(3)), np.cos(np.radians(3))
    true[7, :2, :3] = np.array([[cosine, -sine], [sine, cosine]]) @ true[7, :2, :3]
    said = "; ".join(capture.compare(found, true))
    assert "poses: 12 of 12 frames" in said
    assert "position: 0.0 mm RMSE, 0.0 mm at most" in said
    assert "direction: 0.866 degrees RMSE" in said
    assert "up: 90.00 degrees" in said
    assert "one unit of the capture is 2.000 m" in said
