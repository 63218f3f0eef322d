"""Which files of a scene folder in layout `replica` are read. Standard library only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ovnerf.runtime.errors import UserError
from ovnerf.scenes.listing import Layout, Listing, called, need_file, void_notes
from ovnerf.scenes.pairing import (
    check_partners,
    frame_names,
    labels_in,
    paired,
    photos_in,
    shown,
    visible_files,
    with_suffix_of,
)
from ovnerf.storage.text import read_lines

if TYPE_CHECKING:
    from ovnerf.scenes.reader import SceneReader


def list_files(folder: Path) -> Listing:
    """`rgb_300/ semantic_300/ pose_300/ intrinsics.txt classes.txt`."""
    found = photos_in(folder / "rgb_300")
    pose_files = with_suffix_of(visible_files(folder / "pose_300"), frozenset({".txt"}))
    label_files, ignored = labels_in(folder / "semantic_300", "semantic_class_")
    images, poses, labels = paired(found, pose_files, label_files)
    for key, image in images.items():
        if key not in poses:
            raise UserError(
                f"{folder / 'pose_300'}: no pose for {image.name}, expected a .txt file "
                f"with frame number {shown(key)}",
                "every image needs a 4x4 camera-to-world matrix",
            )
    check_partners(called(images), labels, folder / "semantic_300", "label")
    classes = need_file(folder / "classes.txt", "one class name per line, line 0 void")
    return Listing(
        folder=folder,
        layout="replica",
        names=frame_names(Path(image.name) for image in images.values()),
        images=tuple(images.values()),
        numbers=tuple(images),
        poses=tuple(poses[key] for key in images),
        labels=tuple(labels.get(key) for key in images),
        intrinsics=need_file(folder / "intrinsics.txt", "a 3x3 or 4x4 camera matrix"),
        classes=classes,
        ignored=ignored,
        notes=first_line_notes(classes),
    )


def first_line_notes(classes: Path) -> tuple[str, ...]:
    """A line where the first name of `classes.txt`, whose pixels have no class, is a thing's."""
    return void_notes(next(iter(read_lines(classes)), ""), f"{classes}, line 1")


def reader() -> SceneReader:
    """How the files are read. Imported when it is asked for, because it brings numpy."""
    from ovnerf.scenes.replica.reader import READER

    return READER


LAYOUT = Layout(
    name="replica",
    about="a Replica scene (github.com/facebookresearch/Replica-Dataset), rendered",
    list_files=list_files,
    reader=reader,
    metres=True,
)
