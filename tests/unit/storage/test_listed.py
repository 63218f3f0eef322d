"""Result folders that say which files they were made with."""

from __future__ import annotations

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


def test_a_folder_without_a_list_is_not_deleted(tmp_path: Path) -> None:
    """Not even one with names as the stage gives them, in which Snakemake left its note."""
    out = tmp_path / "figures"
    out.mkdir()
    for name in ("view_0.png", STAMP):
        (out / name).write_text(name)
    with pytest.raises(UserError, match=r"figures: found view_0\.png, not made by"):
        make(out, "draw_figures", "view_1.png")
    assert visible(out) == {"view_0.png", STAMP}
