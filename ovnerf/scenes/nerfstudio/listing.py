"""Which files of a scene folder in layout `nerfstudio` are read. Standard library only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ovnerf.runtime.errors import UserError
from ovnerf.scenes.listing import Layout, Listing, first_file, mask_notes, need_file
from ovnerf.scenes.pairing import frame_names, listed_photo, photo_order
from ovnerf.scenes.transforms import key_notes
from ovnerf.storage.text import read_text

if TYPE_CHECKING:
    from ovnerf.scenes.reader import SceneReader


def list_files(folder: Path) -> Listing:
    """`transforms.json` naming the images and their poses; `classes.txt` optional."""
    index = need_file(folder / "transforms.json", "a list of frames")
    try:
        content = json.loads(read_text(index))
        frames = content["frames"]
        named = sorted(
            (photo_order(str(frame["file_path"])), str(frame["file_path"]), entry)
            for entry, frame in enumerate(frames)
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{index}: not a list of frames ({type(error).__name__}: {error})",
            'expected {"frames": [{"file_path": "images/1.png", "transform_matrix": ...}]}',
        ) from None
    paths = [listed_photo(folder, name, index) for _, name, _ in named]
    first: dict[Path, int] = {}
    for position, path in enumerate(paths):
        before = first.setdefault(path.resolve(), position)
        if before != position:
            raise UserError(
                f"{index}: found {path.name} in two frames ({named[before][1]!r} and "
                f"{named[position][1]!r}), expected each photo once",
                "remove one of the two: a held-out photo must not be trained on",
            )
    return Listing(
        folder=folder,
        layout="nerfstudio",
        names=frame_names(path.relative_to(folder) for path in paths),
        images=tuple(paths),
        numbers=tuple(entry for _, _, entry in named),
        poses=(index,),
        labels=(None,) * len(paths),
        intrinsics=index,
        classes=first_file(folder, ("classes.txt",)),
        notes=(*key_notes(index, content), *mask_notes(folder)),
    )


def reader() -> SceneReader:
    """How the files are read. Imported when it is asked for, because it brings numpy."""
    from ovnerf.scenes.nerfstudio.reader import READER

    return READER


LAYOUT = Layout(
    name="nerfstudio",
    about="photos and their transforms.json",
    list_files=list_files,
    reader=reader,
    labelled=False,
)
