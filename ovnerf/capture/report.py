"""What a capture found, as JSON and as text for one screen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from ovnerf.capture.choosing import NOT_SHARPEST
from ovnerf.capture.mapping import median_angle, registered_names
from ovnerf.capture.model import camera_poses, model_points
from ovnerf.capture.scale import USUAL_DEPTH
from ovnerf.capture.upright import Upright

Report = dict[str, Any]
MIDDLE = (1.0, 99.0)
"""Percentiles of the points between which the room is."""
NAMED = 5
"""Photos without a pose that the text names."""


def upright_part(upright: Upright) -> Report:
    """How the scene was stood up."""
    return {"tilt_degrees": round(upright.tilt, 2), "camera_roll_degrees": round(upright.level, 2)}


def selection_part(names: list[str], counts: Mapping[str, int], dropped: list) -> Report:
    """What was kept, and what was dropped and why."""
    told = [list(pair) for pair in dropped if pair[1] != NOT_SHARPEST]
    return {"photos": len(names), "dropped": dict(counts), "dropped_photos": told}


def model_part(model: pycolmap.Reconstruction, names: list[str], metric: bool) -> Report:
    """What the reconstruction found.

    Args:
        names: of the photos that were kept.
        metric: whether a known distance gave it its scale.
    """
    registered = registered_names(model)
    camera = next(iter(model.cameras.values()))
    low, high = np.percentile(model_points(model), MIDDLE, axis=0)
    centres = camera_poses(model)[:, :3, 3]
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    return {
        "registered": len(registered),
        "unregistered_photos": sorted(set(names) - set(registered)),
        "points": model.num_points3D(),
        "reprojection_error_pixels": round(model.compute_mean_reprojection_error(), 3),
        "photos_per_point": round(model.compute_mean_track_length(), 2),
        "median_angle_degrees": round(median_angle(model), 2),
        "camera": {
            "model": camera.model.name,
            "size": [camera.width, camera.height],
            "parameters": [float(f"{value:.6g}") for value in camera.params],
            "focal_from_exif": bool(camera.has_prior_focal_length),
        },
        "metric": metric,
        "room_size": (high - low).round(2).tolist(),
        "path_length": round(float(steps.sum()), 2),
    }


def text(report: Report) -> list[str]:
    """The report in words."""
    camera = report["camera"]
    width, height = camera["size"]
    across = 2 * np.degrees(np.arctan(width / 2 / camera["parameters"][0]))
    unit = "m" if report["metric"] else "units"
    size = " x ".join(f"{side:g}" for side in report["room_size"])
    lost = report["unregistered_photos"]
    named = ", ".join(lost[:NAMED]) + (" ..." if len(lost) > NAMED else "")
    dropped = ", ".join(f"{number} {reason}" for reason, number in report["dropped"].items())
    lines = [
        f"{report['source']}: {report['registered']} of {report['photos']} photos have a pose",
        *([f"  without: {named}"] if lost else []),
        f"  dropped before: {dropped or 'none'}",
        f"  reprojection error {report['reprojection_error_pixels']:g} pixels, "
        f"{report['points']} points, each in {report['photos_per_point']:g} photos, seen under "
        f"{report['median_angle_degrees']:g} degrees",
        f"  camera {camera['model']}, {width}x{height}, {across:.0f} degrees across "
        f"(focal length {'by EXIF, refined' if camera['focal_from_exif'] else 'estimated'})",
        f"  upright: cameras roll by {report['upright']['camera_roll_degrees']:g} degrees, planes "
        f"of the room moved the vertical by {report['upright']['tilt_degrees']:g}",
        f"  room {size} {unit}, path {report['path_length']:g} {unit}",
    ]
    if not report["metric"]:
        lines.append(
            f"  not in metres: median depth set to {USUAL_DEPTH:g}; give `distance` for metres"
        )
    return lines


def write_report(folder: Path, report: Report) -> None:
    """Write `report.json` and `report.txt`."""
    document = json.dumps(report, indent=1, sort_keys=True) + "\n"
    (folder / "report.json").write_text(document, encoding="utf-8")
    (folder / "report.txt").write_text("\n".join(text(report)) + "\n", encoding="utf-8")
