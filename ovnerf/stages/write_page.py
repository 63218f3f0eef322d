"""Write a page that shows a run's points, found objects and cameras in a browser.

    python -m ovnerf write_page RUN --answers answers --out view.html

RUN is the folder of a finished run, and `--answers` a folder that `query` wrote. The page holds
everything itself and needs no server (docs/asking.md#page).
"""

from __future__ import annotations

from pathlib import Path

from ovnerf.asking.run import open_run
from ovnerf.asking.scene_page import read_answers, scene_page
from ovnerf.config.page import WritePage
from ovnerf.storage.atomic import atomic_file


def run(
    run: Path, *, out: Path, settings: WritePage, answers: Path | None = None
) -> dict[str, object]:
    """Write the page; returns how many points and objects it shows."""
    opened = open_run(run)
    points = opened.points
    found = None if answers is None else read_answers(answers, points)
    page = scene_page(opened.description, points, found, settings.max_points)
    with atomic_file(out) as path:
        path.write_text(page, encoding="utf-8")
    objects = sum(len(one["instances"]) for one in found["answers"]) if found else 0
    return {
        "points": min(len(points), settings.max_points),
        "objects": objects,
        "megabytes": round(len(page) / 1e6, 1),
    }
