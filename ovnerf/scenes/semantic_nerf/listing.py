"""Which files of a scene folder in layout `semantic_nerf` are read. Standard library only."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ovnerf.scenes.listing import Layout, Listing, by_line, need_file, void_notes
from ovnerf.scenes.pairing import photos_in
from ovnerf.storage.text import read_text

if TYPE_CHECKING:
    from ovnerf.scenes.reader import SceneReader


def list_files(folder: Path) -> Listing:
    """`rgb/ semantic_class/ traj_w_c.txt info_semantic.json`, `intrinsics.txt` optional."""
    camera = folder / "intrinsics.txt"
    trajectory = need_file(folder / "traj_w_c.txt", "one camera-to-world matrix per line")
    classes = need_file(folder / "info_semantic.json", "a `classes` list of ids and names")
    return replace(
        by_line(folder, "semantic_nerf", photos_in(folder / "rgb"), trajectory),
        intrinsics=camera if camera.is_file() else None,
        classes=classes,
        notes=class_0_notes(classes),
    )


def class_0_notes(classes: Path) -> tuple[str, ...]:
    """A line where class 0 of `info_semantic.json`, whose pixels have no class, is a thing."""
    try:
        rows = json.loads(read_text(classes))["classes"]
        names = [str(row["name"]) for row in rows if str(row["id"]) == "0"]
    except (ValueError, KeyError, TypeError):
        return ()  # What is wrong with it is said where classes are read.
    return void_notes(names[0], f"{classes}, id 0") if names else ()


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
