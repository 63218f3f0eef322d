"""Which files a scene is made of: matching by name, numeric order, sampling."""

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene_folders import write_replica, write_semantic_nerf

from ovnerf.config.frames import Layout, MakeRoom, SampleFrames
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.layouts import LAYOUTS, list_scene, uniform
from ovnerf.scenes.reader import SceneReader
from ovnerf.stages import make_room, sample_frames
from ovnerf.storage.provenance import REPOSITORY_ROOT


def test_numeric_order(tmp_path):
    listing = list_scene(write_semantic_nerf(tmp_path / "scene"), "semantic_nerf")
    assert listing.names == tuple(f"rgb_{index}" for index in range(12))
    assert listing.numbers == tuple(range(12))
    assert [path.name for path in listing.labels][2] == "semantic_class_2.png"


def test_files_are_matched_by_number_and_not_by_position(tmp_path):
    folder = write_replica(tmp_path / "scene")
    (folder / "pose_300/pose_011.txt").rename(folder / "pose_300/a_11.txt")
    (folder / "semantic_300/semantic_class_000.png").unlink()
    listing = list_scene(folder, "replica")
    assert [path.name for path in listing.poses][-1] == "a_11.txt"
    assert listing.labels[0] is None
    assert listing.labels[1].name == "semantic_class_001.png"
    with pytest.raises(UserError, match=r"no label image for rgb_000\.png"):
        listing.label_inputs()


def test_inputs_are_exactly_the_sampled_files(tmp_path):
    folder = write_replica(tmp_path / "scene", frames=20)
    listing = list_scene(folder, "replica", 10)
    images = listing.image_inputs()
    assert len(images) == 10 + 10 + 2
    assert images[:2] == [folder / "rgb_300/rgb_000.png", folder / "rgb_300/rgb_002.png"]
    labels = listing.label_inputs()
    assert labels[-1] == folder / "classes.txt"
    assert len(labels) == 11


def test_files_elsewhere_keep_names_of_their_own(tmp_path):
    """A class list beside the scene may be called as the scene's own is, and both are read."""
    folder = write_replica(tmp_path / "scene")
    for name in ("lists", "maps"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "classes.txt").write_text(f"{name}\n")
    lists, maps = (tmp_path / name / "classes.txt" for name in ("lists", "maps"))
    listing = replace(list_scene(folder, "replica"), class_list=lists, others=(maps, lists))
    names = listing.by_name(listing.image_inputs())
    assert names["classes.txt"] == folder / "classes.txt"
    assert (names["../0/classes.txt"], names["../1/classes.txt"]) == (maps, lists)
    assert set(names.values()) == set(listing.image_inputs())
    before = sample_frames.input_digests(listing)
    lists.write_text("wall\n")
    after = sample_frames.input_digests(listing)
    assert {name for name in before if before[name] != after[name]} == {"../1/classes.txt"}


def test_shared_files_are_listed_once(tmp_path):
    folder = write_semantic_nerf(tmp_path / "scene")
    (folder / "intrinsics.txt").unlink()
    images = list_scene(folder, "semantic_nerf", 10).image_inputs()
    assert [path.name for path in images[10:]] == ["traj_w_c.txt", "info_semantic.json"]


def test_two_files_with_one_number_are_refused(tmp_path):
    folder = write_replica(tmp_path / "scene")
    (folder / "rgb_300/photo_3.png").write_bytes(b"")
    with pytest.raises(UserError, match="same frame number 3"):
        list_scene(folder, "replica")


def test_hidden_and_foreign_files_are_left_alone(tmp_path):
    folder = write_replica(tmp_path / "scene")
    for name in (".DS_Store", "._rgb_001.png", "Thumbs.db"):
        (folder / "rgb_300" / name).write_bytes(b"")
    assert len(list_scene(folder, "replica").images) == 12


def test_more_frames_than_there_are(tmp_path):
    with pytest.raises(UserError, match="found 12 frames, expected at least the 13 asked for"):
        list_scene(write_replica(tmp_path / "scene"), "replica", 13)


@given(st.integers(1, 400), st.integers(1, 400))
def test_uniform_sampling(count, wanted):
    wanted = min(count, wanted)
    picked = uniform(count, wanted)
    assert len(set(picked)) == wanted
    assert picked[0] == 0
    assert picked[-1] < count
    steps = [after - before for before, after in pairwise(picked)]
    assert not steps or max(steps) - min(steps) <= 1


def test_settings_know_the_layouts_that_can_be_read():
    assert get_args(Layout) == tuple(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_has_a_reader_of_its_own(name):
    readers = {key: layout.reader() for key, layout in LAYOUTS.items()}
    assert isinstance(readers[name], SceneReader)
    assert [key for key, reader in readers.items() if reader == readers[name]] == [name]


def test_snakemake_alone_can_list_files():
    code = (
        "import sys, ovnerf.scenes.layouts;"
        "print(sorted(set(sys.modules) & {'numpy', 'torch', 'cv2', 'PIL', 'zarr'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY_ROOT,
    )
    assert done.stdout.strip() == "[]"


def test_images_too_small_for_later_stages_are_refused(tmp_path) -> None:
    """10 pixels a side are one less than SSIM's window; nothing is written."""
    make_room.run(
        out=tmp_path / "room/room.json",
        settings=MakeRoom(seed=2, frames=10, width=32, height=24, supersampling=1),
    )
    out, smallest = tmp_path / "frames.zarr", SampleFrames(width=14, height=11)
    with pytest.raises(UserError, match=r"room: found images that are 14x10 .* at least 11 pix"):
        sample_frames.run(
            folder=tmp_path / "room",
            out=out,
            settings=smallest.model_copy(update={"height": 10}),
        )
    assert not out.exists()
    told = sample_frames.run(folder=tmp_path / "room", out=out, settings=smallest)
    assert told["size"] == [14, 11]
