"""Result folders that hold a list of their files, by which the next run knows what it may replace.

Stores need none: `zarr.json` names the arrays (`ovnerf.storage.stores`). The list is hidden, is no
part of the result (`path_digest` leaves it out), and stays when Snakemake or a person deletes a
file of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from ovnerf.storage.atomic import atomic_folder, files_in
from ovnerf.storage.provenance import LIST, STAMP

EARLIER = {
    "reconstruct": ("field.safetensors", "train.csv"),
    "train_semantics": ("field.safetensors", "train.csv"),
    "train_shared": ("checkpoint.safetensors",),
    "query": ("answers.json", "answers.csv", "query_metrics.csv", "*.ply", "*/*.png"),
    "export": (
        *("classes.json", "cloud.ply", "points.safetensors", "points.txt", "transforms.json"),
        *("coco.json", "mesh.ply", "mesh.glb", "video.mp4"),
        *("images/*", "labels/*.png", "labels_colour/*.png"),
    ),
}
"""What stages put into their folders when these had no list yet; the others drew pictures only."""


@contextmanager
def listed_folder(path: Path, stage: str) -> Iterator[Path]:
    """`atomic_folder` for the result of a stage; the list of its files is written at the end.

    Raises:
        UserError: `path` holds a file that this stage did not make (`not_of_stage`).
    """
    with atomic_folder(path, partial(not_of_stage, stage=stage)) as folder:
        yield folder
        content = {"stage": stage, "files": list(files_in(folder))}
        (folder / LIST).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def not_of_stage(folder: Path, stage: str) -> Iterator[str]:
    """Names of the files in `folder` that an earlier run of this stage is not known to have made.

    Known are the files of its list. A folder without one is known where Snakemake made it, nothing
    was written to it since, and all its files have names as the stage gives them.
    """
    listed = listed_files(folder, stage)
    if listed is not None:
        yield from (name for name in files_in(folder) if name not in listed)
        return
    stamp = folder / STAMP
    made = stamp.stat().st_mtime if stamp.is_file() else float("-inf")
    patterns = EARLIER.get(stage, ("*.png",))
    for name in files_in(folder):
        named_so = any(fnmatchcase(name, pattern) for pattern in patterns)
        if not named_so or (folder / name).lstat().st_mtime > made:
            yield name


def listed_files(folder: Path, stage: str) -> set[str] | None:
    """The files of a folder's list; empty for another stage's, None where there is no list."""
    if not (folder / LIST).is_file():
        return None
    try:
        content = json.loads((folder / LIST).read_text(encoding="utf-8"))
        return set(content["files"]) if content["stage"] == stage else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()  # damaged: it vouches for nothing
