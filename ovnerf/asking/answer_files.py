"""The folder of answers: JSON, rows, a picture per phrase and view, a cloud per phrase."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ovnerf.asking.asker import Answer, Asker
from ovnerf.asking.pictures import score_picture
from ovnerf.asking.ply import write_ply
from ovnerf.asking.report import COLUMNS, answers_json, json_text, rows
from ovnerf.asking.views import View
from ovnerf.evaluation.figures import in_file_name

DOTS_PER_INCH = 100


def write_answers(
    folder: Path,
    asker: Asker,
    answers: Sequence[Answer],
    names: Sequence[str],
) -> None:
    """Write `answers.json`, `answers.csv` and a cloud per answer, `{name}.ply`, to a folder."""
    content = json_text(answers_json(asker, answers, names))
    (folder / "answers.json").write_text(content, encoding="utf-8")
    with (folder / "answers.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows(answers, asker.points.voxel_size))
    for answer, name in zip(answers, names, strict=True):
        write_cloud(folder / f"{name}.ply", asker, answer)


def write_pictures(
    folder: Path,
    asker: Asker,
    answers: Sequence[Answer],
    names: Sequence[str],
    frame: str,
    view: View,
    scores: Sequence[np.ndarray],
) -> None:
    """Write `{name}/{frame}.png` of each answer, from its score map f32 (H, W) of the view."""
    stretched = asker.settings.normalize
    for answer, name, score in zip(answers, names, scores, strict=True):
        (folder / name).mkdir(exist_ok=True)
        title = f"{answer.phrase.notation}: {frame}"
        figure = score_picture(view.rgb, score, asker.threshold, title, stretched)
        path = folder / name / f"{in_file_name(frame)}.png"
        figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})


def write_cloud(path: Path, asker: Asker, answer: Answer) -> None:
    """Every point with its score for a phrase, and the number of its instance, -1 for none."""
    points = asker.points
    instance = np.full(len(points), -1, dtype=np.int32)
    for number, one in enumerate(answer.instances):
        instance[one.index] = number
    columns = {
        **dict(zip("xyz", points.xyz.T, strict=True)),
        **dict(zip(("nx", "ny", "nz"), points.normal.T, strict=True)),
        **dict(zip(("red", "green", "blue"), points.rgb.T, strict=True)),
        "score": answer.relevancy,
        "instance": instance,
    }
    units = asker.description.units
    write_ply(path, columns, (f"phrase: {answer.phrase.notation}", f"frame: world, unit: {units}"))
