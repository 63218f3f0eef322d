"""COLMAP's sparse models as files: which of several is read, and the photos' names in a text model.

Standard library only: the Snakefile asks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ovnerf.runtime.errors import UserError

MODEL_FOLDERS = ("sparse", "colmap/sparse")
"""Folders that are a model or hold models (sparse/0, sparse/1, ...)."""
PARTS = ("cameras", "images", "points3D", "rigs", "frames")
NEEDED = 3
"""The first three parts are in every model."""
IMAGE_COLUMNS = "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"


@dataclass(frozen=True)
class Model:
    """A model of a scene folder.

    Attributes:
        name: its folder, relative to the scene folder.
        files: its files, cameras and images first.
        photos: how many photos it holds with a pose.
    """

    name: str
    files: tuple[Path, ...]
    photos: int

    def __str__(self) -> str:
        return f"{self.name} ({self.photos} photos)"


def largest_model(folder: Path) -> tuple[Model, list[Model]]:
    """The model with the most photos, and the others.

    Raises:
        UserError: there is no model, or several have the most photos.
    """
    found = models_in(folder)
    if not found:
        places = ", ".join(f"{name}, {name}/0" for name in MODEL_FOLDERS)
        raise UserError(
            f"{folder}: no COLMAP model, looked in {places} and the folders beside 0",
            "expected cameras, images and points3D, all .bin or all .txt",
        )
    found.sort(key=lambda model: -model.photos)
    first, *others = found
    if others and others[0].photos == first.photos:
        equal = [model.name for model in found if model.photos == first.photos]
        raise UserError(
            f"{folder}: found {len(equal)} COLMAP models of {first.photos} photos each "
            f"({', '.join(equal)}), expected one with more photos than the others",
            "keep the model that is to be read and move the others out of the scene folder",
        )
    return first, others


def models_in(folder: Path) -> list[Model]:
    """Every model in the folders where COLMAP leaves them."""
    candidates: list[Path] = []
    for name in MODEL_FOLDERS:
        inside = sorted(path for path in (folder / name).glob("*") if path.is_dir())
        candidates += (folder / name, *inside)
    # A link to a model is that model.
    distinct = {path.resolve(): path for path in reversed(candidates)}
    return [model for path in reversed(distinct.values()) if (model := model_at(folder, path))]


def model_at(folder: Path, path: Path) -> Model | None:
    """The model in a folder, binary before text; None where there is none.

    Raises:
        UserError: the folder holds a binary and a text model of different numbers of photos.
    """
    kinds = [files for suffix in (".bin", ".txt") if (files := model_files(path, suffix))]
    if not kinds:
        return None
    counts = [count_photos(files[1]) for files in kinds]
    if len(set(counts)) > 1:
        raise UserError(
            f"{path}: found images.bin with {counts[0]} photos and images.txt with {counts[1]}, "
            "expected one model",
            "remove the .bin or the .txt files",
        )
    return Model(path.relative_to(folder).as_posix(), kinds[0], counts[0])


def model_files(path: Path, suffix: str) -> tuple[Path, ...]:
    """The files of a model with this suffix; empty when one that is needed is missing."""
    files = [path / f"{part}{suffix}" for part in PARTS]
    complete = all(file.is_file() for file in files[:NEEDED])
    return tuple(file for file in files if file.is_file()) if complete else ()


def count_photos(images: Path) -> int:
    """How many photos an images.bin or images.txt holds, without reading more than that takes."""
    if images.suffix == ".txt":
        return sum(1 for _ in text_names(images))
    with images.open("rb") as file:
        head = file.read(8)
    if len(head) < 8:
        raise UserError(
            f"{images}: found {len(head)} bytes, expected a COLMAP model",
            "write the model again; was the copy cut short?",
        )
    return struct.unpack("<Q", head)[0]


def text_names(images: Path) -> Iterator[tuple[int, str]]:
    """Image ids and names of an images.txt; names may hold spaces.

    Each image has two lines: its pose and name, then its points, which may be empty.

    Raises:
        UserError: a line is something else, or a line of points is missing: COLMAP would take
            the next image for it and lose it, and would lose the last image without one.
    """
    with images.open(encoding="utf-8-sig") as lines:
        try:
            for line in lines:
                if not line.strip() or line.startswith("#"):
                    continue
                *numbers, name = line.strip().split(maxsplit=9)
                if len(numbers) != 9 or not numbers[0].isdecimal():
                    raise UserError(
                        f"{images}: found the line {line.strip()[:60]!r}, expected "
                        f"{IMAGE_COLUMNS} and then a line of points"
                    )
                if not is_points(next(lines, None)):
                    raise UserError(
                        f"{images}: found no line of points behind the line of {name!r}, expected "
                        "X Y POINT3D_ID for each, or an empty line",
                        "write an empty line behind the line of each image",
                    )
                yield int(numbers[0]), name
        except UnicodeDecodeError:
            raise UserError(f"{images}: not a text file in UTF-8") from None


def is_points(line: str | None) -> bool:
    """Whether a line (None behind the last) holds an image's points: three numbers each, or none.

    A missing line shows the next image's instead, which ends in a name.
    """
    if line is None:
        return False
    parts = line.split()
    try:
        for part in parts:
            float(part)
    except ValueError:
        return False
    return len(parts) % 3 == 0
