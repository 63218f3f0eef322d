"""Files and folders that appear complete or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovnerf.runtime.lock import leftovers
from ovnerf.storage import atomic
from ovnerf.storage.atomic import atomic_file, atomic_folder, temporary_path


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
        with atomic_folder(tmp_path / "tables") as folder:
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
    with pytest.raises(error), atomic_folder(tmp_path / "folder") as temporary:
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
    with atomic_folder(tmp_path / "store") as folder:
        (folder / "c").mkdir()
        (folder / "c/0").write_bytes(b"chunk")
    with atomic_file(tmp_path / "x.csv") as temporary:
        temporary.write_text("1")
    assert events == ["0", "renamed to store", temporary.name, "renamed to x.csv"]


def test_the_lock_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    left = [temporary_path(tmp_path / name) for name in ("out", "out.partial.safetensors")]
    for path in (*left, temporary_path(tmp_path / "another")):
        path.write_text("half")
    assert set(leftovers(tmp_path / "out")) == set(left)
