"""Recognising a folder and saying what is in it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import scene_formats
from outside_scenes import SCENES, needs
from PIL import Image
from scene_folders import (
    HEIGHT,
    WIDTH,
    camera_at,
    hand_held,
    intrinsics,
    matrix_text,
    textured_room,
    write_replica,
    write_semantic_nerf,
)

from ovnerf.cli import main
from ovnerf.inspection.overview import (
    class_shares,
    look,
    overlaps,
    recognise,
    report,
    up_axis,
    warnings_of,
)
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.layouts import LAYOUTS

WRITERS = {
    "replica": write_replica,
    "semantic_nerf": write_semantic_nerf,
    "nice_slam": scene_formats.write_nice_slam,
    "scannet": scene_formats.write_scannet,
    "llff": scene_formats.write_llff,
    "colmap": scene_formats.write_colmap,
    "nerfstudio": scene_formats.write_nerfstudio,
}


def test_every_layout_has_a_writer_here():
    assert set(WRITERS) == set(LAYOUTS)


@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_is_recognised(tmp_path, layout):
    listing, also = recognise(WRITERS[layout](tmp_path / "scene"))
    assert (listing.layout, also) == (layout, ())


def test_a_colmap_model_is_preferred_to_llff_poses_without_masks(tmp_path):
    folder = scene_formats.write_colmap(tmp_path / "scene")
    other = scene_formats.write_llff(tmp_path / "other")
    shutil.copy(other / "poses_bounds.npy", folder)
    listing, also = recognise(folder)
    assert (listing.layout, also) == ("colmap", ("llff",))


def test_a_foreign_folder_is_told_what_each_layout_lacks(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError) as caught:
        recognise(tmp_path)
    for layout in LAYOUTS:
        assert f"\n  {layout}: {tmp_path}" in caught.value.message
    assert "scannet" in caught.value.message
    assert "found no folder color and 0 .sens files" in caught.value.message


def test_up_is_where_the_cameras_have_it():
    level = np.stack([camera_at(0, 0, yaw) for yaw in (0, 1, 2)])
    assert up_axis(level) == (2, 1)
    turned = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]) @ level
    assert up_axis(turned) == (1, -1)


def test_overlap_of_two_views():
    # A camera moved sideways by a quarter of the width it sees at this depth shares 3/4.
    depth = 4.0
    step = depth * WIDTH / intrinsics()[0, 0] / 4
    pose = np.stack([camera_at(0), camera_at(0, -step)])
    share = overlaps(pose, intrinsics(), (HEIGHT, WIDTH), depth)
    assert np.allclose(share, [[1, 0.75], [0.75, 1]])
    back = np.stack([camera_at(0), camera_at(0, yaw=np.pi)])
    assert overlaps(back, intrinsics(), (HEIGHT, WIDTH), depth)[0, 1] == 0


def test_class_shares_and_report(tmp_path):
    folder = write_replica(tmp_path / "scene")
    overview = look(folder)
    shares = class_shares(overview)
    assert sum(shares.values()) == pytest.approx(100)
    assert shares["void"] == pytest.approx(100 / WIDTH)
    text = "\n".join(report(overview))
    assert "layout replica" in text
    assert "frames: 12, rgb_000 to rgb_011" in text
    assert f"photos: {WIDTH}x{HEIGHT}, 56.1 degrees across" in text
    assert "up is about +z" in text
    assert "labels: on 12 of 12 frames; " in text
    assert "void 3.1 %" in text
    assert "a guess from the cameras' extent" in text


def test_poses_that_contradict_the_photos_are_reported(tmp_path):
    folder = write_replica(tmp_path / "scene")
    camera = np.array([[100.0, 0, 80], [0, 100.0, 60], [0, 0, 1]])
    poses = hand_held(12)
    shutil.rmtree(folder / "semantic_300")
    for index, photo in enumerate(textured_room((5.0, 4.0, 2.5), poses, camera, (120, 160))):
        Image.fromarray(photo).save(folder / f"rgb_300/rgb_{index:03d}.png")
    (folder / "intrinsics.txt").write_text(matrix_text(camera))

    def warned(columns: list[int]) -> str:
        for index, pose in enumerate(poses):
            path = folder / f"pose_300/pose_{index:03d}.txt"
            path.write_text(matrix_text(pose * columns))
        return "\n".join(warnings_of(look(folder)))

    assert warned([1, 1, 1, 1]) == ""
    # OpenGL's camera axes.
    assert "of the matches between photos fit the poses" in warned([1, -1, -1, 1])


def test_a_box_that_will_be_a_guess_is_reported(tmp_path):
    text = "\n".join(report(look(write_replica(tmp_path / "scene"))))
    assert "warning: only 0 feature points could be triangulated (expected 200)" in text
    assert "the scene box is a guess from camera positions" in text


def test_the_command_draws_a_sheet_and_reports_drops(tmp_path, capsys):
    folder = scene_formats.write_sens(tmp_path / "scene", lost=(3,))
    assert main(["inspect", str(folder), "--out", str(tmp_path / "sheet.png")]) == 0
    *lines, closing = capsys.readouterr().out.splitlines()
    assert "dropped: 1 (3): the tracker lost this frame (pose is not finite)" in lines
    assert "labels: none; image quality will be scored, labels will not" in lines
    assert json.loads(closing)["frames"] == 11
    assert Image.open(tmp_path / "sheet.png").width > 800
    labelled = write_replica(tmp_path / "labelled")
    assert main(["inspect", str(labelled), "--out", str(tmp_path / "sheet.png")]) == 0
    assert main(["inspect", str(tmp_path), "--out", str(tmp_path / "no.png")]) == 2
    assert "fits none of the layouts" in capsys.readouterr().err
    assert not (tmp_path / "no.png").exists()


@needs("hololens_office")
def test_real_photos(tmp_path):
    overview = look(SCENES / "hololens_office")
    assert overview.listing.layout == "scannet"
    assert len(overview.listing.names) == 125
    assert overview.native_size == (360, 540)
    assert up_axis(overview.pose) == (1, 1)
    assert 2 < overview.depth[0] < 5
    assert overview.next_overlap > 0.5
