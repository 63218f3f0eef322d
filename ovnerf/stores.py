"""The zarr stores that pass between stages: one schema, atomic, resumable, checksummed.

A store is a zarr v3 group whose attributes hold `kind`, `schema`, `digest` (what it was made
from), `content` (sha256 of each array) and `producer`. A chunk is one frame. Arrays are written
with a checksummed codec and empty chunks are kept, because zarr's defaults read a missing chunk
as zeros. A store appears under its final name only when complete; no wall clock goes into it.

Stages that work frame by frame use :func:`write_by_frame`, which keeps finished frames beside
the final path (``<name>.partial``) and goes on from them after a kill.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from ovnerf.errors import UserError

SCHEMA = 1
VOID = 65535
"""Label of a pixel without a class, in every u16 label array."""

MADE_BY = {
    "frames": "sample_frames",
    "truth": "read_truth",
    "regions": "propose_regions",
    "clip": "cache_clip",
    "dino": "cache_dino",
    "labels": "rank_regions",
    "views": "render_views",
}


def content_digest(array: np.ndarray) -> str:
    """sha256 of an array's dtype, shape and C-order bytes."""
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


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
        digest: ovnerf.provenance.result_digest of the stage.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    group = zarr.create_group(
        str(temporary),
        attributes={
            **attributes,
            "kind": kind,
            "schema": SCHEMA,
            "digest": digest,
            "content": {name: content_digest(array) for name, array in sorted(arrays.items())},
            "producer": producer(),
        },
    )
    for name, array in sorted(arrays.items()):
        chunks = (1, *array.shape[1:]) if array.ndim > 1 and 0 not in array.shape else None
        stored = group.create_array(
            name,
            shape=array.shape,
            dtype=array.dtype,
            chunks=chunks or tuple(max(1, side) for side in array.shape) or "auto",
            compressors=ZstdCodec(level=3, checksum=True),
            config={"write_empty_chunks": True},
        )
        if array.size:
            stored[...] = array
    shutil.rmtree(path, ignore_errors=True)
    os.replace(temporary, path)


def open_store(path: Path | str, kind: str) -> zarr.Group:
    """Open a finished store of this kind for reading.

    Raises:
        UserError: missing, unfinished, of another kind or of a newer schema; the message names
            the rule that rebuilds it.
    """
    path = Path(path)
    rebuild = f"rebuild it: snakemake --forcerun {MADE_BY[kind]} {path}"
    if not path.exists():
        raise UserError(f"{path}: no such {kind} store", rebuild)
    try:
        group = zarr.open_group(str(path), mode="r")
    except Exception as error:
        raise UserError(f"{path}: not a readable zarr group ({error})", rebuild) from None
    found = group.attrs.get("kind")
    if found != kind:
        raise UserError(f"{path}: found a store of kind {found!r}, expected {kind!r}", rebuild)
    if int(group.attrs["schema"]) > SCHEMA:
        raise UserError(
            f"{path}: found schema {group.attrs['schema']}, this version reads up to {SCHEMA}",
            "update ovnerf or " + rebuild,
        )
    return group


def read(group: zarr.Group, name: str, index: Any = ...) -> np.ndarray:
    """One array (or part of it) of an open store; UserError naming the array when damaged."""
    try:
        return np.asarray(group[name][index])
    except KeyError:
        problem = "is missing"
    except Exception as error:
        problem = f"cannot be read ({error})"
    rule = MADE_BY.get(str(group.attrs.get("kind")), "its rule")
    raise UserError(
        f"{group.store_path}: array {name!r} {problem}",
        f"the store is damaged; rerun {rule}",
    )


def verify(group: zarr.Group) -> None:
    """Compare every array with its content digest; UserError naming the first damaged one."""
    for name, expected in group.attrs["content"].items():
        if content_digest(read(group, name)) != expected:
            raise UserError(
                f"{group.store_path}: array {name!r} differs from its content digest",
                f"the store is damaged; rerun {MADE_BY[group.attrs['kind']]}",
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

    Args:
        count: number of frames.
        produce: given the frames still to do, yields (frame, arrays of that frame) in any order.
        constant: arrays that do not belong to a frame.
        ragged: names whose length differs between frames; they are concatenated, and
            ``<name>_offset`` i64 (count + 1,) is added.
    """
    partial = path.with_name(path.name + ".partial")
    begin_partial(partial, digest)
    todo = [index for index in range(count) if not part_path(partial, index).exists()]
    for index, arrays in produce(todo):
        save_part(part_path(partial, index), arrays)
    write_store(
        path, kind, {**join_parts(partial, count, ragged), **(constant or {})}, attributes, digest
    )
    shutil.rmtree(partial)


def begin_partial(partial: Path, digest: str) -> None:
    """Keep `partial` when it was begun for the same digest, else start it empty."""
    note = partial / "digest.json"
    if note.exists() and json.loads(note.read_text()) == digest:
        return
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    note.write_text(json.dumps(digest))


def part_path(partial: Path, index: int) -> Path:
    """File of one finished frame."""
    return partial / f"{index:06d}.npz"


def save_part(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write one frame's arrays atomically."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **dict(arrays))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def join_parts(partial: Path, count: int, ragged: Sequence[str]) -> dict[str, np.ndarray]:
    """Stack the frames' arrays; ragged ones are concatenated with their offsets."""
    parts = [dict(load_part(part_path(partial, index))) for index in range(count)]
    joined: dict[str, np.ndarray] = {}
    for name in list(parts[0]) if parts else []:
        rows = [part.pop(name) for part in parts]
        if name in ragged:
            joined[name] = np.concatenate(rows)
            joined[f"{name}_offset"] = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        else:
            joined[name] = np.stack(rows)
    return joined


def load_part(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of one finished frame (never unpickled)."""
    with np.load(path, allow_pickle=False) as file:
        for name in file.files:
            yield name, file[name]
