"""Width and height of a photo from its header, for plans. Standard library only."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from ovnerf.runtime.errors import UserError
from ovnerf.scenes.sens import read_header

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"
FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""JPEG's markers of a frame; the three in between announce tables."""


def photo_size(path: Path | str) -> tuple[int, int] | None:
    """(width, height) of a PNG, a JPEG, or the photos of a `.sens` recording.

    Returns:
        None for other files and for what cannot be read: `sample_frames` says what is wrong.
    """
    path = Path(path)
    try:
        if path.suffix == ".sens":
            return read_header(path).colour_size
        with path.open("rb") as file:
            begin = file.read(24)
            if begin.startswith(PNG):
                width, height = struct.unpack(">II", begin[16:24])
                return width, height
            return jpeg_size(file) if begin.startswith(JPEG) else None
    except (OSError, struct.error, UserError):
        return None


def jpeg_size(file: BinaryIO) -> tuple[int, int] | None:
    """The size in a JPEG's frame header; segments before it are skipped."""
    file.seek(len(JPEG))
    while True:
        lead, marker, length = struct.unpack(">BBH", file.read(4))
        if lead != 0xFF:
            return None
        if marker in FRAME_HEADERS:
            height, width = struct.unpack(">xHH", file.read(5))
            return width, height
        file.seek(length - 2, 1)
