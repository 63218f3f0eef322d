"""Streaming reader of ScanNet's `.sens` files. Standard library only: the Snakefile asks.

A file is a header (version, sensor name, four 4x4 matrices, compression kinds, image sizes, frame
count) and then the frames, each a camera-to-world matrix, two time stamps, two byte counts, a
colour image and a depth image. All numbers are little-endian. Frames have no index, so reaching
frame N means passing over those before it; their bytes are not read. Inertial measurements may
follow and are left alone. Format: github.com/ScanNet/ScanNet, SensReader.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ovnerf.runtime.errors import UserError

VERSION = 4
COLOUR_FORMATS = {0: "raw", 1: "png", 2: "jpeg"}
MATRIX = struct.Struct("<16f")
SHAPE = struct.Struct("<2i4If")
FRAME = struct.Struct("<16f4Q")
LONGEST_NAME = 4096

Matrix = tuple[float, ...]
"""16 numbers, row by row."""


@dataclass(frozen=True)
class Header:
    """What stands before the frames.

    Attributes:
        colour_camera: 4x4 intrinsics.
        colour_extrinsic: 4x4, where the colour camera is in the frame that poses are of.
        colour_format: how the colour images are compressed.
        colour_size: (width, height).
        frames: number of frames.
        start: byte offset of the first frame.
    """

    colour_camera: Matrix
    colour_extrinsic: Matrix
    colour_format: str
    colour_size: tuple[int, int]
    frames: int
    start: int


@dataclass(frozen=True)
class Frame:
    """One frame: its number (from 0), pose, and compressed photo (empty if not asked for)."""

    number: int
    pose: Matrix
    colour: bytes


def read_header(path: Path) -> Header:
    """The header of a `.sens` file; UserError when missing, cut, or of another version."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, expected a .sens recording") from None
    with file:
        (version,) = unpack(file, struct.Struct("<I"), path, "the version")
        if version != VERSION:
            raise UserError(
                f"{path}: found .sens version {version}, expected {VERSION}",
                "is it a .sens file, and downloaded whole?",
            )
        (length,) = unpack(file, struct.Struct("<Q"), path, "the sensor name")
        if length > LONGEST_NAME:
            raise UserError(f"{path}: found a sensor name of {length} bytes, the file is damaged")
        take(file, length, path, "the sensor name")
        matrices = [unpack(file, MATRIX, path, "the cameras") for _ in range(4)]
        colour, _, width, height, *_ = unpack(file, SHAPE, path, "the image sizes")
        (frames,) = unpack(file, struct.Struct("<Q"), path, "the number of frames")
        check_fits(path, frames, path.stat().st_size - file.tell())
        return Header(
            colour_camera=matrices[0],
            colour_extrinsic=matrices[1],
            colour_format=COLOUR_FORMATS.get(colour, f"unknown ({colour})"),
            colour_size=(width, height),
            frames=frames,
            start=file.tell(),
        )


def read_frames(
    path: Path, wanted: Collection[int] | None = None, images: bool = True
) -> Iterator[Frame]:
    """The wanted frames (all when None) in file order, one in memory at a time.

    Args:
        images: False skips the colour images, for reading poses fast. Depth is never read.

    Raises:
        UserError: the file ends inside a frame.
    """
    header = read_header(path)
    last = header.frames if wanted is None else max(wanted, default=-1) + 1
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(header.start)
        for number in range(min(last, header.frames)):
            where = f"frame {number} of {header.frames}"
            *pose, _, _, colour, depth = unpack(file, FRAME, path, where)
            if file.tell() + colour + depth > size:
                raise cut(path, where)
            keep = wanted is None or number in wanted
            after = file.tell() + colour + depth
            if keep:
                yield Frame(number, tuple(pose), file.read(colour) if images else b"")
            file.seek(after)


def check_fits(path: Path, frames: int, left: int) -> None:
    """UserError where `left` bytes cannot hold so many frames, even without a photo in any."""
    if frames * FRAME.size > left:
        raise UserError(
            f"{path}: found a count of {frames} frames in {left} bytes, expected at least "
            f"{FRAME.size} bytes for each",
            "the download is not complete, or the file is damaged; get it again",
        )


def unpack(file: BinaryIO, form: struct.Struct, path: Path, what: str) -> tuple:
    """Numbers at the file's position."""
    return form.unpack(take(file, form.size, path, what))


def take(file: BinaryIO, count: int, path: Path, what: str) -> bytes:
    """Exactly `count` bytes; UserError when the file ends before."""
    data = file.read(count)
    if len(data) < count:
        raise cut(path, what)
    return data


def cut(path: Path, what: str) -> UserError:
    """The error of a file that ends too early."""
    return UserError(
        f"{path}: the file ends inside {what}, after {path.stat().st_size} bytes",
        "the download is not complete; get the file again",
    )
