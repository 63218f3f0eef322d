"""Make a scene folder from a video or a folder of photos: choose photos, find their cameras.

    python -m ovnerf capture walk.mp4 data/room

The folder has the COLMAP layout (photos, `sparse/0`), stands upright, and says in `report.txt`,
`report.json` and `report.png` how well it went (docs/capturing.md).
"""

from __future__ import annotations

from pathlib import Path

from ovnerf.capture.making import make
from ovnerf.capture.report import text
from ovnerf.config.capture import Capture


def run(source: Path, out: Path, *, settings: Capture) -> dict[str, object]:
    """Print the report; returns its numbers.

    Args:
        source: a video, or a folder of photos.
        out: the scene folder, which appears when it is complete.
    """
    report = make(source, out, settings)
    print("\n".join(text(report)))
    lost = report["photos"] - report["registered"]
    return {
        "photos": report["photos"],
        "registered": report["registered"],
        "dropped": report["dropped"],
        "points": report["points"],
        "reprojection_error": report["reprojection_error_pixels"],
        "metric": report["metric"],
        **({"warning": f"{lost} photos have no pose and are left out"} if lost else {}),
    }
