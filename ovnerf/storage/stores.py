"""The zarr stores that pass between stages: one schema, atomic, resumable, checksummed.

A store is a zarr v3 group whose attributes hold `kind`, `schema`, `digest` (what it was made
from), `content` (sha256 of each array), `producer` and `seal` (a digest of all other attributes and
of every array's type, shape and chunks). A chunk is one frame, or many rows of a long table.
zarr's defaults read most damage as numbers and a missing chunk as zeros, so every chunk carries a
CRC32C, chunks of zeros are written too, and opening a store looks for each of them. No array holds
NaN or infinite numbers: they are refused when written and when read. A store appears under its
final name only when complete; no wall clock goes into it.

Stages that work frame by frame use `ovnerf.storage.by_frame.write_by_frame`, which goes on after a
kill.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from ovnerf.runtime.errors import UserError
from ovnerf.storage.atomic import atomic_folder, files_in
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
    "depth": "render_depth",
    "fused": "fuse_labels",
    "views": "render_views",
    "points": "fuse_points",
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

    @property
    def rows(self) -> int:
        """How many entries along the first of several axes make up a chunk."""
        ...

    def pieces(self) -> Iterator[tuple[Any, np.ndarray]]:
        """(index, values), in C order."""
        ...


@dataclass(frozen=True)
class WholeArray:
    """An array that is written in one piece; the first of several axes is the chunk axis."""

    values: np.ndarray
    rows: int = 1

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
    pieces = {name: WholeArray(array) for name, array in arrays.items()}
    publish_store(path, kind, pieces, attributes, digest)


def publish_store(
    path: Path,
    kind: str,
    arrays: Mapping[str, Pieces],
    attributes: Mapping[str, Any],
    digest: str,
) -> None:
    """`write_store` for arrays that come in pieces: write beside `path`, then move into place."""
    with atomic_folder(path, partial(not_of_store, kind=kind)) as temporary:
        fill_store(temporary, kind, arrays, attributes, digest)


def not_of_store(folder: Path, kind: str) -> Iterator[str]:
    """Names of the files in `folder` that are not of a store of this kind; all where it is none."""
    try:
        found = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))["attributes"]
        arrays = set(found["content"]) if found["kind"] == kind else None
    except (OSError, ValueError, KeyError, TypeError):
        arrays = None
    for name in files_in(folder):
        array, _, inner = name.partition("/")
        of_array = inner in ("zarr.json", "c") or inner.startswith("c/")
        if arrays is None or not (name == "zarr.json" or (array in arrays and of_array)):
            yield name


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
        rows = min((array.rows, *shape[:1]))
        chunks = (rows, *shape[1:]) if len(shape) > 1 and 0 not in shape else None
        stored = group.create_array(
            name,
            shape=shape,
            dtype=array.dtype,
            chunks=chunks or tuple(max(1, side) for side in shape) or "auto",
            compressors=[ZstdCodec(level=3), Crc32cCodec()],
            config={"write_empty_chunks": True},
        )
        content[name] = digest_of_pieces(array.dtype, shape, written(stored, array, path))
    described = {
        **attributes,
        "kind": kind,
        "schema": SCHEMA,
        "digest": digest,
        "content": content,
        "producer": producer(),
    }
    group.update_attributes({**described, "seal": seal(described, cast(Store, group))})


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
    group, attributes = open_group(path, rebuild)
    found = attributes.get("kind")
    if found != kind:
        raise UserError(f"{path}: found a store of kind {found!r}, expected {kind!r}", rebuild)
    if attributes.get("schema") != SCHEMA:
        raise UserError(
            f"{path}: found schema {attributes.get('schema')}, this version reads {SCHEMA}",
            rebuild,
        )
    check_complete(path, group, attributes, rebuild)
    return group


def open_group(path: Path, rebuild: str) -> tuple[Store, dict[str, Any]]:
    """A zarr group, opened for reading, and its attributes; nothing of them is checked."""
    try:
        group = cast(Store, zarr.open_group(str(path), mode="r"))
        return group, dict(group.attrs)
    except Exception as error:
        raise UserError(f"{path}: not a readable zarr group ({error})", rebuild) from None


def kind_of(path: Path) -> str:
    """The kind of a store, a key of MADE_BY; UserError for anything that no stage wrote."""
    if not path.exists():
        raise UserError(f"{path}: no such store", "check the path")
    hint = "name a folder that a stage wrote, such as frames.zarr"
    kind = open_group(path, hint)[1].get("kind")
    if kind not in MADE_BY:
        raise UserError(
            f"{path}: found a store of kind {kind!r}, expected one of {', '.join(MADE_BY)}", hint
        )
    return str(kind)


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


def check_complete(path: Path, group: Store, attributes: dict[str, Any], rebuild: str) -> None:
    """UserError when attributes or array headers were altered, or a chunk is not there."""
    expected_seal = attributes.pop("seal", None)
    for name in attributes.get("content", ()):
        try:
            array = group[name]
            expected, found = array.nchunks, sum(1 for _ in chunk_files(path / name))
        except Exception as error:
            problem = "is missing" if isinstance(error, KeyError) else f"is unreadable ({error})"
            raise UserError(f"{path}: array {name!r} {problem}", rebuild) from None
        if array.size and found != expected:
            raise UserError(
                f"{path}: array {name!r}: found {found} chunks, expected {expected}", rebuild
            )
    sealed = expected_seal is not None and "content" in attributes
    if not sealed or seal(attributes, group) != expected_seal:
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


def chunk_indices(array: zarr.Array) -> Iterator[Any]:
    """An index for each chunk along the first of several axes; other arrays are one chunk."""
    if array.ndim < 2:
        yield ...
        return
    for first in range(0, array.shape[0], array.chunks[0]):
        yield slice(first, first + array.chunks[0])


def verify(group: Store) -> None:
    """Compare every array with its content digest; UserError naming the first damaged one.

    One chunk (a frame, or rows of a table) is in memory at a time.
    """
    for name, expected in group.attrs["content"].items():
        array = group[name]
        pieces = (read(group, name, index) for index in chunk_indices(array))
        if digest_of_pieces(array.dtype, array.shape, pieces) != expected:
            raise UserError(
                f"{path_of(group)}: array {name!r} differs from its content digest",
                rebuild_hint(path_of(group), group.attrs["kind"]),
            )
