"""Which files of a scene folder are read, per layout. Standard library only: the Snakefile asks.

A layout is one function `folder -> list[Source]` in `LAYOUTS`. It names the files of every frame
and never opens one; what is inside them is the business of the reader module of the same name.
Files of a frame are matched by the number at the end of their name (`rgb_10.png` belongs to
`pose_10.txt` and comes after `rgb_2.png`), or by their whole stem when it holds no number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ovnerf.errors import UserError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
MINIMUM_FRAMES = 10
"""Fewer frames leave no held-out view beside a useful training set."""

Key = int | str


@dataclass(frozen=True)
class Listing:
    """The sampled frames of a scene and the files that hold them.

    Attributes:
        folder: the scene folder.
        layout: a key of `LAYOUTS`.
        names: frame names (image stems), in frame order.
        images: one image per frame.
        numbers: the number (or stem) that ties a frame's files together; in `semantic_nerf` it is
            the 0-based line of the trajectory file.
        poses: one file per frame, or a single file for all.
        labels: one file per frame, None where the scene has none.
        intrinsics: the camera file, None when the layout's default camera applies.
        classes: the class list.
    """

    folder: Path
    layout: str
    names: tuple[str, ...]
    images: tuple[Path, ...]
    numbers: tuple[Key, ...]
    poses: tuple[Path, ...]
    labels: tuple[Path | None, ...]
    intrinsics: Path | None
    classes: Path

    def image_inputs(self) -> list[Path]:
        """Every file `sample_frames` reads."""
        shared = [self.intrinsics] if self.intrinsics else []
        return [*self.images, *self.poses, *shared, self.classes]

    def label_inputs(self) -> list[Path]:
        """Every file `read_truth` reads; UserError when a sampled frame has no label image."""
        for image, label in zip(self.images, self.labels, strict=True):
            if label is None:
                raise UserError(
                    f"{self.folder}: no label image for {image.name}",
                    "add the label image, or leave ground truth out for this scene",
                )
        return [*(label for label in self.labels if label), self.classes]

    @property
    def labelled(self) -> bool:
        """Whether every sampled frame has a label image."""
        return all(self.labels)


def list_scene(folder: Path | str, layout: str, frames: int | None = None) -> Listing:
    """The files of a scene, `frames` of them sampled uniformly (all when None).

    Raises:
        UserError: a missing folder or file, an ambiguous name, or too few frames.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such scene folder", "check `path` in the scene sheet")
    listing = LAYOUTS[layout](folder)
    check_count(folder, len(listing.images), frames)
    return sample(listing, uniform(len(listing.images), frames))


def image_inputs(folder: Path | str, layout: str, frames: int | None = None) -> list[Path]:
    """Every file `sample_frames` reads: images, poses, intrinsics, classes."""
    return list_scene(folder, layout, frames).image_inputs()


def label_inputs(folder: Path | str, layout: str, frames: int | None = None) -> list[Path]:
    """Every file `read_truth` reads: label images and the class list."""
    return list_scene(folder, layout, frames).label_inputs()


def check_count(folder: Path, found: int, wanted: int | None) -> None:
    """UserError unless there are enough frames for a split and for the asked sample."""
    if min(found, wanted or found) < MINIMUM_FRAMES:
        raise UserError(
            f"{folder}: found {min(found, wanted or found)} frames, "
            f"expected at least {MINIMUM_FRAMES}",
            "add images or raise `frames`",
        )
    if wanted and wanted > found:
        raise UserError(
            f"{folder}: found {found} frames, expected at least the {wanted} asked for",
            "lower `frames`, or leave it empty to take all",
        )


def uniform(count: int, wanted: int | None) -> list[int]:
    """`wanted` positions spread evenly over `count`, the first one included (all when None).

    >>> uniform(10, 4)
    [0, 2, 5, 7]
    """
    wanted = wanted or count
    return [position * count // wanted for position in range(wanted)]


def sample(listing: Listing, positions: list[int]) -> Listing:
    """The listing reduced to some frames; a shared pose file stays shared."""
    poses = listing.poses
    if len(poses) > 1:
        poses = tuple(poses[position] for position in positions)
    return Listing(
        folder=listing.folder,
        layout=listing.layout,
        names=tuple(listing.names[position] for position in positions),
        images=tuple(listing.images[position] for position in positions),
        numbers=tuple(listing.numbers[position] for position in positions),
        poses=poses,
        labels=tuple(listing.labels[position] for position in positions),
        intrinsics=listing.intrinsics,
        classes=listing.classes,
    )


def key_of(path: Path) -> Key:
    """What ties a frame's files together: the last number in the stem, else the stem itself."""
    numbers = re.findall(r"\d+", path.stem)
    return int(numbers[-1]) if numbers else path.stem


def by_key(paths: Iterable[Path]) -> dict[Key, Path]:
    """Files by key in numeric order (plain stems last); UserError when two share a key."""
    found: dict[Key, Path] = {}
    for path in sorted(paths):
        key = key_of(path)
        if key in found:
            raise UserError(
                f"{path}: same frame number {key} as {found[key].name}, expected one file a frame",
                "remove or rename one of the two",
            )
        found[key] = path
    return dict(sorted(found.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def files_in(folder: Path, suffixes: frozenset[str]) -> dict[Key, Path]:
    """Files of a folder with one of the suffixes, by key; UserError when there is no folder."""
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder", "docs/conventions.md draws the layouts: is `layout` right?"
        )
    return by_key(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    )


def optional_files_in(folder: Path, suffixes: frozenset[str]) -> dict[Key, Path]:
    """Like `files_in`, empty when the folder does not exist."""
    return files_in(folder, suffixes) if folder.is_dir() else {}


def need_file(path: Path, what: str) -> Path:
    """`path`, or a UserError saying which file is missing."""
    if not path.is_file():
        raise UserError(
            f"{path}: no such file, expected {what}",
            "docs/conventions.md draws the layouts: is `layout` right?",
        )
    return path


def replica(folder: Path) -> Listing:
    """`rgb_300/ semantic_300/ pose_300/ intrinsics.txt classes.txt` (method 1.1)."""
    images = files_in(folder / "rgb_300", IMAGE_SUFFIXES)
    poses = files_in(folder / "pose_300", frozenset({".txt"}))
    labels = optional_files_in(folder / "semantic_300", frozenset({".png"}))
    for key, image in images.items():
        if key not in poses:
            raise UserError(
                f"{folder / 'pose_300'}: no pose for {image.name}, expected a .txt file "
                f"with frame number {key}",
                "every image needs a 4x4 camera-to-world matrix",
            )
    return Listing(
        folder=folder,
        layout="replica",
        names=tuple(image.stem for image in images.values()),
        images=tuple(images.values()),
        numbers=tuple(images),
        poses=tuple(poses[key] for key in images),
        labels=tuple(labels.get(key) for key in images),
        intrinsics=need_file(folder / "intrinsics.txt", "a 3x3 or 4x4 camera matrix"),
        classes=need_file(folder / "classes.txt", "one class name per line, line 0 void"),
    )


def semantic_nerf(folder: Path) -> Listing:
    """`rgb/ semantic_class/ traj_w_c.txt info_semantic.json`, `intrinsics.txt` optional."""
    images = files_in(folder / "rgb", IMAGE_SUFFIXES)
    labels = optional_files_in(folder / "semantic_class", frozenset({".png"}))
    camera = folder / "intrinsics.txt"
    return Listing(
        folder=folder,
        layout="semantic_nerf",
        names=tuple(image.stem for image in images.values()),
        images=tuple(images.values()),
        numbers=tuple(images),
        poses=(need_file(folder / "traj_w_c.txt", "one camera-to-world matrix per line"),),
        labels=tuple(labels.get(key) for key in images),
        intrinsics=camera if camera.is_file() else None,
        classes=need_file(folder / "info_semantic.json", "a `classes` list of ids and names"),
    )


LAYOUTS: dict[str, Callable[[Path], Listing]] = {
    "replica": replica,
    "semantic_nerf": semantic_nerf,
}
