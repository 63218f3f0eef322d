"""Result folders that say which files they were made with, and those of versions that did not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ovnerf.runtime.errors import UserError
from ovnerf.storage.listed import listed_folder, not_of_stage
from ovnerf.storage.provenance import LIST, STAMP, path_digest


def make(out: Path, stage: str, *names: str) -> None:
    """A result of a stage with these files."""
    with listed_folder(out, stage) as folder:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)


def visible(folder: Path) -> set[str]:
    """Files of a folder but for the list."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != LIST)
    return {path.relative_to(folder).as_posix() for path in files}


def test_a_result_replaces_an_earlier_one_with_other_files(tmp_path: Path) -> None:
    out = tmp_path / "answers"
    make(out, "query", "answers.json", "lamp/view.png", "lamp.ply")
    (out / STAMP).touch()  # Snakemake's
    (out / "lamp.ply").unlink()  # a person needed the room
    make(out, "query", "answers.json", "table/view.png")
    assert visible(out) == {"answers.json", "table/view.png"}


@pytest.mark.parametrize("mine", ["notes.txt", "lamp/notes.txt", "mine/deep/notes.txt"])
def test_a_file_put_into_a_result_is_not_deleted(tmp_path: Path, mine: str) -> None:
    out = tmp_path / "answers"
    make(out, "query", "answers.json", "lamp/view.png")
    (out / mine).parent.mkdir(parents=True, exist_ok=True)
    (out / mine).write_text("mine")
    with pytest.raises(UserError, match=f"answers: found {mine}, not made by"):
        make(out, "query", "answers.json")
    assert visible(out) == {"answers.json", "lamp/view.png", mine}


def test_a_result_of_another_stage_is_not_deleted(tmp_path: Path) -> None:
    make(tmp_path / "semantics", "train_semantics", "field.safetensors")
    with pytest.raises(UserError, match=r"semantics: found field\.safetensors"):
        make(tmp_path / "semantics", "export", "classes.json")
    assert visible(tmp_path / "semantics") == {"field.safetensors"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stage": "query"}', '{"files": 3}', "\0"])
def test_a_damaged_list_vouches_for_nothing(tmp_path: Path, text: str) -> None:
    make(tmp_path / "answers", "query", "answers.json")
    (tmp_path / "answers" / LIST).write_text(text)
    assert list(not_of_stage(tmp_path / "answers", "query")) == ["answers.json"]


def test_the_list_is_no_part_of_the_result(tmp_path: Path) -> None:
    make(tmp_path / "answers", "query", "answers.json", "lamp/view.png")
    listed = path_digest(tmp_path / "answers")
    (tmp_path / "answers" / LIST).unlink()
    assert path_digest(tmp_path / "answers") == listed


def without_list(out: Path, *names: str) -> None:
    """A folder as Snakemake and a version without lists left it."""
    out.mkdir()
    for number, name in enumerate([*names, STAMP]):
        (out / name).write_text(name)
        os.utime(out / name, (1000 + number, 1000 + number))


def test_what_an_earlier_version_made_for_snakemake_is_replaced(tmp_path: Path) -> None:
    for stage, names in {
        "train_semantics": ("field.safetensors", "train.csv"),
        "query": ("answers.json", "lamp.ply"),
        "draw_figures": ("view_0.png", "training.png"),
    }.items():
        without_list(tmp_path / stage, *names)
        assert list(not_of_stage(tmp_path / stage, stage)) == []
        make(tmp_path / stage, stage, "new")
        assert visible(tmp_path / stage) == {"new"}


def test_what_was_put_into_an_earlier_versions_folder_is_not_deleted(tmp_path: Path) -> None:
    out = tmp_path / "figures"
    without_list(out, "view_0.png")
    (out / "mine.png").write_text("drawn over")  # newer than Snakemake's note
    assert list(not_of_stage(out, "draw_figures")) == ["mine.png"]
    assert list(not_of_stage(out, "train_semantics")) == ["mine.png", "view_0.png"]
    (out / STAMP).unlink()
    assert list(not_of_stage(out, "draw_figures")) == ["mine.png", "view_0.png"]
