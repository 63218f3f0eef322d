"""The page that shows a run: what it hands to the viewer, and the page of the real one."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from asking_fixtures import DESCRIPTION, HEIGHT, write_field
from scipy.spatial.transform import Rotation

from ovnerf.asking import scene_page
from ovnerf.asking.fuse import fuse_points
from ovnerf.asking.run import open_run
from ovnerf.cli import main
from ovnerf.config.points import FusePoints

BOX = {"centre": [1.0, 2.0, 3.0], "size": [0.3, 0.2, 0.1], "quaternion_xyzw": [0.0, 0.0, 0.6, 0.8]}
PHRASE = "</script><b>table</b>"


class Recorder:
    """A scene that keeps what it is given, by name."""

    def __init__(self) -> None:
        self.given: dict[str, dict[str, Any]] = {}
        self.up: tuple[float, ...] = ()

    def set_up_direction(self, up: tuple[float, ...]) -> None:
        self.up = up

    def as_html(self) -> str:
        return "<html>"

    def keep(self, name: str, *values: Any, **named: Any) -> None:
        self.given[name] = {"values": values, **named}

    add_point_cloud = add_camera_frustum = add_box = add_label = keep


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with points."""
    folder = tmp_path_factory.mktemp("run")
    write_field(folder / "semantics")
    settings = FusePoints(min_opacity=0.4, max_spread=0.3)
    fuse_points(folder / "semantics", None, folder / "points.zarr", settings)
    return folder


def write_answers(folder: Path, digest: str) -> Path:
    answer = {
        "phrase": PHRASE,
        "files": "table",
        "instances": [{"score": 0.62, "upright_box": BOX}],
    }
    content = {"points_digest": digest, "up": [0, 0, 1], "answers": [answer]}
    folder.mkdir()
    (folder / "answers.json").write_text(json.dumps(content))
    return folder


def test_the_page_has_points_cameras_and_boxes(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, stopped, hosts = Recorder(), [], []

    def serve(host: str, **_: Any) -> SimpleNamespace:
        hosts.append(host)
        return SimpleNamespace(scene=scene, stop=lambda: stopped.append(True))

    monkeypatch.setattr(scene_page, "viewer", lambda stage: SimpleNamespace(ViserServer=serve))
    points = open_run(made).points
    folder = write_answers(tmp_path / "answers", points.digest)
    answers = scene_page.read_answers(folder, points)
    assert scene_page.scene_page(DESCRIPTION, points, answers, len(points) - 1) == "<html>"
    assert (hosts, stopped, scene.up) == (["127.0.0.1"], [True], (0, 0, 1))
    middle = (points.xyz.min(0) + points.xyz.max(0)) / 2
    place, colour = scene.given["/points/colours"]["values"]
    assert len(place) == len(points) - 1
    index = np.abs(points.xyz[:, None] - middle - place).sum(-1).argmin(0)
    assert len(set(index)) == len(place)
    np.testing.assert_allclose(place, points.xyz[index] - middle, atol=1e-5)
    np.testing.assert_array_equal(colour, points.rgb[index])
    assert not scene.given["/points/classes"]["visible"]
    cameras = [scene.given[f"/cameras/{frame}"] for frame in range(4)]
    assert len({camera["color"] for camera in cameras[1:]}) == 1
    assert cameras[0]["color"] != cameras[1]["color"]  # the held-out one
    for camera, pose in zip(cameras, DESCRIPTION.pose, strict=True):
        turn = Rotation.from_quat(camera["wxyz"], scalar_first=True).as_matrix()
        np.testing.assert_allclose(turn, pose[:3, :3], atol=1e-9)
        np.testing.assert_allclose(camera["position"], pose[:3, 3] - middle)
        assert np.tan(camera["fov"] / 2) == pytest.approx(HEIGHT / 2 / 8)
    box = scene.given["/answers/table/0"]
    assert (box["wxyz"], box["values"][1]) == ((0.8, 0.0, 0.0, 0.6), (0.3, 0.2, 0.1))
    np.testing.assert_allclose(box["position"], BOX["centre"] - middle)
    label = scene.given["/answers/table/0/label"]
    assert (label["values"], label["position"]) == ((f"{PHRASE} 0.62",), (0, 0, 0.05))


def test_a_scene_can_be_shown_at_another_size(made: Path) -> None:
    scene, points, middle = Recorder(), open_run(made).points, np.array([1.0, 2.0, 3.0])
    answers = {"answers": [{"phrase": "a", "files": "a", "instances": [{"score": 1.0}]}]}
    answers["answers"][0]["instances"][0]["upright_box"] = BOX
    scene_page.add_points(scene, points, middle, len(points), 10.0)
    scene_page.add_cameras(scene, DESCRIPTION, middle, 0.03, 10.0)
    scene_page.add_answers(scene, answers, middle, 10.0)
    cloud = scene.given["/points/colours"]
    order = np.random.default_rng(0).choice(len(points), len(points), replace=False)
    expected = 10 * (points.xyz[order] - middle)
    np.testing.assert_allclose(cloud["values"][0], expected, atol=1e-5)
    assert cloud["point_size"] == pytest.approx(10 * points.voxel_size)
    camera, box = scene.given["/cameras/0"], scene.given["/answers/a/0"]
    np.testing.assert_allclose(camera["position"], 10 * (DESCRIPTION.pose[0, :3, 3] - middle))
    assert camera["scale"] == pytest.approx(0.3)
    np.testing.assert_allclose(box["values"][1], (3, 2, 1))
    np.testing.assert_allclose(box["position"], 10 * (np.array(BOX["centre"]) - middle))
    assert scene.given["/answers/a/0/label"]["position"] == (0, 0, pytest.approx(0.5))


def test_the_real_page_holds_everything(made: Path, tmp_path: Path) -> None:
    answers = write_answers(tmp_path / "answers", open_run(made).points.digest)
    out = tmp_path / "view.html"
    arguments = ["write_page", str(made), "--answers", str(answers), "--out", str(out)]
    assert main(arguments) == 0
    page = out.read_text(encoding="utf-8")
    assert "__VISER_EMBED_DATA__" in page and PHRASE not in page
    assert not re.findall(r'(?:src|href)="https?://', page)


def test_without_the_viewer_a_message_says_how_to_get_it(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    out = tmp_path / "view.html"
    assert main(["write_page", str(made), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "expected viser to be installed" in said and "envs/install.py" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "answers.json: no such file"),
        ("{", "not a readable answers.json"),
        ('{"points_digest": "other"}', "found answers of points other, expected"),
    ],
)
def test_answers_of_something_else_are_refused(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture, content: str | None, told: str
) -> None:
    if content is not None:
        (tmp_path / "answers.json").write_text(content)
    arguments = ["--answers", str(tmp_path), "--out", str(tmp_path / "view.html")]
    assert main(["write_page", str(made), *arguments]) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("error:") == 1
