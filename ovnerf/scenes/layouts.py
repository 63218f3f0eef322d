"""The layouts of scene folders that can be read, and the files of a scene in one of them.

Standard library only: the Snakefile asks.

A new layout is a folder beside this file (`listing.py` with its `LAYOUT`, `reader.py` with its
`READER`) and one entry of `LAYOUTS`; its name is also listed in `ovnerf/config/frames.py`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ovnerf.labels.vocabulary import CLASS_LISTS
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.colmap.listing import LAYOUT as COLMAP
from ovnerf.scenes.listing import Layout, Listing, sample
from ovnerf.scenes.llff.listing import LAYOUT as LLFF
from ovnerf.scenes.nerfstudio.listing import LAYOUT as NERFSTUDIO
from ovnerf.scenes.nice_slam.listing import LAYOUT as NICE_SLAM
from ovnerf.scenes.replica.listing import LAYOUT as REPLICA
from ovnerf.scenes.scannet.listing import LAYOUT as SCANNET
from ovnerf.scenes.semantic_nerf.listing import LAYOUT as SEMANTIC_NERF
from ovnerf.storage.paths import typed_path
from ovnerf.storage.provenance import shipped_file

ALL = (REPLICA, SEMANTIC_NERF, NICE_SLAM, SCANNET, LLFF, COLMAP, NERFSTUDIO)
LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in ALL}
"""By name, in the order in which `inspect` tries them."""
MINIMUM_FRAMES = 10
"""Fewer frames leave no held-out view beside a useful training set."""


def list_scene(
    folder: Path | str, layout: str, frames: int | None = None, classes: str = ""
) -> Listing:
    """The files of a scene, `frames` of them sampled uniformly (all when None).

    Args:
        classes: as in `config.SampleFrames`; the scene's own class list when empty.

    Raises:
        UserError: a missing folder or file, an ambiguous name, or too few frames.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such scene folder",
            f"expected {LAYOUTS[layout].about}; put the scene there, or check `path` in the "
            "scene sheet. docs/datasets.md says where each dataset comes from",
        )
    listing = LAYOUTS[layout].list_files(folder)
    if classes:
        listing = replace(listing, class_list=find_class_list(classes))
    check_count(folder, len(listing.names), frames)
    return sample(listing, uniform(len(listing.names), frames))


def find_class_list(name: str) -> Path:
    """The file of a class list: one of the package by its name, else a path."""
    shipped = CLASS_LISTS / f"{name}.txt"
    for path in (shipped, Path(typed_path(name)), shipped_file(name)):
        if path and path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in CLASS_LISTS.glob("*.txt")))
    raise UserError(
        f"classes: found {name!r}, expected a text file or one of {known}",
        "write one class name per line",
    )


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
