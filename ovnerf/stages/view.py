"""Look at trained fields in a browser, ask them, and click on things; they are rendered live.

    python -m ovnerf view RUN
    python -m ovnerf view results/demo/room0/toy/baseline/seed0 results/demo/room0/toy/ovnerf/seed0

RUN is the folder of a finished run. It prints an address of this machine to open in a browser, and
serves until Ctrl-C. Several runs of one scene can be looked at side by side. No other machine can
connect; to look from elsewhere forward the port: ssh -L 8080:127.0.0.1:8080 MACHINE
(docs/asking.md#view).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from ovnerf.asking.description import Description, near, same_poses
from ovnerf.asking.run import open_run
from ovnerf.config.viewing import Viewing
from ovnerf.runtime import progress
from ovnerf.runtime.errors import UserError
from ovnerf.viewing.browser import open_browser
from ovnerf.viewing.session import Session


def run(run: list[Path], *, port: int = 8080, settings: Viewing) -> dict[str, object]:
    """Serve until the process is asked to end; returns how many runs were shown."""
    runs = [open_run(folder) for folder in run]
    first = runs[0].description
    for other in runs[1:]:
        if found := camera_difference(other.description, first):
            raise UserError(
                f"{other.files.folder}: a run of other {found} than {runs[0].files.folder}",
                "name runs of one scene, trained with the same frames",
            )
        if other.description.classes != first.classes:  # They share the legend and its colours.
            raise UserError(
                f"{other.files.folder}: a run of other classes than {runs[0].files.folder}: found "
                f"{difference(other.description.classes, first.classes)}",
                "name runs that were trained with one class list, or look at each by itself",
            )
    browser = open_browser(Session(runs, short_names(run), settings), port)
    progress.log(f"view: open {browser.address} in a browser; Ctrl-C ends")
    try:
        while not progress.stop_wanted():
            if browser.failure is not None:
                raise browser.failure
            time.sleep(0.2)
    except KeyboardInterrupt:
        pass
    finally:
        browser.stop()
    return {"runs": len(runs)}


def camera_difference(found: Description, expected: Description) -> str:
    """What tells the frames of two runs apart, in words; empty where they are the same.

    Frames of two scenes can have the same names.
    """
    if found.names != expected.names:
        return "frames"
    if not same_poses(found.pose, expected.pose):
        return "camera poses"
    size = (found.height, found.width) == (expected.height, expected.width)
    return "" if size and near(found.intrinsics, expected.intrinsics) else "intrinsics"


def difference(found: Sequence[str], expected: Sequence[str]) -> str:
    """How a class list differs from another, in words."""
    added = [name for name in found if name not in expected]
    missing = [name for name in expected if name not in found]
    parts = [
        f"{word} {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
        for word, names in (("also", added), ("not", missing))
        if names
    ]
    return " and ".join(parts) or "the same in another order"


def short_names(folders: Sequence[Path]) -> list[str]:
    """The last parts of each path, as many as tell all of them apart.

    Raises:
        UserError: two are the same.
    """
    parts = [folder.absolute().parts for folder in folders]
    for count in range(2, max(map(len, parts)) + 1):
        names = ["/".join(part[-count:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise UserError("view: found the same run twice", "name each run once")
