"""Choosing among COLMAP models by their files alone."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ovnerf.runtime.errors import UserError
from ovnerf.scenes.sparse import count_photos, is_points, largest_model, text_names

LINES = """# Image list with two lines of data per image:
#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME

1 1 0 0 0 0 0 0 1 a view.png
10.5 20.5 -1 11 21 7
2 1 0 0 0 0 0 0 1 folder/b.png

7 1 0 0 0 0 0 0 1 c.png

"""
"""Points follow an image, or an empty line does; COLMAP drops a last image without either."""


def write_model(folder: Path, photos: int) -> None:
    folder.mkdir(parents=True)
    for part in ("cameras", "points3D"):
        (folder / f"{part}.bin").write_bytes(b"")
    (folder / "images.bin").write_bytes(struct.pack("<Q", photos))


def test_images_of_a_text_model(tmp_path):
    path = tmp_path / "images.txt"
    path.write_text(LINES)
    assert list(text_names(path)) == [(1, "a view.png"), (2, "folder/b.png"), (7, "c.png")]
    assert count_photos(path) == 3


def test_the_largest_model_wherever_it_is(tmp_path):
    write_model(tmp_path / "sparse/0", 10)
    write_model(tmp_path / "sparse/10", 40)
    write_model(tmp_path / "colmap/sparse/0", 20)
    (tmp_path / "sparse/notes").mkdir()
    chosen, others = largest_model(tmp_path)
    assert (chosen.name, chosen.photos) == ("sparse/10", 40)
    assert [path.name for path in chosen.files] == ["cameras.bin", "images.bin", "points3D.bin"]
    assert [str(model) for model in others] == [
        "colmap/sparse/0 (20 photos)",
        "sparse/0 (10 photos)",
    ]


def test_a_link_to_a_model_is_no_second_one(tmp_path):
    write_model(tmp_path / "sparse/0", 10)
    (tmp_path / "sparse/best").symlink_to("0")
    chosen, others = largest_model(tmp_path)
    assert (chosen.name, others) == ("sparse/0", [])


def test_a_tie_is_refused(tmp_path):
    write_model(tmp_path / "sparse", 12)
    write_model(tmp_path / "sparse/0", 12)
    write_model(tmp_path / "sparse/1", 3)
    with pytest.raises(UserError, match=r"2 COLMAP models of 12 photos each \(sparse, sparse/0\)"):
        largest_model(tmp_path)


def test_a_line_of_points_holds_three_numbers_each():
    assert is_points("\n")
    assert is_points("12.5 7.25 -1 3 4 17\n")
    assert not is_points("12.5 7.25\n")
    assert not is_points(None)
    # The line of an image whose name has two blanks: twelve parts.
    assert not is_points("2 1 0 0 0 1 2 3 1 my view 0.png\n")
