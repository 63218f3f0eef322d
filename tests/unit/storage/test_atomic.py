"""Files and folders that appear complete or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovnerf.runtime.errors import UserError
from ovnerf.runtime.lock import leftovers
from ovnerf.storage import atomic
from ovnerf.storage.atomic import atomic_file, atomic_folder, files_in, temporary_path


def nothing(folder: Path) -> tuple[str, ...]:
    """No stranger: every folder may be replaced."""
    return ()


def test_a_file_replaces_the_old_one_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "deep/er/table.csv"
    for text in ("old", "new"):
        with atomic_file(path) as temporary:
            temporary.write_text(text)
            assert temporary.parent == path.parent and temporary != path
    assert path.read_text() == "new"
    assert [file.name for file in path.parent.iterdir()] == ["table.csv"]


def test_a_folder_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    for name in ("old.csv", "in/new.csv"):
        with atomic_folder(tmp_path / "tables", nothing) as folder:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(name)
    files = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [Path("tables/in/new.csv")]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_the_old_result_is_there_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a").write_text("old")
    with pytest.raises(error), atomic_file(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise error
    with pytest.raises(error), atomic_folder(tmp_path / "folder", nothing) as temporary:
        (temporary / "a").write_text("half")
        raise error
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert files == {"file", "folder", "folder/a"}
    assert (tmp_path / "file").read_text() == (tmp_path / "folder/a").read_text() == "old"


def test_content_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    flush, replace = atomic.flush, atomic.os.replace

    def flushed(path: Path) -> None:
        events.append(path.name)
        flush(path)

    def renamed(old: Path, new: Path) -> None:
        events.append(f"renamed to {new.name}")
        replace(old, new)

    monkeypatch.setattr(atomic, "flush", flushed)
    monkeypatch.setattr(atomic.os, "replace", renamed)
    with atomic_folder(tmp_path / "store", nothing) as folder:
        (folder / "c").mkdir()
        (folder / "c/0").write_bytes(b"chunk")
    with atomic_file(tmp_path / "x.csv") as temporary:
        temporary.write_text("1")
    assert events == ["0", "renamed to store", temporary.name, "renamed to x.csv"]


def test_a_folder_of_a_persons_is_left_alone_and_named(tmp_path: Path) -> None:
    for name in ("deep/er/c.txt", "d.txt", "a.txt", "b.txt"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text(name)
    said = r"mine: found a.txt, b.txt, d.txt and more, not made by an earlier run of this command"
    with pytest.raises(UserError, match=said), atomic_folder(tmp_path / "mine", files_in):
        raise AssertionError("refused before the work")
    assert set(files_in(tmp_path / "mine")) == {"deep/er/c.txt", "d.txt", "a.txt", "b.txt"}
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_is_put_there_during_the_work_is_left_alone_too(tmp_path: Path) -> None:
    refused = pytest.raises(UserError, match=r"found notes\.txt")
    with refused, atomic_folder(tmp_path / "out", files_in) as folder:
        (folder / "made").write_text("made")
        (tmp_path / "out").mkdir()
        (tmp_path / "out/notes.txt").write_text("mine")
    assert list(files_in(tmp_path)) == ["out/notes.txt"]


def test_empty_folders_and_what_systems_leave_in_them_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "out/in").mkdir(parents=True)
    for name in (".snakemake_timestamp", ".DS_Store", "in/Thumbs.db"):
        (tmp_path / "out" / name).touch()
    with atomic_folder(tmp_path / "out", files_in) as folder:
        (folder / "made").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["made"]


def test_a_link_to_a_folder_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk/old").mkdir(parents=True)
    (tmp_path / "link").symlink_to("disk")
    with atomic_folder(tmp_path / "link", files_in) as folder:
        (folder / "made").touch()
    assert (tmp_path / "link").is_symlink() and not (tmp_path / "disk").is_symlink()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["made"]


def test_a_link_in_a_folder_counts_as_a_file_of_it(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/link").symlink_to(tmp_path / "elsewhere")
    assert list(files_in(tmp_path / "out")) == ["link"]


@pytest.mark.parametrize("name", ["file", "dangling"])
def test_a_folder_does_not_replace_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to("nowhere")
    said = r"found a (file|link that leads to no folder), expected"
    with pytest.raises(UserError, match=said), atomic_folder(tmp_path / name, nothing):
        raise AssertionError("refused before the work")
    assert (tmp_path / "file").read_text() == "mine" and (tmp_path / "dangling").is_symlink()


def test_the_folder_one_is_in_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here/deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here/deeper")
    for path in (Path(), tmp_path / "here"):
        refused = pytest.raises(UserError, match="folder that this command runs in")
        with refused, atomic_folder(path, nothing):
            raise AssertionError("refused before the work")
    assert (tmp_path / "here/deeper").is_dir()


def test_the_lock_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    left = [temporary_path(tmp_path / name) for name in ("out", "out.partial.safetensors")]
    for path in (*left, temporary_path(tmp_path / "another")):
        path.write_text("half")
    assert set(leftovers(tmp_path / "out")) == set(left)
