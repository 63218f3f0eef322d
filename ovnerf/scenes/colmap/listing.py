"""Which files of a scene folder in layout `colmap` are read. Standard library only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ovnerf.scenes.listing import Layout, Listing, first_file, mask_notes
from ovnerf.scenes.pairing import frame_names, photo_order, photos_in
from ovnerf.scenes.sparse import largest_model

if TYPE_CHECKING:
    from ovnerf.scenes.reader import SceneReader


def list_files(folder: Path) -> Listing:
    """`images/` and a sparse model (`sparse/0/` or so), binary or text; `classes.txt` optional.

    Of several models the one with the most photos is read.
    """
    model, smaller = largest_model(folder)
    images = photos_in(folder / "images", below=True)
    images.sort(key=lambda path: photo_order(path.relative_to(folder / "images").as_posix()))
    cameras, poses, *others = model.files
    inside = [path.relative_to(folder / "images") for path in images]
    names = frame_names(inside)
    notes = [f"COLMAP model {model} is read, not {', '.join(map(str, smaller))}"] if smaller else []
    return Listing(
        folder=folder,
        layout="colmap",
        names=names,
        images=tuple(images),
        numbers=tuple(path.as_posix() for path in inside),
        poses=(poses,),
        all_photos=tuple((path.as_posix(), name) for path, name in zip(inside, names, strict=True)),
        labels=(None,) * len(images),
        intrinsics=cameras,
        classes=first_file(folder, ("classes.txt",)),
        others=tuple(others),
        notes=(*notes, *mask_notes(folder)),
    )


def reader() -> SceneReader:
    """How the files are read. Imported when it is asked for, because it brings numpy."""
    from ovnerf.scenes.colmap.reader import READER

    return READER


LAYOUT = Layout(
    name="colmap",
    about="photos and their COLMAP model (Mip-NeRF360: jonbarron.info/mipnerf360)",
    list_files=list_files,
    reader=reader,
    labelled=False,
)
