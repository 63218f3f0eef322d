"""The zarr stores that pass between stages: one schema, atomic, resumable, checksummed.

A store is a zarr v3 group whose attributes hold `kind`, `schema`, `digest` (what it was made
from), `content` (sha256 of each array), `producer` and `seal` (a digest of all other attributes and
of every array's type, shape and chunks). A chunk is one frame. zarr's defaults read most damage as
numbers and a missing chunk as zeros, so every chunk carries a CRC32C, chunks of zeros are written
too, and opening a store looks for each of them. No array holds NaN or infinite numbers: they are
refused when written and when read. A store appears under its final name only when
complete; no wall clock goes into it.

Stages that work frame by frame use :func:`write_by_frame`, which keeps finished frames beside
the final path (``<name>.partial``) and goes on from them after a kill.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from ovnerf.runtime import progress
from ovnerf.runtime.errors import Stopped, UserError
from ovnerf.storage.finite import require_finite
from ovnerf.storage.provenance import digest as digest_of

SCHEMA = 2

NOT_FINITE = "mend the input or setting that it is made from; nothing of this was kept"
"""What to do about numbers that are not finite and were to be stored."""

MADE_BY = {
    "frames": "sample_frames",
    "truth": "read_truth",
    "regions": "propose_regions",
    "features": "cache_features",
    "dino": "cache_dino",
    "labels": "rank_regions",
    "views": "render_views",
}


class Store(Protocol):
    """An open store: its arrays by name, and its attributes.

    It is a `zarr.Group`, whose own types allow any member to be a group and any attribute to be
    any JSON value. `open_store` checks what a store holds, so arrays are arrays here, and an
    attribute has the type that its stage wrote.
    """

    @property
    def attrs(self) -> Mapping[str, Any]:
        """The attributes."""
        ...

    @property
    def store_path(self) -> object:
        """Where it lies, as a URL."""
        ...

    def __getitem__(self, name: str) -> zarr.Array:
        """The array of this name; KeyError when there is none."""
        ...

    def __contains__(self, name: object) -> bool:
        """Whether it has an array of this name."""
        ...


class Pieces(Protocol):
    """An array that is written piece by piece."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Its type."""
        ...

    def pieces(self) -> Iterator[tuple[Any, np.ndarray]]:
        """(index, values), in C order."""
        ...


@dataclass(frozen=True)
class Whole:
    """An array that is written in one piece; the first of several axes is the chunk axis."""

    values: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype:
        """Its type."""
        return self.values.dtype

    def pieces(self) -> Iterator[tuple[Any, np.ndarray]]:
        """(index, values), in C order."""
        yield ..., self.values


@dataclass(frozen=True)
class Stacked:
    """An array made of finished frames; one of them is in memory at a time."""

    partial: Path
    name: str
    count: int

    @cached_property
    def first(self) -> np.ndarray:
        """The first frame's array."""
        return load_part(part_path(self.partial, 0), self.name)[self.name]

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return (self.count, *self.first.shape)

    @property
    def dtype(self) -> np.dtype:
        """Its type."""
        return self.first.dtype

    def pieces(self) -> Iterator[tuple[Any, np.ndarray]]:
        """(frame, values) of each frame."""
        for index in range(self.count):
            yield index, load_part(part_path(self.partial, index), self.name)[self.name]


def content_digest(array: np.ndarray) -> str:
    """sha256 of an array's dtype, shape and C-order bytes."""
    return digest_of_pieces(array.dtype, array.shape, [array])


def digest_of_pieces(dtype: np.dtype, shape: tuple[int, ...], pieces: Iterable[np.ndarray]) -> str:
    """`content_digest` of the array that the pieces make up in C order."""
    found = hashlib.sha256(f"{dtype.str}{shape}".encode())
    for piece in pieces:
        found.update(np.ascontiguousarray(piece).tobytes())
    return found.hexdigest()


def producer() -> dict[str, str]:
    """Versions of the libraries that shape a store's bytes."""
    return {name: version(name) for name in ("zarr", "numpy", "torch")}


def write_store(
    path: Path,
    kind: str,
    arrays: Mapping[str, np.ndarray],
    attributes: Mapping[str, Any],
    digest: str,
) -> None:
    """Write a whole store under a temporary name and rename it into place.

    Args:
        path: final folder; an existing one is replaced.
        kind: a key of MADE_BY.
        arrays: name -> array; the first axis of arrays with more than one axis is the chunk axis.
        attributes: JSON-able; frame names, classes and the like.
        digest: ovnerf.storage.provenance.result_digest of the stage.
    """
    whole = {name: Whole(array) for name, array in arrays.items()}
    publish_store(path, kind, whole, attributes, digest)


def publish_store(
    path: Path,
    kind: str,
    arrays: Mapping[str, Pieces],
    attributes: Mapping[str, Any],
    digest: str,
) -> None:
    """`write_store` for arrays that come in pieces: write beside `path`, then move into place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        fill_store(temporary, kind, arrays, attributes, digest)
    except BaseException:
        # Half a store is of no use to anyone and may be what fills the disk.
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(path, ignore_errors=True)
    os.replace(temporary, path)


def fill_store(
    path: Path,
    kind: str,
    arrays: Mapping[str, Pieces],
    attributes: Mapping[str, Any],
    digest: str,
) -> None:
    """Write the arrays of a store, then its attributes with a digest of each array's content.

    A store without these attributes is unfinished, and `open_store` refuses it.
    """
    group = zarr.create_group(str(path))
    content = {}
    for name, array in sorted(arrays.items()):
        shape = array.shape
        chunks = (1, *shape[1:]) if len(shape) > 1 and 0 not in shape else None
        stored = group.create_array(
            name,
            shape=shape,
            dtype=array.dtype,
            chunks=chunks or tuple(max(1, side) for side in shape) or "auto",
            compressors=[ZstdCodec(level=3), Crc32cCodec()],
            config={"write_empty_chunks": True},
        )
        content[name] = digest_of_pieces(array.dtype, shape, written(stored, array, path))
    said = {
        **attributes,
        "kind": kind,
        "schema": SCHEMA,
        "digest": digest,
        "content": content,
        "producer": producer(),
    }
    group.update_attributes({**said, "seal": seal(said, cast(Store, group))})


def written(stored: zarr.Array, array: Pieces, path: Path) -> Iterator[np.ndarray]:
    """Write the pieces of an array to `stored`; yields each piece after it was written.

    Raises:
        UserError: a piece of the store `path` holds numbers that are not finite.
    """
    for index, piece in array.pieces():
        require_finite(str(path), {stored.basename: piece}, NOT_FINITE)
        if piece.size:
            stored[index] = piece
        yield piece


def seal(attributes: Mapping[str, Any], group: Store) -> str:
    """Digest of a store's attributes and of its arrays' types, shapes and chunks (not values)."""
    arrays = {name: group[name] for name in sorted(attributes["content"])}
    layout = {
        name: [array.dtype.str, list(array.shape), list(array.chunks)]
        for name, array in arrays.items()
    }
    return digest_of({"attributes": dict(attributes), "arrays": layout})


def open_store(path: Path | str, kind: str) -> Store:
    """Open a finished store of this kind for reading.

    Raises:
        UserError: missing, unfinished, damaged, of another kind or of another schema; the message
            names the rule that rebuilds it.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(
            f"{path}: no such {kind} store", f"{MADE_BY[kind]} makes it: snakemake {path}"
        )
    rebuild = rebuild_hint(path, kind)
    try:
        group = cast(Store, zarr.open_group(str(path), mode="r"))
        attributes = dict(group.attrs)
    except Exception as error:
        raise UserError(f"{path}: not a readable zarr group ({error})", rebuild) from None
    found = attributes.get("kind")
    if found != kind:
        raise UserError(f"{path}: found a store of kind {found!r}, expected {kind!r}", rebuild)
    if attributes.get("schema") != SCHEMA:
        raise UserError(
            f"{path}: found schema {attributes.get('schema')}, this version reads {SCHEMA}",
            rebuild,
        )
    check_whole(path, group, attributes, rebuild)
    return group


def open_truth(path: Path | str, frames: Store) -> Store:
    """The `truth` store of an open `frames` store, whose frames it must hold in the same order.

    Raises:
        UserError: as `open_store`, or the two stores hold other frames.
    """
    truth = open_store(path, "truth")
    found, expected = truth.attrs.get("names"), frames.attrs["names"]
    if found != expected:
        raise UserError(
            f"{path}: its frames differ from those in {path_of(frames)}",
            rebuild_hint(path, "truth"),
        )
    return truth


def check_whole(path: Path, group: Store, attributes: dict[str, Any], rebuild: str) -> None:
    """UserError when attributes or array headers were altered, or a chunk is not there."""
    stated = attributes.pop("seal", None)
    for name in attributes.get("content", ()):
        try:
            array = group[name]
            count, there = array.nchunks, sum(1 for _ in chunk_files(path / name))
        except Exception as error:
            problem = "is missing" if isinstance(error, KeyError) else f"is unreadable ({error})"
            raise UserError(f"{path}: array {name!r} {problem}", rebuild) from None
        if array.size and there != count:
            raise UserError(
                f"{path}: array {name!r}: found {there} chunks, expected {count}", rebuild
            )
    if stated is None or "content" not in attributes or seal(attributes, group) != stated:
        raise UserError(f"{path}: its attributes or array headers were altered", rebuild)


def chunk_files(array: Path) -> Iterator[Path]:
    """The chunk files of an array's folder."""
    for folder, _, files in os.walk(array / "c"):
        yield from (Path(folder) / file for file in files)
    if (array / "c").is_file():  # an array without axes
        yield array / "c"


def rebuild_hint(path: Path | str, kind: str) -> str:
    """What to do about a store that cannot be used."""
    return f"rerun {MADE_BY.get(kind, 'its rule')}: snakemake --forcerun {path}"


def path_of(group: Store) -> str:
    """Where an open store lies, as it was opened."""
    return str(group.store_path).removeprefix("file://")


def read(group: Store, name: str, index: Any = ...) -> np.ndarray:
    """One array (or part of it) of an open store.

    Raises:
        UserError: the array is missing, damaged, or holds numbers that are not finite.
    """
    where = path_of(group)
    rebuild = rebuild_hint(where, str(group.attrs.get("kind")))
    try:
        found = np.asarray(group[name][index])
    except KeyError:
        problem = "is missing"
    except Exception as error:
        problem = f"is damaged ({error})"
    else:
        require_finite(where, {f"array {name!r}": found}, rebuild)
        return found
    raise UserError(f"{where}: array {name!r} {problem}", rebuild)


def verify(group: Store) -> None:
    """Compare every array with its content digest; UserError naming the first damaged one."""
    for name, expected in group.attrs["content"].items():
        if content_digest(read(group, name)) != expected:
            raise UserError(
                f"{path_of(group)}: array {name!r} differs from its content digest",
                rebuild_hint(path_of(group), group.attrs["kind"]),
            )


def write_by_frame(
    path: Path,
    kind: str,
    count: int,
    produce: Callable[[Sequence[int]], Iterable[tuple[int, Mapping[str, np.ndarray]]]],
    attributes: Mapping[str, Any],
    digest: str,
    constant: Mapping[str, np.ndarray] | None = None,
    ragged: Sequence[str] = (),
) -> None:
    """Make a store frame by frame, going on from the frames a killed run had finished.

    One frame is in memory at a time; ragged arrays are whole in memory at the end.

    Args:
        count: number of frames.
        produce: given the frames still to do, yields (frame, arrays of that frame) in any order.
        constant: arrays that do not belong to a frame.
        ragged: names whose length differs between frames; they are concatenated, and
            ``<name>_offset`` i64 (count + 1,) is added.

    Raises:
        Stopped: the stage was asked to end; finished frames are kept.
    """
    partial = path.with_name(path.name + ".partial")
    begin_partial(partial, digest)
    todo = [index for index in range(count) if not is_finished(part_path(partial, index))]
    progress.begin(MADE_BY[kind], "frames", count, count - len(todo))
    try:
        for index, arrays in produce(todo):
            save_part(part_path(partial, index), arrays)
            progress.advance()
            if progress.stop_wanted():
                raise Stopped(f"{path}: stopped as asked; finished frames are kept in {partial}")
    except UserError:
        if not any(partial.glob("*.npz")):
            shutil.rmtree(partial)  # nothing to go on from
        raise
    parts = join_parts(partial, count, ragged)
    whole = {name: Whole(array) for name, array in (constant or {}).items()}
    publish_store(path, kind, {**parts, **whole}, attributes, digest)
    shutil.rmtree(partial)


def begin_partial(partial: Path, digest: str) -> None:
    """Keep `partial` when it was begun for the same digest, else start it empty."""
    note = partial / "digest.json"
    if note.exists() and note.read_text(encoding="utf-8") == json.dumps(digest):
        return
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    note.write_text(json.dumps(digest), encoding="utf-8")


def part_path(partial: Path, index: int) -> Path:
    """File of one finished frame."""
    return partial / f"{index:06d}.npz"


def is_finished(path: Path) -> bool:
    """Whether a frame is there and undamaged; a damaged one is made again."""
    if not path.exists():
        return False
    try:
        load_part(path)
    except UserError as error:
        progress.log(f"{error.message}; it is made again")
        return False
    return True


def save_part(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write one frame's arrays atomically; UserError when one is not finite."""
    require_finite(str(path), arrays, NOT_FINITE)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **dict(arrays))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def join_parts(partial: Path, count: int, ragged: Sequence[str]) -> dict[str, Whole | Stacked]:
    """The frames' arrays stacked; ragged ones are concatenated with their offsets."""
    joined: dict[str, Whole | Stacked] = {}
    for name in load_part(part_path(partial, 0)) if count else ():
        stacked = Stacked(partial, name, count)
        if name in ragged:
            rows = [piece for _, piece in stacked.pieces()]
            joined[name] = Whole(np.concatenate(rows))
            offset = np.cumsum([0, *map(len, rows)], dtype=np.int64)
            joined[f"{name}_offset"] = Whole(offset)
        else:
            joined[name] = stacked
    return joined


def load_part(path: Path, *names: str) -> dict[str, np.ndarray]:
    """The named arrays of one finished frame, or all (never unpickled); UserError when damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names or file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: a finished frame that is damaged ({error})", "run the stage again"
        ) from None
