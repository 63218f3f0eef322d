"""Streaming reader of ScanNet's `.sens` files. Standard library only: the Snakefile asks.

A file is a header (version, sensor name, four 4x4 matrices, compression kinds, image sizes, frame
count) and then the frames, each a camera-to-world matrix, two time stamps, two byte counts, a
colour image and a depth image. All numbers are little-endian. Frames have no index, so reaching
frame N means passing over those before it; their bytes are not read. Inertial measurements may
follow and are left alone. Format: github.com/ScanNet/ScanNet, SensReader.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ovnerf.runtime.errors import UserError

VERSION = 4
COLOUR_FORMATS = {0: "raw", 1: "png", 2: "jpeg"}
DEPTH_FORMATS = {0: "raw", 1: "zlib", 2: "occi"}
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
        sensor: name of the recording device.
        colour_camera, depth_camera: 4x4 intrinsics.
        colour_extrinsic: 4x4, where the colour camera is in the frame that poses are of.
        colour_format, depth_format: how the images are compressed.
        colour_size, depth_size: (width, height).
        depth_unit: stored depth values per metre.
        frames: number of frames.
        start: byte offset of the first frame.
    """

    sensor: str
    colour_camera: Matrix
    depth_camera: Matrix
    colour_extrinsic: Matrix
    colour_format: str
    depth_format: str
    colour_size: tuple[int, int]
    depth_size: tuple[int, int]
    depth_unit: float
    frames: int
    start: int


@dataclass(frozen=True)
class Frame:
    """One frame; images are compressed as the header says, empty when they were not asked for."""

    number: int
    pose: Matrix
    colour: bytes
    depth: bytes


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
        sensor = take(file, length, path, "the sensor name").decode("utf-8", "replace")
        matrices = [unpack(file, MATRIX, path, "the cameras") for _ in range(4)]
        colour, depth, *sizes, unit = unpack(file, SHAPE, path, "the image sizes")
        (frames,) = unpack(file, struct.Struct("<Q"), path, "the number of frames")
        return Header(
            sensor=sensor,
            colour_camera=matrices[0],
            depth_camera=matrices[2],
            colour_extrinsic=matrices[1],
            colour_format=COLOUR_FORMATS.get(colour, f"unknown ({colour})"),
            depth_format=DEPTH_FORMATS.get(depth, f"unknown ({depth})"),
            colour_size=(sizes[0], sizes[1]),
            depth_size=(sizes[2], sizes[3]),
            depth_unit=unit,
            frames=frames,
            start=file.tell(),
        )


def read_frames(
    path: Path, wanted: Collection[int] | None = None, images: bool = True
) -> Iterator[Frame]:
    """The wanted frames (all when None) in file order, one in memory at a time.

    Args:
        images: False passes over the images, for reading poses fast.

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
            if keep and images:
                yield Frame(number, tuple(pose), file.read(colour), file.read(depth))
                continue
            file.seek(colour + depth, 1)
            if keep:
                yield Frame(number, tuple(pose), b"", b"")


def depth_values(header: Header, payload: bytes) -> bytes:
    """A frame's depth image: 16-bit little-endian values, row by row (`depth_unit` per metre).

    Raises:
        UserError: a compression other than raw or zlib, or damaged bytes.
    """
    if header.depth_format not in ("raw", "zlib"):
        raise UserError(f"depth: found {header.depth_format} compression, expected raw or zlib")
    try:
        values = payload if header.depth_format == "raw" else zlib.decompress(payload)
    except zlib.error as error:
        raise UserError(f"depth: not readable ({error})", "download the file again") from None
    expected = 2 * header.depth_size[0] * header.depth_size[1]
    if len(values) != expected:
        raise UserError(f"depth: found {len(values)} bytes, expected {expected}")
    return values


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
