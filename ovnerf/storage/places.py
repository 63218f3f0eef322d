"""Where a command may put its result."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ovnerf.runtime.errors import UserError
from ovnerf.storage.atomic import Strangers, require_replaceable
from ovnerf.storage.listed import not_of_stage

FILE_RESULTS = {
    *("evaluate", "fetch_weights", "inspect", "make_room", "score_agreement", "score_labels"),
    *("summarise_runs", "write_page"),
}
"""Stages whose `--out` is a file."""
ROOM = "room.json"
"""The file that `make_room` is asked for; it replaces the folder that holds it."""
FILES_IN_A_FOLDER = {"aggregate", "paper_tables"}
"""Stages that write files into the folder `--out`, beside others; the rest replace it."""


def with_a_name(out: Path) -> Path:
    """The same path, ending in a name: what lies beside a result (its lock) is named after it."""
    return out if out.name not in ("", "..") else out.resolve()


def check_place(stage: str, out: Path) -> None:
    """UserError where the result cannot be put at `out`, before hours of work rather than after.

    A folder that a stage replaces must hold nothing but what an earlier run of the stage made. What
    `capture` and `make_room` replace they check themselves.
    """
    folder = next(above for above in (*out.parents, out) if above.exists())
    if not folder.is_dir() or not out.name:
        found = "a file" if out.name else "the root of all folders"
        raise UserError(
            f"{out}: found {found} at {folder}, expected a folder", "name another place"
        )
    if stage in FILE_RESULTS:
        if out.is_dir():
            raise UserError(
                f"{out}: found a folder, expected a file or nothing there", "name a file"
            )
        if stage == "make_room" and out.name != ROOM:
            raise UserError(
                f"{out}: found the name {out.name}, expected {ROOM}, whose folder becomes the room",
                f"write {out / ROOM}",
            )
    elif stage in FILES_IN_A_FOLDER:
        if out.exists() and not out.is_dir():
            raise UserError(
                f"{out}: found a file, expected a folder or nothing there", "name a folder"
            )
    else:
        require_replaceable(out, strangers_of(stage))


def strangers_of(stage: str) -> Strangers:
    """Which files in a folder at `--out` a stage did not make, of those that replace the folder."""
    if stage == "capture":
        return lambda folder: ()
    # Its stages have imported it already; the command's own help need not wait for zarr.
    from ovnerf.storage.stores import MADE_BY, not_of_store

    kinds = {maker: kind for kind, maker in MADE_BY.items()}
    kinds |= {"cache_features_part": "features", "lift": "views"}
    if stage in kinds:
        return partial(not_of_store, kind=kinds[stage])
    return partial(not_of_stage, stage=stage)
