"""The points of a run for other programs: a PLY cloud, its classes, and the language features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from ovnerf.asking.description import Description
from ovnerf.asking.instances import groups
from ovnerf.asking.ply import write_ply
from ovnerf.asking.points import Points
from ovnerf.asking.relevancy import cosines, relevancy
from ovnerf.config.query import Query
from ovnerf.evaluation.figures import palette
from ovnerf.labels.void import VOID
from ovnerf.storage.tensors import disk_errors, mode_of_new_files

CHUNK_POINTS = 65536
LEAST_POINTS = Query().min_points
"""Smaller groups of points are no object."""
FINE = 1e-3
"""Coordinates may move by this share of a voxel where they are written as 32-bit numbers."""
README = """\
points.safetensors: what a trained field knows of each point, {points} of them.
xyz f64 (n, 3) world, {units}; rgb u8; normal f32, 0 where unknown; label i32, a row of text_*.
feature f16 (n, k) and matrix f32 (D, k): matrix @ feature[i] is point i's unit language vector.
text_bare, text_ensemble f32 (C, D): unit text vectors of the classes (bare names; 85 prompts).
Encoder of the text: {encoder}. Names of the classes: metadata "about", and classes.json.

    from safetensors.numpy import load_file
    points = load_file("points.safetensors")
    cosine = points["feature"].astype("f4") @ (points["matrix"].T @ points["text_bare"][0])
    print(points["xyz"][cosine.argmax()])  # the point most like the first class
"""


def confidence(points: Points) -> np.ndarray:
    """How much more a point is like its class than like the next one, f32 (n,).

    It is the relevancy of the class with the other classes as negatives (docs/asking.md#relevancy):
    0.5 where both are equally like. 1 in a run with one class.
    """
    text = points.text.bare if points.text_bank == "bare" else points.text.ensemble
    reduced = text @ points.matrix
    found = np.ones(len(points), dtype=np.float32)
    if len(reduced) == 1:
        return found
    for begin in range(0, len(points), CHUNK_POINTS):
        part = slice(begin, begin + CHUNK_POINTS)
        like = cosines(points.feature[part], reduced)
        own = points.label[part].astype(np.int64)[None]
        positive = np.take_along_axis(like, own, 0)[0]
        np.put_along_axis(like, own, -np.inf, 0)
        found[part] = relevancy(positive, like.max(0))
    return found


def objects_of_labels(points: Points) -> np.ndarray:
    """The object of each point, i32 (n,), numbered from 0 through all classes; -1 for none.

    An object is a group of points of one label whose voxels touch, as in answers to phrases, of at
    least `LEAST_POINTS`.
    """
    found = np.full(len(points), -1, dtype=np.int32)
    count = 0
    for label in np.unique(points.label):
        chosen = np.flatnonzero(points.label == label)
        for group in groups(points.cell[chosen], LEAST_POINTS):
            found[chosen[group]] = count
            count += 1
    return found


def stored_coordinates(xyz: np.ndarray, voxel_size: float) -> np.ndarray:
    """Coordinates f64 (n, 3) as f32 where that moves them by less than `FINE` of a voxel."""
    short = xyz.astype(np.float32)
    exact = np.abs(short - xyz).max(initial=0) <= FINE * voxel_size
    return short if exact else xyz


def class_comments(description: Description) -> list[str]:
    """What a PLY file says of its frame, unit and classes."""
    names = [f"class {index} {name}" for index, name in enumerate(description.classes)]
    return [f"frame: world, unit: {description.units}", *names]


def write_cloud(path: Path, description: Description, points: Points) -> None:
    """Every point: place, normal, colour, class index, object, confidence, how many views."""
    columns = {
        **dict(zip("xyz", stored_coordinates(points.xyz, points.voxel_size).T, strict=True)),
        **dict(zip(("nx", "ny", "nz"), points.normal.T, strict=True)),
        **dict(zip(("red", "green", "blue"), points.rgb.T, strict=True)),
        "label": points.label,
        "instance": objects_of_labels(points),
        "confidence": confidence(points),
        "views": points.views,
    }
    write_ply(path, columns, class_comments(description))


def classes_json(description: Description) -> dict[str, Any]:
    """What `classes.json` holds: number, name and colour of each class, the number of void."""
    colours = palette(len(description.classes)).tolist()
    return {
        "classes": [
            {"id": index, "name": name, "colour": colour}
            for index, (name, colour) in enumerate(zip(description.classes, colours, strict=True))
        ],
        "void": VOID,
    }


def write_features(folder: Path, description: Description, points: Points) -> None:
    """Write `points.safetensors`, and `points.txt`, which says how to read it.

    Raises:
        OSError: the disk refused.
    """
    about = {
        "frame": "world",
        "units": description.units,
        "up": description.up.tolist(),
        "classes": list(description.classes),
        "encoder": description.encoder,
        "points_digest": points.digest,
    }
    arrays = {
        "xyz": points.xyz,
        "normal": points.normal,
        "rgb": points.rgb,
        "label": points.label.astype(np.int32),
        "feature": points.feature.astype(np.float16),
        "matrix": points.matrix,
        "text_bare": points.text.bare,
        "text_ensemble": points.text.ensemble,
    }
    stored = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    path = folder / "points.safetensors"
    with disk_errors(path), mode_of_new_files(path):
        # One key: safetensors writes several in an order that differs from run to run.
        save_file(stored, path, {"about": json.dumps(about)})
    units = "metres" if description.units == "metres" else "the unit of the input's poses"
    model = " ".join(
        str(description.encoder[key])
        for key in ("kind", "model", "weights")
        if key in description.encoder
    )
    text = README.format(points=len(points), units=units, encoder=model)
    (folder / "points.txt").write_text(text, encoding="utf-8")
