"""Which files a capture is made from. Standard library only: the Snakefile asks."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from ovnerf.runtime.errors import UserError

PHOTO_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})


def is_video(source: Path) -> bool:
    """Whether a capture is a file, hence a video, and not a folder of photos."""
    return source.is_file()


def photo_files(folder: Path) -> list[Path]:
    """The photos of a folder by name, 9 before 10.

    Raises:
        UserError: no such file or folder, no photo in it, or two photos of one name.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such video or folder of photos", "is the path right?")
    files = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith(".")
    ]
    files.sort(key=lambda path: by_number(path.name))
    if not files:
        raise UserError(
            f"{folder}: found no photo, expected names ending in "
            + ", ".join(sorted(PHOTO_SUFFIXES)),
            "give the folder that the photos lie in, or a video",
        )
    stem, count = Counter(path.stem for path in files).most_common(1)[0]
    if count > 1:
        raise UserError(f"{folder}: found {count} photos called {stem}", "rename all but one")
    return files


def by_number(name: str) -> list[tuple[int, str]]:
    """Sorts names as people count: digits as numbers, everything else as letters."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def source_files(source: Path) -> list[Path]:
    """Every file that a capture reads; UserError as `photo_files`."""
    return [source] if is_video(source) else photo_files(source)
