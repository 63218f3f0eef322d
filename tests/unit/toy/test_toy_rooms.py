"""Rooms: geometry against hand calculations, determinism, the written folder."""

import hashlib
import json

import numpy as np
import pytest

from ovnerf.cli import main
from ovnerf.config.frames import MakeRoom
from ovnerf.runtime.errors import UserError
from ovnerf.stages import make_room
from ovnerf.toy import furniture, rendering, rooms, textures
from ovnerf.toy.rooms import CLASSES, Light, Placed, Room


def box_scene() -> Room:
    """A red table-sized box, 2 wide and 1 high, whose near face is the plane y = 3."""
    part = furniture.Part(
        furniture.box((-1, 0, 0), (1, 1, 1)), textures.plain((0.5, 0.0, 0.0), mottle=0)
    )
    light = Light((0.0, -2.0, 0.5), (1.0, 1.0, 1.0))
    return Room(0, (8, 8, 3), (Placed("table", (part,), (0.0, 3.0, 0.0)),), (light,))


def test_box_covers_the_pixels_it_should() -> None:
    # Camera at (0, 0, 0.5) looks along +y; focal 10 px, principal point (10, 10), face at depth 3:
    # x spans 10 +- 10/3 and y spans 10 +- 5/3, so the pixel centres 7.5..12.5 and 8.5..11.5 hit.
    pose = rendering.look_at(np.array([0, 0, 0.5]), np.array([0, 3, 0.5]))
    intrinsics = np.array([[10, 0, 10], [0, 10, 10], [0, 0, 1.0]])
    view = rendering.render(box_scene(), pose, intrinsics, 20, 20, 1)
    expected = np.zeros((20, 20), bool)
    expected[8:12, 7:13] = True
    np.testing.assert_array_equal(view.label == CLASSES.index("table") + 1, expected)
    np.testing.assert_array_equal(view.instance == 1, expected)
    np.testing.assert_allclose(view.depth[expected], 3.0, atol=1e-5)
    assert (view.rgb[~expected] == 0).all()
    assert (view.rgb[expected][:, 0] > 50).all() and (view.rgb[expected][:, 1:] == 0).all()


def test_a_turned_object_faces_where_its_yaw_says() -> None:
    part = furniture.Part(furniture.box((0, 0, 0), (2, 0.5, 1)), textures.plain((0.5,) * 3))
    scene = Room(0, (8, 8, 3), (Placed("table", (part,), yaw=np.pi / 2),), ())
    low, high = scene.mesh.bounds
    np.testing.assert_allclose(low, (-0.5, 0, 0), atol=1e-12)
    np.testing.assert_allclose(high, (0, 2, 1), atol=1e-12)


def test_shadows_darken_and_only_block_before_the_light() -> None:
    blocker = furniture.Part(furniture.box((-1, -1, 1), (1, 1, 1.1)), textures.plain((0.5,) * 3))
    scene = Room(0, (8, 8, 3), (Placed("table", (blocker,)),), ())
    below = np.array([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    assert rendering.lit_share(scene, below, np.array([0.0, 0.0, 2.0])).tolist() == [False, True]
    assert rendering.lit_share(scene, below, np.array([0.0, 0.0, 0.5])).tolist() == [True, True]


def test_poses_are_rigid_level_and_inside_the_room() -> None:
    room = rooms.build_room(3)
    poses = rendering.camera_path(room, 40)
    rotation = poses[:, :3, :3]
    np.testing.assert_allclose(
        rotation @ rotation.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (40, 3, 3)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0)
    np.testing.assert_allclose(rotation[:, 2, 0], 0.0, atol=1e-12)  # x axis is horizontal
    assert (rotation[:, 2, 1] < 0).all()  # y axis points down
    assert (np.abs(poses[:, :2, 3]) < np.array(room.size[:2]) / 2 - 0.5).all()


def test_cameras_keep_clear_of_furniture() -> None:
    for seed in (0, 1):
        room = rooms.build_room(seed)
        pose = rendering.camera_path(room, 40)
        view = rendering.render(room, pose[7], rendering.default_intrinsics(16, 12), 12, 16, 1)
        assert view.depth.min() > 0.25


@pytest.mark.parametrize("seed", [0, 1, 1000])
def test_rooms_are_closed_and_furnished(seed: int) -> None:
    room = rooms.build_room(seed)
    poses = rendering.camera_path(room, 8)
    views = [
        rendering.render(room, p, rendering.default_intrinsics(32, 24), 24, 32, 1) for p in poses
    ]
    labels = np.stack([view.label for view in views])
    assert (labels > 0).all()
    assert len(np.unique(labels)) >= 9
    assert (labels == CLASSES.index("wall") + 1).mean() < 0.5


def test_same_seed_same_picture_other_seed_other_picture() -> None:
    def picture(seed: int) -> np.ndarray:
        room = rooms.build_room(seed)
        pose = rendering.camera_path(room, 4)[1]
        return rendering.render(room, pose, rendering.default_intrinsics(32, 24), 24, 32, 2).rgb

    np.testing.assert_array_equal(picture(5), picture(5))
    assert (picture(5) != picture(6)).any()


def test_written_room(tmp_path) -> None:
    settings = MakeRoom(seed=2, frames=3, width=32, height=24, supersampling=1)
    summary = make_room.run(out=tmp_path / "a/room.json", settings=settings)
    make_room.run(out=tmp_path / "b/room.json", settings=settings)
    assert summary["frames"] == 3
    text = (tmp_path / "a/room.json").read_text()
    assert text == (tmp_path / "b/room.json").read_text()
    files = json.loads(text)["files"]
    assert len(files) == 3 * 4 + 2
    for name, digest in files.items():
        assert hashlib.sha256((tmp_path / "a" / name).read_bytes()).hexdigest() == digest
    classes = (tmp_path / "a/classes.txt").read_text().split("\n")
    assert classes[0] == "void" and classes[1:-1] == sorted(CLASSES) and classes[-1] == ""
    intrinsics = np.loadtxt(tmp_path / "a/intrinsics.txt")
    np.testing.assert_array_equal(intrinsics, rendering.default_intrinsics(32, 24))
    pose = np.loadtxt(tmp_path / "a/pose_300/pose_002.txt")
    np.testing.assert_array_equal(pose, rendering.camera_path(rooms.build_room(2), 3)[2])
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


TINY = MakeRoom(seed=2, frames=2, width=32, height=24, supersampling=1)


def test_a_room_replaces_a_room_with_more_frames_and_without_its_summary(tmp_path) -> None:
    for frames in (3, 2):
        settings = TINY.model_copy(update={"frames": frames}).model_dump_json()
        out = tmp_path / "room/room.json"
        assert main(["make_room", "--out", str(out), "--settings", settings]) == 0
        assert len(list((tmp_path / "room/rgb_300").iterdir())) == frames
        out.unlink()  # as Snakemake does before it makes the room again
    assert not [path for path in (tmp_path / "room").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("mine", ["thesis.txt", "precious/thesis.txt", "room/rgb_300/mine.png"])
def test_a_room_replaces_nothing_of_a_persons(tmp_path, mine: str) -> None:
    if mine.startswith("room/"):
        make_room.run(out=tmp_path / "room/room.json", settings=TINY)
    (tmp_path / mine).parent.mkdir(exist_ok=True)
    (tmp_path / mine).write_text("mine")
    out = tmp_path / mine.partition("/")[0] if "/" in mine else tmp_path
    with pytest.raises(UserError, match=r"found (\w+/)?(thesis.txt|mine.png), not made by"):
        make_room.run(out=out / "room.json", settings=TINY)
    assert (tmp_path / mine).read_text() == "mine"


def test_a_scene_of_the_same_layout_is_no_room(tmp_path) -> None:
    make_room.run(out=tmp_path / "scene/room.json", settings=TINY)
    (tmp_path / "scene/classes.txt").write_text("void\nchair\n")
    with pytest.raises(UserError, match=r"scene: found classes\.txt, .* and more"):
        make_room.run(out=tmp_path / "scene/room.json", settings=TINY)
    assert (tmp_path / "scene/classes.txt").read_text() == "void\nchair\n"


def test_a_room_is_named_by_its_file(tmp_path, capsys) -> None:
    """The folder of `--out` is replaced, so a folder given there would name the wrong one."""
    assert main(["make_room", "--out", str(tmp_path / "room")]) == 2
    said = capsys.readouterr().err
    assert "room: found the name room, expected room.json, whose folder becomes the room" in said
    assert f"write {tmp_path / 'room/room.json'}" in said and not list(tmp_path.iterdir())
