"""Answers as JSON, as rows, and as a table that a person reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import floor, log10
from typing import Any

import numpy as np

from ovnerf.asking.asker import Answer, Asker
from ovnerf.asking.instances import Instance

SCHEMA = 1
"""Of `answers.json`."""
SHOWN_INSTANCES = 3
"""Of a phrase, in the table for people."""
COLUMNS = (
    *("phrase", "found", "instance", "score", "points"),
    *("x", "y", "z", "surface_x", "surface_y", "surface_z"),
    *("low_x", "low_y", "low_z", "high_x", "high_y", "high_z"),
)
"""Of `answers.csv`."""


def answers_json(asker: Asker, answers: Sequence[Answer], names: Sequence[str]) -> dict[str, Any]:
    """What `answers.json` holds (docs/asking.md#json).

    Args:
        names: of the files of each answer.
    """
    description, settings = asker.description, asker.settings
    return {
        "schema": SCHEMA,
        "frame": "world",
        "units": description.units,
        "up": description.up.tolist(),
        "classes": list(description.classes),
        "mode": settings.mode,
        "threshold": settings.threshold if settings.mode == "relevancy" else None,
        "text_bank": settings.text_bank,
        "min_points": settings.min_points,
        "points_digest": asker.points.digest,
        "answers": [
            {
                "phrase": answer.phrase.text,
                "synonyms": list(answer.phrase.synonyms),
                "negatives": list(answer.negatives),
                "files": name,
                "found": answer.found,
                "score": answer.score,
                "instances": [instance_json(one) for one in answer.instances],
            }
            for answer, name in zip(answers, names, strict=True)
        ],
    }


def instance_json(found: Instance) -> dict[str, Any]:
    """An instance with its boxes."""
    return {
        "score": found.score,
        "points": len(found.index),
        "centroid": found.centroid.tolist(),
        "nearest_surface_point": found.surface.tolist(),
        "aabb": {"min": found.low.tolist(), "max": found.high.tolist()},
        "upright_box": {
            "centre": found.box.centre.tolist(),
            "size": found.box.size.tolist(),
            "quaternion_xyzw": found.box.quaternion.tolist(),
        },
    }


def json_text(content: dict[str, Any]) -> str:
    """JSON as it is written: one key a line, in Unicode."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def decimals(voxel_size: float, least: int) -> int:
    """Decimals of a coordinate whose last digit is at most a hundredth of a voxel; `least` or more.

    A voxel is as wide as a pixel on a surface, in whatever unit the poses came in.

    >>> decimals(0.033, 4), decimals(33.0, 4), decimals(3.3e-5, 4)
    (4, 4, 7)
    """
    return max(least, 2 - floor(log10(voxel_size)))


def rows(answers: Sequence[Answer], voxel_size: float) -> list[dict[str, Any]]:
    """A row of `answers.csv` per instance, and one for each phrase without any.

    Coordinates are written to a hundredth of a voxel or finer, in at least four decimals.
    """
    found: list[dict[str, Any]] = []
    digits = decimals(voxel_size, 4)
    for answer in answers:
        base = {"phrase": answer.phrase.notation, "found": int(answer.found)}
        if not answer.found:
            found.append({**base, "score": f"{answer.score:.4f}"})
        for number, one in enumerate(answer.instances):
            numbers = np.concatenate([one.centroid, one.surface, one.low, one.high])
            cells = dict(
                zip(COLUMNS[5:], (f"{value:.{digits}f}" for value in numbers), strict=True)
            )
            score = {"instance": number, "score": f"{one.score:.4f}", "points": len(one.index)}
            found.append({**base, **score, **cells})
    return found


def table(asker: Asker, answers: Sequence[Answer]) -> list[str]:
    """Lines for people: phrase, whether it was found, where, how large, how sure.

    Lengths are written to a voxel or finer, in at least two decimals.
    """
    digits = decimals(100 * asker.points.voxel_size, 2)
    units = {"metres": "metres"}.get(asker.description.units, "unit of the input's poses")
    head = ("phrase", "found", "how sure", f"where: x y z ({units})", "size", "points")
    lines = [head]
    for answer in answers:
        if not answer.found:
            lines.append((answer.phrase.notation, "no", f"{answer.score:.2f}", "-", "-", "-"))
        for number, one in enumerate(answer.instances[:SHOWN_INSTANCES]):
            place = " ".join(f"{value:.{digits}f}" for value in one.centroid)
            size = " x ".join(f"{value:.{digits}f}" for value in one.box.size)
            first = (answer.phrase.notation, "yes") if number == 0 else ("", "")
            lines.append((*first, f"{one.score:.2f}", place, size, str(len(one.index))))
        more = len(answer.instances) - SHOWN_INSTANCES
        if more > 0:
            lines.append(("", "", "", f"and {more} more", "", ""))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
