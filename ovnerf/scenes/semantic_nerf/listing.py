"""Which files of a scene folder in layout `semantic_nerf` are read. Standard library only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ovnerf.scenes.listing import Layout, Listing, by_line, need_file
from ovnerf.scenes.pairing import photos_in

if TYPE_CHECKING:
    from ovnerf.scenes.reader import SceneReader


def list_files(folder: Path) -> Listing:
    """`rgb/ semantic_class/ traj_w_c.txt info_semantic.json`, `intrinsics.txt` optional."""
    camera = folder / "intrinsics.txt"
    trajectory = need_file(folder / "traj_w_c.txt", "one camera-to-world matrix per line")
    return replace(
        by_line(folder, "semantic_nerf", photos_in(folder / "rgb"), trajectory),
        intrinsics=camera if camera.is_file() else None,
        classes=need_file(folder / "info_semantic.json", "a `classes` list of ids and names"),
    )


def reader() -> SceneReader:
    """How the files are read. Imported when it is asked for, because it brings numpy."""
    from ovnerf.scenes.semantic_nerf.reader import READER

    return READER


LAYOUT = Layout(
    name="semantic_nerf",
    about="a Replica scene as rendered for Semantic-NeRF",
    list_files=list_files,
    reader=reader,
    metres=True,
)
