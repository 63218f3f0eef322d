"""A whole capture of a tiny textured room, and captures that COLMAP can do nothing with."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from capture_fixtures import picture, turn, walk, write_photos, write_video

from ovnerf.capture import making
from ovnerf.config.capture import Capture
from ovnerf.runtime.errors import Stopped, UserError
from ovnerf.scenes.frames import native_camera, reader_of
from ovnerf.scenes.layouts import list_scene

SETTINGS = Capture(features=800)
FEWER = Capture(features=400)
WALK = walk(10)


def stopped(*_: object) -> None:
    raise Stopped("stopped")


def never(*_: object) -> None:
    raise AssertionError("work that was done is done again")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video captured by two processes, the first of which was stopped before the matches."""
    folder = tmp_path_factory.mktemp("capture")
    video = write_video(folder / "walk.mp4", [picture(pose) for pose in WALK])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "add_matches", stopped)
        with pytest.raises(Stopped):
            making.make(video, folder / "scene", SETTINGS)
    assert not (folder / "scene").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "look_at", never)
        making.make(video, folder / "scene", SETTINGS)
    assert sorted(path.name for path in folder.iterdir()) == ["scene", "walk.mp4"]
    return folder / "scene"


def poses(scene: Path) -> np.ndarray:
    listing = list_scene(scene, "colmap", None, "nyu_40")
    return reader_of(listing).poses(listing)


def similarity(found: np.ndarray, true: np.ndarray) -> tuple[float, np.ndarray]:
    """Scale and world rotation by the first camera: independent of the fit of all centres."""
    turned = true[0, :3, :3] @ found[0, :3, :3].T
    spread = [
        np.linalg.norm(each[:, :3, 3] - each[0, :3, 3], axis=1).sum() for each in (true, found)
    ]
    return spread[0] / spread[1], turned


def test_our_reader_reads_the_poses_of_the_cameras_that_filmed(scene: Path) -> None:
    found, true = poses(scene), np.array(WALK)
    assert found.shape == (10, 4, 4)
    scale, turned = similarity(found, true)
    moved = scale * (found[:, :3, 3] - found[0, :3, 3]) @ turned.T
    away = np.linalg.norm(moved - (true[:, :3, 3] - true[0, :3, 3]), axis=1)
    assert np.sqrt((away**2).mean()) < 0.015  # of a path of 1.1 m, from 240x180 pixels
    size, camera = native_camera(list_scene(scene, "colmap", None, "nyu_40"))
    assert size == (180, 240)
    assert camera[0, 0] == pytest.approx(190, rel=0.02)


def test_up_is_up_and_walls_run_along_the_axes(scene: Path) -> None:
    _, turned = similarity(poses(scene), np.array(WALK))
    assert np.degrees(np.arccos(turned[2, 2])) < 1.5
    # A quarter turn about z brings each horizontal axis onto one of the room's.
    assert np.abs(turned[:2, :2]).max(1) == pytest.approx(1, abs=2e-3)


def test_the_report_says_what_was_found(scene: Path) -> None:
    report = json.loads((scene / "report.json").read_text())
    assert (report["photos"], report["registered"], report["metric"]) == (10, 10, False)
    assert report["reprojection_error_pixels"] < 0.6
    assert "10 of 10 photos have a pose" in (scene / "report.txt").read_text()
    assert (scene / "report.png").stat().st_size > 10_000


def test_one_known_distance_gives_metres_without_a_second_reconstruction(
    scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two points of the model, by their pixels, and how far apart they are in the room."""
    model = pycolmap.Reconstruction(scene / "sparse/0")
    scale, _ = similarity(poses(scene), np.array(WALK))
    photo = min(model.images.values(), key=lambda image: image.name)
    seen = sorted(photo.get_observation_points2D(), key=lambda point: point.xy[0])
    ends = [seen[0], seen[-1]]
    apart = np.linalg.norm(np.subtract(*(model.points3D[each.point3D_id].xyz for each in ends)))
    first, second = ((photo.name, *map(float, each.xy)) for each in ends)
    distance = {"first": first, "second": second, "metres": scale * float(apart)}
    (scene / "classes.txt").write_text("wall\n")
    (scene / "masks/mine").mkdir(parents=True)
    (scene / "masks/mine/0.png").write_text("a mask")
    (scene / "linked").symlink_to("masks")
    monkeypatch.setattr(making, "reconstruct", never)
    settings = Capture(features=800, distance=distance)  # type: ignore[arg-type]
    report = making.make(scene.parent / "walk.mp4", scene, settings)
    assert report["metric"]
    assert similarity(poses(scene), np.array(WALK))[0] == pytest.approx(1, rel=1e-6)
    assert (scene / "classes.txt").read_text() == "wall\n"
    assert (scene / "masks/mine/0.png").read_text() == "a mask"
    assert (scene / "linked").readlink() == Path("masks")


def test_a_distance_between_what_is_not_there_is_refused(scene: Path) -> None:
    distance = {"first": ("frame_000000.jpg", 3, 3), "second": ("other.jpg", 3, 3), "metres": 1}
    settings = Capture(features=800, distance=distance)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"no photo other.jpg|no reconstructed point near"):
        making.make(scene.parent / "walk.mp4", scene, settings)


def test_photos_are_copied_where_files_cannot_have_two_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    (tmp_path / "a.jpg").write_bytes(b"a photo")
    making.link_or_copy(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert (tmp_path / "b.jpg").read_bytes() == b"a photo"
    with pytest.raises(FileNotFoundError):
        making.link_or_copy(tmp_path / "none.jpg", tmp_path / "c.jpg")


def test_what_is_no_capture_is_not_replaced(scene: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a/precious.txt").write_text("mine")
    (tmp_path / "b/report.json").write_text("[1, 2]")  # of another program
    for out in (tmp_path / "a", tmp_path / "b", scene.parent):
        with pytest.raises(UserError, match=r"no capture|around it"):
            making.make(scene.parent / "walk.mp4", out, SETTINGS)


def test_photos_may_be_called_what_a_list_of_pairs_cannot_hold(tmp_path: Path) -> None:
    """Blanks part the names of COLMAP's pair lists, and `#` begins a comment in them."""
    photos = write_photos(tmp_path / "photos", [picture(pose) for pose in WALK])
    names = ["#1.png", "IMG_1 (2).png", " 100%20 sure.png"]
    for old, new in zip(sorted(photos.iterdir()), names, strict=False):
        old.rename(photos / new)
    report = making.make(photos, tmp_path / "scene", FEWER)
    assert (report["photos"], report["registered"]) == (10, 10)
    expected = sorted(path.name for path in photos.iterdir())
    assert sorted(path.name for path in (tmp_path / "scene/images").iterdir()) == expected
    listing = list_scene(tmp_path / "scene", "colmap", None, "nyu_40")
    assert len(listing.names) == 10 and np.isfinite(reader_of(listing).poses(listing)).all()


def test_a_camera_that_turns_on_the_spot_is_told_to_walk(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", [picture(pose) for pose in turn(8)])
    with pytest.raises(UserError, match="turned on the spot") as caught:
        making.make(photos, tmp_path / "scene", FEWER)
    assert "walk sideways" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_two_rooms_without_the_way_between_are_told_apart(tmp_path: Path) -> None:
    views = [picture(pose, room) for room in (0, 1) for pose in WALK[::2]]
    photos = write_photos(tmp_path / "photos", views)
    with pytest.raises(UserError, match="2 parts that could not be joined") as caught:
        making.make(photos, tmp_path / "scene", FEWER)
    parts = "photo_00.png to photo_04.png (5) and photo_05.png to photo_09.png (5)"
    assert parts in caught.value.message
