"""Camera paths and the films along them, read back by OpenCV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from asking_fixtures import DESCRIPTION, HEIGHT, WIDTH, write_field
from scipy.spatial.transform import Rotation

from ovnerf.asking.camera_path import (
    STEPS,
    CameraPath,
    PathCamera,
    camera_path_json,
    interpolated,
    read_camera_path,
)
from ovnerf.asking.run import open_run
from ovnerf.asking.video import of_even_size, path_camera
from ovnerf.cli import main

PATH = CameraPath([PathCamera(pose, 1.0) for pose in DESCRIPTION.pose[:3]], 48, 64, 12.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small field, whose rooms are centimetres and whose views are 48 x 64."""
    folder = tmp_path_factory.mktemp("run")
    write_field(folder / "semantics")
    return folder


def written(folder: Path, content: object) -> Path:
    """A file with this JSON."""
    path = folder / "path.json"
    path.write_text(json.dumps(content))
    return path


def test_a_path_is_nerfstudios() -> None:
    pose = np.eye(4)
    pose[:3, 3] = [1, 2, 3]
    content = camera_path_json(CameraPath([PathCamera(pose, np.pi / 3)] * 12, 480, 640, 24))
    frame = content["camera_path"][0]
    assert frame["camera_to_world"] == [1, 0, 0, 1, 0, -1, 0, 2, 0, 0, -1, 3, 0, 0, 0, 1]
    assert frame["fov"] == pytest.approx(60) and frame["aspect"] == pytest.approx(4 / 3)
    assert (content["render_height"], content["render_width"]) == (480, 640)
    assert content["seconds"] == 0.5


def test_what_was_written_is_read(tmp_path: Path) -> None:
    found = read_camera_path(written(tmp_path, camera_path_json(PATH)))
    assert (found.height, found.width, found.fps) == (48, 64, 12.0)
    for one, other in zip(found.cameras, PATH.cameras, strict=True):
        np.testing.assert_allclose(one.pose, other.pose, atol=1e-12)
        assert one.fov == pytest.approx(other.fov)
    # Half the height at the tangent of half the angle.
    assert found.intrinsics(0)[0, 0] == pytest.approx(24 / np.tan(0.5))
    assert found.intrinsics(0)[:2, 2].tolist() == [32, 24]


def test_cameras_of_a_scene_are_a_path(tmp_path: Path) -> None:
    matrix = (DESCRIPTION.pose[1] * [1, -1, -1, 1]).tolist()
    content = {"w": 64, "h": 48, "fl_y": 24.0, "frames": [{"transform_matrix": matrix}]}
    found = read_camera_path(written(tmp_path, content))
    np.testing.assert_allclose(found.cameras[0].pose, DESCRIPTION.pose[1], atol=1e-12)
    assert found.cameras[0].fov == pytest.approx(np.pi / 2)


def test_each_camera_of_a_scene_keeps_its_centre_and_focal_lengths(
    run: Path, tmp_path: Path
) -> None:
    matrix = (DESCRIPTION.pose[1] * [1, -1, -1, 1]).tolist()
    frames = [{"transform_matrix": matrix}, {"transform_matrix": matrix, "cx": 300.0, "fl_x": 700}]
    camera = {"w": 640, "h": 480, "fl_x": 500, "fl_y": 600, "cx": 200, "cy": 100, "k1": 0.0}
    found = read_camera_path(written(tmp_path, {**camera, "frames": frames}))
    assert found.intrinsics(0).tolist() == [[500, 0, 200], [0, 600, 100], [0, 0, 1]]
    assert found.intrinsics(1).tolist() == [[700, 0, 300], [0, 600, 100], [0, 0, 1]]
    # The rendered rays follow: a pixel centre lies half a pixel beside the principal point.
    opened = open_run(run)
    made = path_camera(opened, found, 0)
    _, direction = made.rays()
    column, row = 200, 100
    axis = made.pose[:3, :3] @ torch.tensor([0.5 / 500, 0.5 / 600, 1.0])
    torch.testing.assert_close(direction.view(480, 640, 3)[row, column], axis / axis.norm())


def test_between_key_frames_the_camera_turns_and_moves_evenly() -> None:
    first, second = np.eye(4), np.eye(4)
    second[:3, :3] = Rotation.from_euler("y", 90, degrees=True).as_matrix()
    second[:3, 3] = [4, 0, 0]
    found = interpolated([PathCamera(first, 1.0), PathCamera(second, 2.0)])
    assert len(found) == STEPS + 1
    middle = found[STEPS // 2]
    half = Rotation.from_euler("y", 45, degrees=True).as_matrix()
    np.testing.assert_allclose(middle.pose[:3, :3], half, atol=1e-12)
    assert middle.pose[:3, 3].tolist() == [2, 0, 0] and middle.fov == 1.5
    np.testing.assert_allclose(found[-1].pose, second, atol=1e-12)
    assert interpolated([PathCamera(first, 1.0)])[0].pose is first


def changed(**changes: Any) -> dict[str, Any]:
    """The path as JSON, its first camera changed."""
    content = camera_path_json(PATH)
    content["camera_path"][0] |= changes
    return content


FAR_AWAY = (DESCRIPTION.pose[0] * [1, -1, -1, 1]).tolist()
FAR_AWAY[0][3] = 1e5


def scene_camera(**changes: Any) -> dict[str, Any]:
    """A `transforms.json` of two frames, changed."""
    frames = [{"transform_matrix": (pose * [1, -1, -1, 1]).tolist()} for pose in DESCRIPTION.pose]
    return {"w": 64, "h": 48, "fl_x": 50.0, "fl_y": 50.0, "frames": frames[:2], **changes}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (scene_camera(k1=-0.1), "frame 0: found lens distortion (-0.1, 0.0, 0.0, 0.0, 0.0)"),
        (scene_camera(camera_model="OPENCV_FISHEYE"), "found camera_model OPENCV_FISHEYE"),
        (scene_camera(k4=0.1), "found k4 0.1"),
        (scene_camera(fl_x=-5.0), "camera 0"),
        (scene_camera(cx=float("nan")), "camera 0"),
        (scene_camera(frames=[]), "without cameras"),
        (
            scene_camera(frames=[scene_camera()["frames"][0], {"w": 32}]),
            "found frames of 64 x 48, 32 x 48 pixels",
        ),
        ([1, 2], "found no camera path"),
        ({}, "found no camera path"),
        ({**camera_path_json(PATH), "camera_path": []}, "without cameras"),
        ({**camera_path_json(PATH), "camera_type": "equirectangular"}, "equirectangular"),
        ({**camera_path_json(PATH), "render_width": 0}, "0 x 48 pixels"),
        (changed(fov=190), "camera 0"),
        (changed(fov=float("nan")), "camera 0"),
        (changed(camera_to_world=[0.0] * 16), "camera 0"),
        (changed(camera_to_world=[1.0] * 15), "found no camera path"),
        (changed(camera_to_world=np.array(FAR_AWAY).flatten().tolist()), "camera 0 sees nothing"),
    ],
)
def test_a_bad_path_is_one_message_and_nothing_is_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: object, words: str
) -> None:
    path, out = written(tmp_path, content), tmp_path / "out"
    settings = json.dumps({"products": ["video"]})
    asked = ["export", str(run), "--out", str(out), "--path", str(path), "--settings", settings]
    assert main(asked) == 2
    said = capsys.readouterr().err
    assert said.count("error: ") == 1 and str(path) in said and words in said
    assert not out.exists() and not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"products": ["video"]}, "--path"),
        ({"products": ["video"], "video_shows": ["relevancy"]}, "empty phrase"),
    ],
)
def test_a_film_without_path_or_phrase_is_refused(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, Any],
    words: str,
) -> None:
    asked = ["export", str(run), "--out", str(tmp_path / "out")]
    if "video_shows" in settings:
        asked += ["--path", str(written(tmp_path, camera_path_json(PATH)))]
    assert main([*asked, "--settings", json.dumps(settings)]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_picture_of_odd_size_repeats_its_last_row_and_column() -> None:
    odd = np.array([[[1], [2], [3]]], np.uint8)
    assert of_even_size(odd)[..., 0].tolist() == [[1, 2, 3, 3], [1, 2, 3, 3]]
    even = np.zeros((2, 4, 3), np.uint8)
    assert of_even_size(even).shape == (2, 4, 3)


def test_a_film_of_odd_size_loses_nothing(run: Path, tmp_path: Path) -> None:
    """47 x 63 pixels are one row and one column short of even numbers."""
    path = CameraPath(PATH.cameras[:1], 47, 63, 12.0)
    out = tmp_path / "out"
    asked = ["export", str(run), "--out", str(out)]
    asked += ["--path", str(written(tmp_path, camera_path_json(path)))]
    settings = {"products": ["video"], "video_shows": ["colour"]}
    assert main([*asked, "--settings", json.dumps(settings)]) == 0
    there, frame = cv2.VideoCapture(str(out / "video.mp4")).read()
    assert there and frame.shape == (48, 64, 3)


def test_a_path_that_no_product_follows_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = written(tmp_path, camera_path_json(PATH)), tmp_path / "out"
    asked = ["export", str(run), "--out", str(out), "--path", str(path)]
    assert main([*asked, "--settings", '{"products": ["cloud", "mesh"]}']) == 2
    said = capsys.readouterr().err
    assert f"--path: found {path} with the products cloud, mesh, expected `video`" in said
    assert not out.exists()


def test_a_film_shows_the_views_beside_each_other(run: Path, tmp_path: Path) -> None:
    settings = {
        "products": ["video"],
        "video_shows": ["colour", "labels", "relevancy"],
        "video_phrase": "table",
    }
    path = CameraPath(PATH.cameras, HEIGHT * 8, WIDTH * 8, 12.0)
    file = written(tmp_path, camera_path_json(path))
    out = tmp_path / "out"
    asked = ["export", str(run), "--out", str(out), "--path", str(file)]
    assert main([*asked, "--settings", json.dumps(settings)]) == 0
    film = cv2.VideoCapture(str(out / "video.mp4"))
    assert film.get(cv2.CAP_PROP_FPS) == 12 and film.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    opened = open_run(run)
    for index in range(3):
        there, frame = film.read()
        assert there and frame.shape == (HEIGHT * 8, WIDTH * 8 * 3, 3)
        colour = frame[:, : WIDTH * 8, ::-1].astype(float)
        camera = opened.description.pose[index]
        small = opened.render(camera).rgb.astype(float)
        # Another field of view and a lossy film: the same picture in the large.
        assert abs(colour.mean() - small.mean()) < 25
        assert not np.array_equal(frame[:, : WIDTH * 8], frame[:, WIDTH * 8 : WIDTH * 16])
    assert not film.read()[0]
