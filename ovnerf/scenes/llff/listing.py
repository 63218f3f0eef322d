"""Which files of a scene folder in layout `llff` are read. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ovnerf.runtime.errors import UserError
from ovnerf.scenes.listing import Layout, Listing, first_file, mask_notes, need_file
from ovnerf.scenes.pairing import frame_names, image_stem, keys_of, masks_in, photos_in

if TYPE_CHECKING:
    from ovnerf.scenes.reader import SceneReader


def list_files(folder: Path) -> Listing:
    """`images/ poses_bounds.npy`, `segmentations/classes.txt segmentations/<view>/<class>.png`.

    Row N of the poses belongs to the N-th image by name; a view is such an N.
    """
    poses = need_file(folder / "poses_bounds.npy", "LLFF poses, (n, 17)")
    images = photos_in(folder / "images")
    views, ignored = mask_folders(folder / "segmentations", images)
    names = frame_names(Path(image.name) for image in images)
    return Listing(
        folder=folder,
        layout="llff",
        names=names,
        images=tuple(images),
        numbers=tuple(range(len(images))),
        poses=(poses,),
        labels=tuple(views.get(index) for index in range(len(images))),
        intrinsics=None,
        classes=first_file(folder, ("segmentations/classes.txt", "classes.txt")),
        partial_labels=True,
        all_photos=tuple(enumerate(names)),
        ignored=ignored,
        notes=tuple(mask_notes(folder)),
    )


def mask_folders(masks: Path, images: Sequence[Path]) -> tuple[dict[int, Path], tuple[Path, ...]]:
    """The folder of masks of each view that has one, by the view's position, and what is ignored.

    Raises:
        UserError: a folder belongs to no view, or positions and numbers in the photos' names
            say different things.
    """
    inside = sorted(masks.iterdir()) if masks.is_dir() else []
    folders = [path for path in inside if path.is_dir() and not path.name.startswith(".")]
    numbered = [path for path in folders if path.name.isdecimal()]
    if folders and not numbered:
        raise UserError(
            f"{folders[0]}: found masks of view {folders[0].name!r}, expected a number",
            "a view is the position of its image by name, from 0",
        )
    views: dict[int, Path] = {}
    for path in numbered:
        view = int(path.name)
        if view >= len(images):
            raise UserError(
                f"{path}: found masks of view {view}, expected views 0 to {len(images) - 1}",
                "a view is the position of its image by name, from 0",
            )
        if view in views:
            raise UserError(
                f"{path}: found masks of view {view}, as in folder {views[view].name}, "
                "expected one folder for each view",
                "keep one of the two",
            )
        views[view] = path
    check_views(views, images)
    others = [path for path in folders if path not in numbered]
    beside = [file for path in numbered for file in masks_in(path)[1]]
    return views, (*others, *beside)


def check_views(views: dict[int, Path], images: Sequence[Path]) -> None:
    """UserError when views may as well be the numbers in the photos' names as their positions."""
    (keys,) = keys_of([image_stem(image) for image in images])
    position = {key: index for index, key in enumerate(keys)}
    if not all(view in position for view in views):
        return
    for view, path in views.items():
        if position[view] != view:
            raise UserError(
                f"{path}: found masks of view {view}, which is {images[view].name} by position and "
                f"{images[position[view]].name} by name",
                "number the photos 00, 01 ... without gaps, in the order of the poses",
            )


def reader() -> SceneReader:
    """How the files are read. Imported when it is asked for, because it brings numpy."""
    from ovnerf.scenes.llff.reader import READER

    return READER


LAYOUT = Layout(
    name="llff",
    about="a 3DOVS scene (github.com/Kunhao-Liu/3D-OVS) or another LLFF capture",
    list_files=list_files,
    reader=reader,
)
