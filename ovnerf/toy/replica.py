"""Writing a toy room as a scene folder in the Replica layout (docs/conventions.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ovnerf.config.frames import MakeRoom
from ovnerf.runtime.errors import UserError
from ovnerf.storage.atomic import atomic_folder, files_in
from ovnerf.storage.provenance import file_digest
from ovnerf.toy.furniture import CLASSES
from ovnerf.toy.rendering import camera_path, default_intrinsics, render
from ovnerf.toy.rooms import Room, build_room

Array = NDArray[np.float64]
CLASS_LIST = "\n".join(("void", *CLASSES)) + "\n"
"""What a room's `classes.txt` holds."""
FILE = re.compile(
    r"(rgb|semantic|instance)_300/\1_\d+\.png|pose_300/pose_\d+\.txt"
    r"|intrinsics\.txt|classes\.txt|room\.json"
)
"""Names of a room's files."""
LOCK = ".room.json.lock"
"""While a job makes the room it holds this file (`ovnerf.runtime.lock`), whatever else is there."""


def write_png(path: Path, image: NDArray[np.generic]) -> None:
    """Write u8 or u16 (H, W), or u8 RGB (H, W, 3)."""
    pixels = image[..., ::-1] if image.ndim == 3 else image
    if not cv2.imwrite(str(path), np.ascontiguousarray(pixels)):
        raise UserError(f"{path}: could not be written", "is the disk full?")


def matrix_text(matrix: Array) -> str:
    """One line per row, numbers that read back to the same doubles."""
    return "".join(" ".join(repr(float(value)) for value in row) + "\n" for row in matrix)


def write_frames(folder: Path, room: Room, settings: MakeRoom) -> None:
    """Images, labels, poses, intrinsics and classes of one room."""
    intrinsics = default_intrinsics(settings.width, settings.height)
    for name in ("rgb_300", "semantic_300", "instance_300", "pose_300"):
        (folder / name).mkdir(parents=True)
    (folder / "intrinsics.txt").write_text(matrix_text(intrinsics), encoding="utf-8")
    (folder / "classes.txt").write_text(CLASS_LIST, encoding="utf-8")
    for number, pose in enumerate(camera_path(room, settings.frames)):
        view = render(
            room, pose, intrinsics, settings.height, settings.width, settings.supersampling
        )
        write_png(folder / f"rgb_300/rgb_{number:03d}.png", view.rgb)
        write_png(folder / f"semantic_300/semantic_{number:03d}.png", view.label)
        write_png(folder / f"instance_300/instance_{number:03d}.png", view.instance)
        (folder / f"pose_300/pose_{number:03d}.txt").write_text(matrix_text(pose), encoding="utf-8")


def manifest(folder: Path, settings: MakeRoom) -> dict[str, object]:
    """Settings, classes and the sha256 of every file below `folder`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "settings": settings.model_dump(),
        "classes": list(CLASSES),
        "files": {path.relative_to(folder).as_posix(): file_digest(path) for path in files},
    }


def not_of_room(folder: Path) -> Iterator[str]:
    """Names of the files in `folder` that are not of a toy room; all where it is none.

    A room is known by its class list. `room.json`, which lists its files, may be gone: Snakemake
    deletes that, the one file it is told of, before it makes the room again.
    """
    listed = folder / "classes.txt"
    is_room = listed.is_file() and listed.read_bytes() == CLASS_LIST.encode()
    for name in files_in(folder):
        if name != LOCK and not (is_room and FILE.fullmatch(name)):
            yield name


def write_room(folder: Path, settings: MakeRoom) -> Room:
    """Build the room of `settings.seed` and render it into `folder`, which is replaced.

    The folder appears when it is complete.

    Raises:
        UserError: the folder holds what is not of a toy room.
    """
    room, folder = build_room(settings.seed), folder.resolve()
    with atomic_folder(folder, not_of_room) as temporary:
        write_frames(temporary, room, settings)
        summary = manifest(temporary, settings)
        (temporary / "room.json").write_text(
            json.dumps(summary, indent=1, sort_keys=True) + "\n", encoding="utf-8"
        )
    return room
