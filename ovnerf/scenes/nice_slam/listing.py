"""Which files of a scene folder in layout `nice_slam` are read. Standard library only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ovnerf.scenes.listing import Layout, Listing, by_line, first_file, need_file
from ovnerf.scenes.pairing import photos_in
from ovnerf.scenes.semantic_nerf.listing import class_0_notes

if TYPE_CHECKING:
    from ovnerf.scenes.reader import SceneReader


def list_files(folder: Path) -> Listing:
    """`results/frame*.jpg traj.txt`; `cam_params.json` beside or above; labels may exist."""
    cameras = ("intrinsics.txt", "cam_params.json", "../cam_params.json")
    trajectory = need_file(folder / "traj.txt", "one camera-to-world matrix per line")
    classes = first_file(folder, ("info_semantic.json",))
    return replace(
        by_line(folder, "nice_slam", photos_in(folder / "results", "frame"), trajectory),
        intrinsics=first_file(folder, cameras),
        classes=classes,
        notes=class_0_notes(classes) if classes else (),
    )


def reader() -> SceneReader:
    """How the files are read. Imported when it is asked for, because it brings numpy."""
    from ovnerf.scenes.nice_slam.reader import READER

    return READER


LAYOUT = Layout(
    name="nice_slam",
    about="a Replica scene as rendered for NICE-SLAM",
    list_files=list_files,
    reader=reader,
    metres=True,
)
