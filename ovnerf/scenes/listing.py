"""The files of a scene: what a layout's listing function returns, and parts of such functions.

Standard library only: the Snakefile asks which files a scene is made of, and Snakemake may be
installed without numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovnerf.runtime.errors import UserError
from ovnerf.scenes.pairing import (
    LAYOUT_HINT,
    Key,
    check_partners,
    frame_names,
    labels_in,
    masks_in,
    paired,
)
from ovnerf.storage.text import word_form

if TYPE_CHECKING:
    from ovnerf.scenes.reader import SceneReader

VOID_NAMES = {
    *("", "void", "unlabeled", "unlabelled", "undefined", "unknown", "unannotated", "background"),
    *("ignore", "ignored", "invalid", "none", "null", "nothing", "other", "others"),
}
"""What the first entry of a class list is called where it stands for pixels without a class."""
MASK_FOLDERS = ("mask", "masks")
"""Other tools leave the pixels out that masks in these folders cover."""


@dataclass(frozen=True)
class Listing:
    """The sampled frames of a scene and the files that hold them.

    Attributes:
        folder: the scene folder.
        layout: name of the layout, a key of `layouts.LAYOUTS`.
        names: frame names (image stems, each once), in frame order.
        images: one image per frame, or a single file that holds all.
        numbers: the number (or stem) that ties a frame's files together; where one file holds all
            poses, the 0-based line or entry in it.
        poses: one file per frame, or a single file for all.
        labels: one file (or folder of masks) per frame, None where the scene has none.
        intrinsics: the camera file, None when the layout's default camera applies.
        classes: the scene's own class list, or the table that explains label ids; None where the
            scene has neither.
        class_list: the class list asked for, None for the scene's own.
        partial_labels: whether frames without labels are usual in this layout.
        dropped: (name, reason) of images that are no frames.
        others: further files that the reader opens.
        all_photos: (number, name) of every photo, sampled or not, where one file holds all poses
            and its reader says which belongs to which photo.
        ignored: files beside the labels that are none.
        notes: what a person should know about the choice of files: one line each.
    """

    folder: Path
    layout: str
    names: tuple[str, ...]
    images: tuple[Path, ...]
    numbers: tuple[Key, ...]
    poses: tuple[Path, ...]
    labels: tuple[Path | None, ...]
    intrinsics: Path | None
    classes: Path | None
    class_list: Path | None = None
    partial_labels: bool = False
    dropped: tuple[tuple[str, str], ...] = ()
    others: tuple[Path, ...] = ()
    all_photos: tuple[tuple[Key, str], ...] = ()
    ignored: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    def image_inputs(self) -> list[Path]:
        """Every file `sample_frames` reads, each once."""
        shared = [path for path in (self.intrinsics, *self.class_inputs()) if path]
        return list(dict.fromkeys([*self.images, *self.poses, *self.others, *shared]))

    def class_inputs(self) -> list[Path]:
        """The files that say which classes there are."""
        return [path for path in (self.class_list, self.classes) if path]

    def require_classes(self) -> None:
        """UserError when the scene has no class list and none is asked for."""
        if not self.class_inputs():
            raise UserError(
                f"{self.folder}: the scene has no class list, and none is asked for",
                "name a list as `classes`, in `sample_frames` or in the scene sheet; the layouts "
                f"colmap, llff and nerfstudio also read {self.folder / 'classes.txt'}, one class "
                "name per line",
            )

    def label_inputs(self) -> list[Path]:
        """Every file `read_truth` reads; UserError when a sampled frame has no label image."""
        if not all(self.labels) and not self.partial_labels:
            missing = self.labels.index(None)
            image = self.images[missing] if len(self.images) > 1 else Path(self.names[missing])
            raise UserError(
                f"{self.folder}: no label image for {image.name}",
                "add the label image, or leave ground truth out for this scene",
            )
        files = [file for label in self.labels if label for file in label_files(label)]
        return [*files, *self.class_inputs()]

    def rows(self) -> list[int]:
        """The line, row or entry that each listed frame has in the file of all poses, from 0."""
        found = [number for number in self.numbers if isinstance(number, int)]
        assert len(found) == len(self.numbers)
        return found

    def name_of(self, path: Path) -> str:
        """A file's path inside the scene folder; its bare name where it lies elsewhere."""
        return str(path.relative_to(self.folder)) if self.is_inside(path) else path.name

    def is_inside(self, path: Path) -> bool:
        """Whether a file lies in the scene folder, going by its path."""
        return path.is_relative_to(self.folder) and ".." not in path.parts

    def by_name(self, paths: Iterable[Path]) -> dict[str, Path]:
        """Each file by a name of its own, the same wherever the scene folder lies: its path in it.

        Files that lie elsewhere may share a bare name with each other or with one inside (a class
        list `classes.txt`); theirs is `../<number among them>/<bare name>`.
        """
        found: dict[str, Path] = {}
        elsewhere = 0
        for path in dict.fromkeys(paths):
            if self.is_inside(path):
                found[self.name_of(path)] = path
            else:
                found[f"../{elsewhere}/{path.name}"] = path
                elsewhere += 1
        return found

    def only(self, names: Iterable[str]) -> Listing:
        """The frames of these names, in that order; KeyError for one the scene does not have."""
        position = {name: index for index, name in enumerate(self.names)}
        return sample(self, [position[name] for name in names])


@dataclass(frozen=True)
class Layout:
    """All that is known about one way to lay out a scene folder; `layouts.LAYOUTS` holds them.

    Attributes:
        name: as in settings and scene sheets.
        about: what a person has to get, for messages.
        list_files: finds the files of a scene folder. It opens none but an index, and raises
            UserError where the folder is not in this layout.
        reader: returns the functions that read those files.
        labelled: whether scenes of this layout can have ground-truth labels.
        metres: whether its poses are in metres; else their unit is whatever the file's author took.
    """

    name: str
    about: str
    list_files: Callable[[Path], Listing]
    reader: Callable[[], SceneReader]
    labelled: bool = True
    metres: bool = False


def label_files(label: Path) -> list[Path]:
    """A label image, or the masks in a folder of them."""
    return masks_in(label)[0] if label.is_dir() else [label]


def ignored_lines(listing: Listing) -> list[str]:
    """What a person should know about files beside the labels: a line per folder."""
    folders: dict[Path, list[str]] = {}
    for path in listing.ignored:
        folders.setdefault(path.parent, []).append(path.name)
    return [
        f"ignored: {len(names)} in {listing.name_of(folder)} ({', '.join(names[:3])}"
        f"{' ...' if len(names) > 3 else ''}): not named as labels are (docs/datasets.md)"
        for folder, names in folders.items()
    ]


def sample(listing: Listing, positions: list[int]) -> Listing:
    """The listing reduced to some frames; files shared by all frames stay shared."""

    def chosen(per_frame: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(per_frame[position] for position in positions)

    return replace(
        listing,
        names=chosen(listing.names),
        images=chosen(listing.images) if len(listing.images) > 1 else listing.images,
        numbers=chosen(listing.numbers),
        poses=chosen(listing.poses) if len(listing.poses) > 1 else listing.poses,
        labels=chosen(listing.labels),
    )


def need_file(path: Path, what: str) -> Path:
    """`path`, or a UserError saying which file is missing."""
    if not path.is_file():
        raise UserError(
            f"{path}: no such file, expected {what}",
            LAYOUT_HINT,
        )
    return path


def first_file(folder: Path, names: Iterable[str]) -> Path | None:
    """The first of some files that exists."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def called(photos: dict[Key, Path]) -> dict[Key, str]:
    """What messages call each photo."""
    return {key: path.name for key, path in photos.items()}


def by_line(folder: Path, layout: str, found: Sequence[Path], trajectory: Path) -> Listing:
    """Photos whose poses are lines of one file, and `semantic_class/`; camera and classes open."""
    label_files, ignored = labels_in(folder / "semantic_class", "semantic_class_")
    images, labels = paired(found, label_files)
    check_partners(called(images), labels, folder / "semantic_class", "label")
    names = frame_names(Path(image.name) for image in images.values())
    return Listing(
        folder=folder,
        layout=layout,
        names=names,
        images=tuple(images.values()),
        numbers=tuple(images),
        poses=(trajectory,),
        labels=tuple(labels.get(key) for key in images),
        intrinsics=None,
        classes=None,
        all_photos=tuple(zip(images, names, strict=True)),
        ignored=ignored,
    )


def void_notes(name: str, where: str) -> tuple[str, ...]:
    """A line where the entry that a layout takes for void has the name of a thing."""
    if word_form(name) in VOID_NAMES:
        return ()
    return (f"{where}: {name!r} is taken for void, so pixels with this label have no class",)


def mask_notes(folder: Path) -> list[str]:
    """A line for each folder of masks that other tools would apply to the photos."""
    return [
        f"folder {name} is not read: every pixel of the photos is used"
        for name in MASK_FOLDERS
        if (folder / name).is_dir()
    ]
