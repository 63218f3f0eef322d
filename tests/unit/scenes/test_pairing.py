"""Which files belong to one frame, and what frames are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovnerf.runtime.errors import UserError
from ovnerf.scenes.pairing import (
    check_partners,
    frame_names,
    keys_of,
    labels_in,
    listed_photo,
    masks_in,
    paired,
    photo_order,
    photos_by_name,
    visible_files,
)
from ovnerf.storage.paths import typed_path


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.mark.parametrize(
    ("photos", "others", "expected"),
    [
        # The number that differs, wherever it stands.
        (["rgb_2", "rgb_10"], ["pose_2", "pose_10"], [[2, 10], [2, 10]]),
        (["cam1_07_v2", "cam1_08_v2"], ["pose_8", "pose_7"], [[7, 8], [8, 7]]),
        (["room2_1", "room2_2"], ["s_room2_2_vis"], [[1, 2], [2]]),
        # Time stamps: both parts, also where the other folder holds one second only.
        (["11.90", "12.10"], ["11.90", "12.10"], [[(11, 90), (12, 10)], [(11, 90), (12, 10)]]),
        (["11.90", "12.10"], ["label 12.10"], [[(11, 90), (12, 10)], [(12, 10)]]),
        # Photos of one second, poses of several: names built alike share the places.
        (["11.90", "11.95"], ["11.90", "12.90"], [[(11, 90), (11, 95)], [(11, 90), (12, 90)]]),
        # Names of different lengths: every number counts.
        (["1", "1_2", "2"], ["1_2"], [[1, (1, 2), 2], [(1, 2)]]),
        # No number: the stem.
        (["front", "back"], ["back"], [["front", "back"], ["back"]]),
        (["only_3"], ["pose_3"], [[3], [3]]),
    ],
)
def test_keys(photos, others, expected):
    assert keys_of(photos, others) == expected


@given(st.lists(st.integers(0, 10**6), min_size=2, unique=True), st.data())
def test_pairs_do_not_depend_on_the_order_of_the_files(numbers, data):
    photos = [Path(f"cam3_{number}.png") for number in numbers]
    poses = data.draw(st.permutations([Path(f"pose_{number:07d}.txt") for number in numbers]))
    found, partners = paired(photos, poses)
    assert list(found) == list(partners) == sorted(numbers)
    for key, path in found.items():
        assert path == Path(f"cam3_{key}.png")
        assert partners[key] == Path(f"pose_{key:07d}.txt")


@pytest.mark.parametrize(
    "expected",
    [
        ["view_2.png", "view_10.png"],
        # Two walks, by folder or by prefix: one after the other.
        ["walk_a/1.png", "walk_a/30.png", "walk_b/1.png", "walk_b/2.png"],
        ["walk_2/9.png", "walk_2/10.png", "walk_10/1.png"],
        ["2024_a/7.png", "2024_b/1.png"],
        ["a_1.png", "a_2.png", "b_1.png", "b_2.png"],
        ["9.png", "walk_b/1.png"],
        [r"b\2.png", r"b\10.png", "c/1.png"],
        ["3.png", "3-2.png"],
        ["sofa-b.png", "sofa.png"],
    ],
)
def test_photos_are_ordered_folder_by_folder_and_by_number(expected):
    shuffled = expected[1:] + expected[:1]
    assert sorted(shuffled, key=photo_order) == expected


@given(
    st.sampled_from(["", "frame_", "images/view ", "scan 3/IMG_2024-"]),
    st.sampled_from([".png", "_", "-left.jpg", "(7).png"]),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 9)), min_size=2, unique=True),
)
def test_photos_of_one_prefix_are_ordered_by_their_numbers(prefix, text, numbers):
    """As they always were: the split of such scenes may not change."""
    names = [f"{prefix}{one}{text}{other}.png" for one, other in numbers]
    expected = [f"{prefix}{one}{text}{other}.png" for one, other in sorted(numbers)]
    assert sorted(names, key=photo_order) == expected


def test_labels_with_a_documented_name_leave_the_others_alone(tmp_path):
    names = ("semantic_class_3.png", "semantic_class_3_thumb.png", "vis_sem_class_3.png")
    labels, ignored = labels_in(
        touched(tmp_path, *names, "Thumbs.db", "._a.png"), "semantic_class_"
    )
    assert [path.name for path in labels] == ["semantic_class_3.png"]
    assert [path.name for path in ignored] == ["Thumbs.db", *names[1:]]
    labels, ignored = labels_in(touched(tmp_path / "b", "seg_3.png"), "semantic_class_")
    assert ([path.name for path in labels], ignored) == (["seg_3.png"], ())
    assert labels_in(tmp_path / "none", "") == ([], ())


def test_only_pictures_of_masks_that_are_there_are_left_alone(tmp_path):
    names = ("color_chart.png", "table.png", "table_vis.png", "vis_sofa.png")
    masks, ignored = masks_in(touched(tmp_path, *names))
    assert [path.name for path in masks] == ["color_chart.png", "table.png", "vis_sofa.png"]
    assert [path.name for path in ignored] == ["table_vis.png"]


def test_broken_links_are_files(tmp_path):
    (tmp_path / "1.png").symlink_to(tmp_path / "gone.png")
    touched(tmp_path, ".git/2.png", "below/3.png", "below/.x/4.png")
    assert [path.name for path in visible_files(tmp_path)] == ["1.png"]
    assert [path.name for path in visible_files(tmp_path, below=True)] == ["1.png", "3.png"]


def test_either_side_may_have_more_but_not_both():
    files = {0: Path("0.png"), 1: Path("1.png"), 2: Path("2.png")}
    check_partners({0: "a", 1: "b"}, files, Path("labels"), "label")
    check_partners({0: "a", 1: "b", 2: "c", 3: "d"}, files, Path("labels"), "label")
    with pytest.raises(
        UserError, match=r"no label for 1 of 3 photos \(d\) and no photo for 1 of 3"
    ):
        check_partners({1: "b", 2: "c", 3: "d"}, files, Path("labels"), "label")


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["images/1.png", "images/2.jpg"], ["1", "2"]),
        (["l/1.png", "r/1.png", "r/2.png"], ["l_1", "r_1", "r_2"]),
        (["5.png", "5.jpg", "6.png"], ["5.png", "5.jpg", "6"]),
        (["l/5.png", "l/5.jpg", "r/5.png"], ["l_5.png", "l_5.jpg", "r_5"]),
        (["11.90", "11.95"], ["11.90", "11.95"]),
    ],
)
def test_frame_names(paths, names):
    assert frame_names(map(Path, paths)) == tuple(names)


@given(st.lists(st.from_regex(r"\A([ab]/)?[ab_]{1,3}\.(png|jpg)\Z"), unique=True))
def test_frame_names_are_unique_or_refused(paths):
    try:
        names = frame_names(map(Path, paths))
    except UserError as error:
        assert "would have the frame name" in error.message
    else:
        assert len(set(names)) == len(paths)


def test_names_that_folders_make_equal_are_refused():
    with pytest.raises(UserError, match=r"a_1\.png: would have the frame name 'a_1\.png'"):
        frame_names([Path("a/1.png"), Path("a_1.png"), Path("b/1.png")])


def test_typed_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(touched(tmp_path, "data/room/a"))
    assert typed_path("~/data\\room") == f"{tmp_path}/data/room"
    assert typed_path("data\\room\\") == "data/room/"
    assert typed_path("~no such user/x") == "~no such user/x"
    touched(tmp_path, "odd\\name")
    assert typed_path("odd\\name") == "odd\\name"
    assert typed_path("") == ""


COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"
"""The same word to a reader; a Mac writes the second."""


def test_frame_names_are_composed_and_two_forms_of_one_name_are_refused():
    assert frame_names([Path(f"{DECOMPOSED}_1.png")]) == (f"{COMPOSED}_1",)
    with pytest.raises(UserError, match="would have the frame name"):
        frame_names([Path(f"{DECOMPOSED}.png"), Path(f"{COMPOSED}.png")])


def test_files_belong_together_in_whichever_form_their_names_are():
    photos, others = keys_of([COMPOSED, "b"], [DECOMPOSED, "b"])
    assert photos == others == [COMPOSED, "b"]


@pytest.mark.parametrize(("on_disk", "listed"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_listed_photos_are_found_in_whichever_form_their_names_are(tmp_path, on_disk, listed):
    photo = tmp_path / f"{on_disk}/{on_disk}.png"
    photo.parent.mkdir()
    photo.write_bytes(b"")
    for name in (f"{listed}/{listed}.png", f"{listed}\\{listed}.jpg", f"{listed}/{listed}"):
        assert listed_photo(tmp_path, name, tmp_path / "transforms.json") == photo
    names = [f"{listed}.png", f"a/{listed}.jpg", "b.png"]
    found = photos_by_name([f"{on_disk}.png", f"a/{on_disk}.png"], names, Path("images.bin"))
    assert found == {names[0]: f"{on_disk}.png", names[1]: f"a/{on_disk}.png"}
