"""Stores that are made frame by frame, and go on after a kill from the frames that are finished.

They are kept as one `.npz` per frame in `<store>.partial`, beside the final path, together with the
digest of what they are made from.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ovnerf.runtime import progress
from ovnerf.runtime.errors import Stopped, UserError
from ovnerf.storage.atomic import atomic_file
from ovnerf.storage.finite import require_finite
from ovnerf.storage.stores import MADE_BY, NOT_FINITE, WholeArray, publish_store


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

    @property
    def rows(self) -> int:
        """A frame is a chunk."""
        return 1

    def pieces(self) -> Iterator[tuple[Any, np.ndarray]]:
        """(frame, values) of each frame."""
        for index in range(self.count):
            yield index, load_part(part_path(self.partial, index), self.name)[self.name]


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
    constants = {name: WholeArray(array) for name, array in (constant or {}).items()}
    publish_store(path, kind, {**parts, **constants}, attributes, digest)
    shutil.rmtree(partial)


def begin_partial(partial: Path, digest: str) -> None:
    """Keep `partial` when it was begun for the same digest, else start it empty."""
    note = partial / "digest.json"
    if note.exists() and note.read_text(encoding="utf-8") == json.dumps(digest):
        for leftover in partial.glob(".*.tmp"):  # of frames that a kill cut short
            leftover.unlink()
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
    # An open file, because numpy would add its own suffix to a name.
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **dict(arrays))


def join_parts(partial: Path, count: int, ragged: Sequence[str]) -> dict[str, WholeArray | Stacked]:
    """The frames' arrays stacked; ragged ones are concatenated with their offsets."""
    joined: dict[str, WholeArray | Stacked] = {}
    for name in load_part(part_path(partial, 0)) if count else ():
        stacked = Stacked(partial, name, count)
        if name in ragged:
            rows = [piece for _, piece in stacked.pieces()]
            joined[name] = WholeArray(np.concatenate(rows))
            offset = np.cumsum([0, *map(len, rows)], dtype=np.int64)
            joined[f"{name}_offset"] = WholeArray(offset)
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
