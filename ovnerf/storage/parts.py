"""Stores of frame ranges, made by several jobs -> the store that one job would have made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ovnerf.runtime.errors import UserError
from ovnerf.storage.stores import Store, WholeArray, open_store, publish_store, read

OWN = {"frames", "part", "whole", "content", "seal", "digest", "kind", "schema", "producer"}
"""Attributes in which parts of one whole may differ, or that every store gets when written."""


@dataclass(frozen=True)
class Joined:
    """An array that goes on from part to part; one frame is in memory at a time."""

    parts: tuple[Store, ...]
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        shapes = [part[self.name].shape for part in self.parts]
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])

    @property
    def dtype(self) -> np.dtype:
        """Its type."""
        return self.parts[0][self.name].dtype

    @property
    def rows(self) -> int:
        """A frame is a chunk."""
        return 1

    def pieces(self) -> Iterator[tuple[Any, np.ndarray]]:
        """(frame, values) of each frame."""
        frame = 0
        for part in self.parts:
            for slot in range(part[self.name].shape[0]):
                yield frame, read(part, self.name, slot)
                frame += 1


def gather_stores(out: Path, kind: str, paths: Sequence[Path], by_frame: Sequence[str]) -> int:
    """Write the store that the parts make up, in any order; returns its number of frames.

    Every chunk is read through its checksum. Arrays that are not `by_frame` are the same in all.

    Raises:
        UserError: parts of different wholes, or ranges with a gap or an overlap.
    """
    opened = [(path, open_store(path, kind)) for path in paths]
    for path, group in opened:
        if "part" not in group.attrs:
            raise UserError(f"{path}: found a whole {kind} store, expected a part of one")
    opened.sort(key=lambda item: item[1].attrs["part"])
    first_path, first = opened[0]
    total, digest = first.attrs["part"][2], first.attrs["whole"]
    reached = 0
    for path, group in opened:
        begin, end, of = group.attrs["part"]
        if group.attrs["whole"] != digest or of != total:
            raise UserError(
                f"{path}: found a part of another result than {first_path}",
                "settings, weights or frames changed between them; make the parts again",
            )
        if begin != reached:
            raise UserError(
                f"{path}: found frames {begin} to {end - 1}, expected them to begin at {reached}",
                "a part is missing or is there twice",
            )
        reached = end
    if reached != total:
        raise UserError(f"{out}: found parts up to frame {reached - 1}, expected {total} frames")
    groups = tuple(group for _, group in opened)
    frames = [frame for group in groups for frame in group.attrs["frames"]]
    arrays: dict[str, WholeArray | Joined] = {
        name: Joined(groups, name) if name in by_frame else WholeArray(read(first, name))
        for name in first.attrs["content"]
    }
    shared = {key: value for key, value in first.attrs.items() if key not in OWN}
    publish_store(out, kind, arrays, {"frames": frames, **shared}, digest)
    return total
