from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ovnerf.cli import main
from ovnerf.runtime.errors import UserError
from ovnerf.storage import atomic, by_frame, stores

RGB = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)


def write(path: Path, kind: str = "frames", digest: str = "d", **more: np.ndarray) -> None:
    stores.write_store(path, kind, {"rgb": RGB, **more}, {"names": ["a", "b"]}, digest)


def all_bytes(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_what_is_written_is_read_back_with_its_attributes(tmp_path: Path) -> None:
    write(tmp_path / "s.zarr", box=np.eye(3))
    group = stores.open_store(tmp_path / "s.zarr", "frames")
    assert np.array_equal(stores.read(group, "rgb"), RGB)
    assert np.array_equal(stores.read(group, "rgb", 1), RGB[1])
    assert stores.read(group, "box").dtype == np.float64
    assert group.attrs["names"] == ["a", "b"]
    assert (group.attrs["kind"], group.attrs["schema"]) == ("frames", stores.SCHEMA)
    assert group["rgb"].chunks == (1, 3, 4, 3)
    stores.verify(group)


def test_long_tables_are_stored_and_verified_in_chunks_of_rows(tmp_path: Path) -> None:
    table = np.arange(14, dtype=np.float32).reshape(7, 2)
    arrays = {"table": stores.WholeArray(table, 3), "short": stores.WholeArray(table, 99)}
    stores.publish_store(tmp_path / "s.zarr", "points", arrays, {}, "d")
    group = stores.open_store(tmp_path / "s.zarr", "points")
    assert group["table"].chunks == (3, 2) and group["short"].chunks == (7, 2)
    assert np.array_equal(stores.read(group, "table"), table)
    assert group.attrs["content"]["table"] == stores.content_digest(table)
    stores.verify(group)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["u1", "u2", "i8", "f2", "f4", "f8", "?"])
    .flatmap(
        lambda kind: arrays.arrays(kind, arrays.array_shapes(max_dims=3, min_side=0, max_side=4))
    )
    .filter(lambda array: np.isfinite(array).all())
)
def test_any_finite_array_survives(tmp_path: Path, array: np.ndarray) -> None:
    stores.write_store(tmp_path / "s.zarr", "frames", {"x": array}, {}, "d")
    group = stores.open_store(tmp_path / "s.zarr", "frames")
    found = stores.read(group, "x")
    assert found.dtype == array.dtype and found.shape == array.shape
    assert found.tobytes() == array.tobytes()
    stores.verify(group)


def test_the_same_store_has_the_same_bytes_whenever_it_is_written(tmp_path: Path) -> None:
    write(tmp_path / "a.zarr")
    write(tmp_path / "b.zarr")
    assert all_bytes(tmp_path / "a.zarr") == all_bytes(tmp_path / "b.zarr")


def test_a_store_replaces_the_old_one_whole(tmp_path: Path) -> None:
    write(tmp_path / "s.zarr", extra=RGB)
    write(tmp_path / "s.zarr")
    assert "extra" not in stores.open_store(tmp_path / "s.zarr", "frames")
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]


def test_the_verify_command_names_every_store_that_is_not_what_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("good", "swapped", "cut"):
        write(tmp_path / f"{name}.zarr")
    chunks = [tmp_path / f"swapped.zarr/rgb/c/{index}/0/0/0" for index in (0, 1)]
    first, second = (path.read_bytes() for path in chunks)
    assert first != second
    chunks[0].write_bytes(second)
    chunks[1].write_bytes(first)
    (tmp_path / "cut.zarr/rgb/c/1/0/0/0").unlink()
    (tmp_path / "note.txt").write_text("no store")
    assert main(["verify", str(tmp_path / "good.zarr")]) == 0
    told = capsys.readouterr().out
    assert f"{tmp_path / 'good.zarr'}: " in told and '"stores": 1' in told
    names = ("good.zarr", "swapped.zarr", "cut.zarr", "note.txt", "absent.zarr")
    assert main(["verify", *(str(tmp_path / name) for name in names)]) == 2
    told = capsys.readouterr().err
    assert f"{tmp_path / 'swapped.zarr'}: array 'rgb' differs from its content digest" in told
    assert f"{tmp_path / 'cut.zarr'}: array 'rgb': found 1 chunks, expected 2" in told
    assert f"{tmp_path / 'note.txt'}: not a readable zarr group" in told
    assert f"{tmp_path / 'absent.zarr'}: no such store" in told
    assert f"snakemake --forcerun {tmp_path / 'cut.zarr'}" in told


def test_nothing_appears_under_the_final_name_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic.os, "replace", lambda *names: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write(tmp_path / "s.zarr")
    assert not (tmp_path / "s.zarr").exists()


def refuse(path: Path, kind: str = "frames") -> UserError:
    with pytest.raises(UserError) as caught:
        stores.open_store(path, kind)
    assert str(path) in str(caught.value)
    assert stores.MADE_BY[kind] in caught.value.hint and f" {path}" in caught.value.hint
    return caught.value


def test_a_store_that_cannot_be_used_is_refused_with_the_rule_that_remakes_it(
    tmp_path: Path,
) -> None:
    assert "no such labels store" in str(refuse(tmp_path / "absent", "labels"))
    (tmp_path / "folder").mkdir()
    assert "not a readable zarr group" in str(refuse(tmp_path / "folder"))
    write(tmp_path / "s.zarr")
    assert "found a store of kind 'frames', expected 'features'" in str(
        refuse(tmp_path / "s.zarr", "features")
    )


def test_another_schema_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr(stores, "SCHEMA", stores.SCHEMA + 1)
        write(tmp_path / "s.zarr")
    with pytest.raises(UserError, match=f"found schema {stores.SCHEMA + 1}"):
        stores.open_store(tmp_path / "s.zarr", "frames")


def chunk_files(store: Path) -> list[Path]:
    return sorted(path for path in (store / "rgb" / "c").rglob("*") if path.is_file())


def test_every_flipped_bit_of_a_chunk_is_found(tmp_path: Path) -> None:
    write(tmp_path / "s.zarr")
    chunk = chunk_files(tmp_path / "s.zarr")[0]
    whole = chunk.read_bytes()
    group = stores.open_store(tmp_path / "s.zarr", "frames")
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        chunk.write_bytes(bytes(data))
        with pytest.raises(UserError, match=r"s\.zarr: array 'rgb' is damaged") as caught:
            stores.read(group, "rgb", 0)
        assert "rerun sample_frames" in caught.value.hint


def test_every_truncation_of_a_chunk_is_found(tmp_path: Path) -> None:
    write(tmp_path / "s.zarr")
    chunk = chunk_files(tmp_path / "s.zarr")[0]
    whole = chunk.read_bytes()
    group = stores.open_store(tmp_path / "s.zarr", "frames")
    for length in range(len(whole)):
        chunk.write_bytes(whole[:length])
        with pytest.raises(UserError, match="array 'rgb' is damaged"):
            stores.read(group, "rgb")


def test_a_missing_chunk_is_found_when_a_store_is_opened(tmp_path: Path) -> None:
    write(tmp_path / "s.zarr", box=np.eye(3))
    chunk_files(tmp_path / "s.zarr")[0].unlink()
    with pytest.raises(UserError, match=f"array 'rgb': found 1 chunks, expected {len(RGB)}"):
        stores.open_store(tmp_path / "s.zarr", "frames")


def test_altered_attributes_and_headers_are_found(tmp_path: Path) -> None:
    write(tmp_path / "s.zarr", box=np.eye(3))
    for file, old, new in (
        ("zarr.json", '"a"', '"c"'),
        ("rgb/zarr.json", '"uint8"', '"int8"'),
        ("box/zarr.json", "3", "2"),
    ):
        path = tmp_path / "s.zarr" / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(UserError, match=r"altered|array 'box'"):
            stores.open_store(tmp_path / "s.zarr", "frames")
        path.write_text(text)
    stores.open_store(tmp_path / "s.zarr", "frames")


def test_swapped_chunks_differ_from_the_content_digest(tmp_path: Path) -> None:
    """Each chunk is sound by itself: only the digest of the whole array tells."""
    write(tmp_path / "s.zarr")
    first, second = chunk_files(tmp_path / "s.zarr")
    data = first.read_bytes(), second.read_bytes()
    first.write_bytes(data[1])
    second.write_bytes(data[0])
    with pytest.raises(UserError, match="array 'rgb' differs from its content digest"):
        stores.verify(stores.open_store(tmp_path / "s.zarr", "frames"))


def test_empty_chunks_are_written(tmp_path: Path) -> None:
    stores.write_store(tmp_path / "s.zarr", "frames", {"rgb": np.zeros_like(RGB)}, {}, "d")
    assert len(chunk_files(tmp_path / "s.zarr")) == len(RGB)


def test_a_missing_array_is_named(tmp_path: Path) -> None:
    write(tmp_path / "s.zarr")
    group = stores.open_store(tmp_path / "s.zarr", "frames")
    with pytest.raises(UserError, match="'depth' is missing") as caught:
        stores.read(group, "depth")
    assert "rerun sample_frames" in caught.value.hint


def test_a_store_is_replaced_by_one_of_its_kind_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    write(path, box=np.eye(3), number=np.array(3))
    (path / ".snakemake_timestamp").touch()
    assert list(stores.not_of_store(path, "frames")) == []
    with pytest.raises(UserError, match=r"s\.zarr: found zarr\.json, .*and more, not made by"):
        write(path, "views")
    write(path, digest="another")
    group = stores.open_store(path, "frames")
    assert group.attrs["digest"] == "another" and "box" not in group


@pytest.mark.parametrize("mine", ["notes.txt", "rgb/notes.txt", "mine/zarr.json", "zarr.json.bak"])
def test_a_file_put_into_a_store_is_not_deleted(tmp_path: Path, mine: str) -> None:
    write(tmp_path / "s.zarr")
    (tmp_path / "s.zarr" / mine).parent.mkdir(exist_ok=True)
    (tmp_path / "s.zarr" / mine).write_text("mine")
    with pytest.raises(UserError, match=f"found {mine}, not made by"):
        write(tmp_path / "s.zarr")
    assert (tmp_path / "s.zarr" / mine).read_text() == "mine"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"attributes": {"kind": "frames"}}'])
def test_what_is_no_store_of_ours_is_no_store(tmp_path: Path, text: str) -> None:
    write(tmp_path / "s.zarr")
    (tmp_path / "s.zarr/zarr.json").write_text(text)
    assert next(stores.not_of_store(tmp_path / "s.zarr", "frames")) == "zarr.json"


def ragged(todo: Sequence[int]) -> Iterable[tuple[int, dict[str, np.ndarray]]]:
    """Frame i has i runs and an image filled with i."""
    for index in todo:
        yield index, {"runs": np.arange(index), "image": np.full((2, 2), index)}


def make(path: Path, produce=ragged, digest: str = "d") -> None:
    by_frame.write_by_frame(
        path, "regions", 4, produce, {"n": 4}, digest, {"text": np.ones(3)}, ragged=["runs"]
    )


def test_frames_are_joined_in_order_and_ragged_ones_get_offsets(tmp_path: Path) -> None:
    make(tmp_path / "s.zarr", lambda todo: ragged(list(reversed(todo))))
    group = stores.open_store(tmp_path / "s.zarr", "regions")
    assert stores.read(group, "runs").tolist() == [0, 0, 1, 0, 1, 2]
    assert stores.read(group, "runs_offset").tolist() == [0, 0, 1, 3, 6]
    assert stores.read(group, "image")[:, 0, 0].tolist() == [0, 1, 2, 3]
    assert stores.read(group, "text").tolist() == [1, 1, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]


def stop_after(count: int):
    """A producer that dies after `count` frames."""

    def produce(todo: Sequence[int]) -> Iterable[tuple[int, dict[str, np.ndarray]]]:
        for done, item in enumerate(ragged(todo)):
            if done == count:
                raise KeyboardInterrupt
            yield item

    return produce


def test_a_killed_run_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    make(tmp_path / "whole.zarr")
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "s.zarr", stop_after(2))
    assert not (tmp_path / "s.zarr").exists()
    asked: list[int] = []

    def rest(todo: Sequence[int]) -> Iterable[tuple[int, dict[str, np.ndarray]]]:
        asked.extend(todo)
        return ragged(todo)

    make(tmp_path / "s.zarr", rest)
    assert asked == [2, 3]
    assert all_bytes(tmp_path / "s.zarr") == all_bytes(tmp_path / "whole.zarr")


def test_finished_frames_of_other_settings_are_not_used(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "s.zarr", stop_after(2), digest="old")
    asked: list[int] = []

    def note(todo: Sequence[int]) -> Iterable[tuple[int, dict[str, np.ndarray]]]:
        asked.extend(todo)
        return ragged(todo)

    make(tmp_path / "s.zarr", note, digest="new")
    assert asked == [0, 1, 2, 3]


def test_a_damaged_finished_frame_is_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    make(tmp_path / "whole.zarr")
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "s.zarr", stop_after(3))
    parts = tmp_path / "s.zarr.partial"
    for part, change in ((0, lambda data: data[:-40]), (1, flipped)):
        path = by_frame.part_path(parts, part)
        path.write_bytes(change(path.read_bytes()))
    asked: list[int] = []

    def note(todo: Sequence[int]) -> Iterable[tuple[int, dict[str, np.ndarray]]]:
        asked.extend(todo)
        return ragged(todo)

    make(tmp_path / "s.zarr", note)
    assert asked == [0, 1, 3]
    assert capsys.readouterr().err.count("it is made again") == 2
    assert all_bytes(tmp_path / "s.zarr") == all_bytes(tmp_path / "whole.zarr")


def flipped(data: bytes) -> bytes:
    """One bit of the image's pixels changed."""
    place = data.index(np.full((2, 2), 1).tobytes())
    return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


def test_a_full_disk_leaves_no_half_of_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stores, "seal", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "s.zarr")
    assert list(tmp_path.iterdir()) == []
