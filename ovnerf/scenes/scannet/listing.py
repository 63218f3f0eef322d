"""Which files of a scene folder in layout `scannet` are read. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ovnerf.labels.vocabulary import CLASS_LISTS
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.listing import Layout, Listing, called, first_file, need_file
from ovnerf.scenes.pairing import (
    by_key,
    check_partners,
    frame_names,
    keys_of,
    labels_in,
    paired,
    photos_in,
    visible_files,
    with_suffix_of,
)
from ovnerf.scenes.sens import read_header

if TYPE_CHECKING:
    from ovnerf.scenes.reader import SceneReader

SCANNET_TABLE = "scannetv2-labels.combined.tsv"
IDENTITY = tuple(float(index % 5 == 0) for index in range(16))
"""4x4, row by row."""
EXTRINSIC_TOLERANCE = 1e-3
"""A millimetre, or a thousandth of a radian."""


def list_files(folder: Path) -> Listing:
    """`color/ pose/ intrinsic/intrinsic_color.txt`, or one `.sens` file; `label-filt/` optional.

    Classes are the 20 of the benchmark unless others are asked for. The label table may also lie
    one or two folders above, where the dataset has it.
    """
    recordings = with_suffix_of(visible_files(folder), frozenset({".sens"}))
    if not (folder / "color").is_dir() and len(recordings) != 1:
        raise UserError(
            f"{folder}: found no folder color and {len(recordings)} .sens files, expected one of "
            "the two",
            "docs/datasets.md says how to get ScanNet scenes",
        )
    tables = (SCANNET_TABLE, f"../{SCANNET_TABLE}", f"../../{SCANNET_TABLE}")
    scene = exported(folder) if (folder / "color").is_dir() else recorded(folder, recordings[0])
    return replace(
        scene,
        classes=first_file(folder, tables) if any(scene.labels) else None,
        class_list=CLASS_LISTS / "scannet_20.txt",
    )


def extrinsic_notes(name: str, extrinsic: Sequence[float]) -> list[str]:
    """A line when the colour camera (4x4, row by row) is not where the poses of ScanNet are."""
    pairs = zip(extrinsic, IDENTITY, strict=True)
    if all(abs(found - expected) <= EXTRINSIC_TOLERANCE for found, expected in pairs):
        return []
    return [
        f"{name}: the colour camera has an extrinsic matrix of its own, which is not applied: "
        "poses are taken as those of the colour camera"
    ]


def exported_extrinsic(path: Path) -> Sequence[float]:
    """16 numbers of `extrinsic_color.txt`, the identity where there is no such file."""
    if not path.is_file():
        return IDENTITY
    try:
        found = [float(part) for part in path.read_text(encoding="utf-8").split()]
    except ValueError:
        found = []
    if len(found) != 16:
        raise UserError(
            f"{path}: found no matrix, expected 16 numbers",
            "export the scene again, or remove the file",
        )
    return found


def exported(folder: Path) -> Listing:
    """A ScanNet scene exported by the dataset's own tool; images without a pose are dropped."""
    extrinsic = folder / "intrinsic/extrinsic_color.txt"
    pose_files = with_suffix_of(visible_files(folder / "pose"), frozenset({".txt"}))
    label_files, ignored = labels_in(folder / "label-filt", "")
    images, poses, labels = paired(photos_in(folder / "color"), pose_files, label_files)
    check_partners(called(images), poses, folder / "pose", "pose")
    check_partners(called(images), labels, folder / "label-filt", "label")
    frames = {key: path for key, path in images.items() if key in poses}
    names = dict(zip(images, frame_names(Path(path.name) for path in images.values()), strict=True))
    return Listing(
        folder=folder,
        layout="scannet",
        names=tuple(names[key] for key in frames),
        images=tuple(frames.values()),
        numbers=tuple(frames),
        poses=tuple(poses[key] for key in frames),
        labels=tuple(labels.get(key) for key in frames),
        intrinsics=need_file(folder / "intrinsic/intrinsic_color.txt", "a 4x4 camera matrix"),
        classes=None,
        dropped=tuple((names[key], "no pose file") for key in images if key not in poses),
        ignored=ignored,
        notes=tuple(
            extrinsic_notes("intrinsic/extrinsic_color.txt", exported_extrinsic(extrinsic))
        ),
    )


def recorded(folder: Path, recording: Path) -> Listing:
    """A ScanNet scene as it is downloaded: images, poses and camera in one `.sens` file."""
    header = read_header(recording)
    names = tuple(map(str, range(header.frames)))
    label_files, ignored = labels_in(folder / "label-filt", "")
    keys = keys_of(names, [path.stem for path in label_files])[1]
    labels = by_key(label_files, keys)
    check_partners(dict(enumerate(names)), labels, folder / "label-filt", "label")
    return Listing(
        folder=folder,
        layout="scannet",
        names=names,
        images=(recording,),
        numbers=tuple(range(len(names))),
        poses=(recording,),
        labels=tuple(labels.get(number) for number in range(len(names))),
        intrinsics=recording,
        classes=None,
        ignored=ignored,
        notes=tuple(extrinsic_notes(recording.name, header.colour_extrinsic)),
    )


def reader() -> SceneReader:
    """How the files are read. Imported when it is asked for, because it brings numpy."""
    from ovnerf.scenes.scannet.reader import READER

    return READER


LAYOUT = Layout(
    name="scannet",
    about="a ScanNet scene (www.scan-net.org), its .sens file or exported",
    list_files=list_files,
    reader=reader,
    metres=True,
)
