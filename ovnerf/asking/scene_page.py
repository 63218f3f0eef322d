"""A page that shows points, found objects and cameras in a browser, without a server.

The viewer is viser's. It is imported where it is needed, since it takes a second.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from importlib import import_module
from math import atan
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ovnerf.asking.description import Description
from ovnerf.asking.points import Points
from ovnerf.evaluation.figures import palette
from ovnerf.runtime.errors import UserError
from ovnerf.storage.text import read_text

HELD_OUT, TRAINED = (230, 120, 20), (60, 60, 60)
"""Colours of the cameras."""
FRUSTUM = 0.03
"""Length of a camera's frustum, as a share of the points' extent."""


def viewer(stage: str) -> Any:
    """The viser package, for a stage.

    Raises:
        UserError: it is not installed.
    """
    try:
        return import_module("viser")
    except ModuleNotFoundError as error:
        raise UserError(
            f"{stage}: found no module {error.name}, expected viser to be installed",
            "install the package again: python envs/install.py",
        ) from None


def scene_page(
    description: Description, points: Points, answers: Mapping[str, Any] | None, max_points: int
) -> str:
    """The page as HTML. Places on it are relative to the middle of the points.

    Args:
        answers: what `answers.json` of the same points holds.

    Raises:
        UserError: viser is not installed.
    """
    with redirect_stdout(sys.stderr):  # viser prints its address
        return filled_page(viewer("write_page"), description, points, answers, max_points)


def filled_page(
    viser: Any,
    description: Description,
    points: Points,
    answers: Mapping[str, Any] | None,
    max_points: int,
) -> str:
    """See `scene_page`."""
    # Scenes can be filled through a server alone. It ends before the page is there.
    server = viser.ViserServer(host="127.0.0.1", verbose=False)
    try:
        scene = server.scene
        scene.set_up_direction(tuple(description.up.tolist()))
        low, high = points.xyz.min(0), points.xyz.max(0)
        middle, extent = (low + high) / 2, float(np.linalg.norm(high - low))
        add_points(scene, points, middle, max_points)
        add_cameras(scene, description, middle, FRUSTUM * extent)
        if answers is not None:
            add_answers(scene, answers, middle)
        return str(scene.as_html())
    finally:
        server.stop()


def add_points(
    scene: Any, points: Points, middle: np.ndarray, max_points: int, zoom: float = 1.0
) -> None:
    """The cloud in its colours; and in those of the classes, hidden until it is chosen.

    Args:
        middle, zoom: here and below, a place of the world is at `(place - middle) * zoom`.
    """
    count = len(points)
    shown = np.random.default_rng(0).choice(count, min(count, max_points), replace=False)
    place = ((points.xyz[shown] - middle) * zoom).astype(np.float32)
    colours = palette(len(points.classes))[points.label[shown]]
    for name, colour, visible in (
        ("colours", points.rgb[shown], True),
        ("classes", colours, False),
    ):
        scene.add_point_cloud(
            f"/points/{name}",
            place,
            colour,
            point_size=points.voxel_size * zoom,
            precision="float32",
            visible=visible,
        )


def add_cameras(
    scene: Any, description: Description, middle: np.ndarray, length: float, zoom: float = 1.0
) -> None:
    """A frustum for each frame, `length` long in the world; held-out ones have another colour."""
    held_out = set(description.held_out_frames)
    turn = Rotation.from_matrix(description.pose[:, :3, :3]).as_quat(scalar_first=True)
    for frame, pose in enumerate(description.pose):
        scene.add_camera_frustum(
            f"/cameras/{frame}",
            fov=2 * atan(description.height / 2 / float(description.intrinsics[1, 1])),
            aspect=description.width / description.height,
            scale=length * zoom,
            color=HELD_OUT if frame in held_out else TRAINED,
            wxyz=turn[frame],
            position=(pose[:3, 3] - middle) * zoom,
        )


def add_answers(
    scene: Any, answers: Mapping[str, Any], middle: np.ndarray, zoom: float = 1.0
) -> None:
    """The box of each object that was found, with its phrase and score."""
    colours = palette(len(answers["answers"]))
    for colour, answer in zip(colours, answers["answers"], strict=True):
        for number, one in enumerate(answer["instances"]):
            box = one["upright_box"]
            size = zoom * np.array(box["size"])
            x, y, z, w = box["quaternion_xyzw"]
            name = f"/answers/{answer['files']}/{number}"
            scene.add_box(
                name,
                tuple(colour.tolist()),
                tuple(size.tolist()),
                wireframe=True,
                wxyz=(w, x, y, z),
                position=(np.array(box["centre"]) - middle) * zoom,
            )
            # A child of the box, whose own z axis is up.
            text = f"{answer['phrase']} {one['score']:.2f}"
            scene.add_label(f"{name}/label", text, position=(0, 0, float(size[2]) / 2))


def read_answers(folder: Path, points: Points) -> dict[str, Any]:
    """What `answers.json` in a folder of `query` holds.

    Raises:
        UserError: it is missing or damaged, or of other points.
    """
    path = folder / "answers.json"
    remake = "make it again: python -m ovnerf query RUN ... --out"
    try:
        content: dict[str, Any] = json.loads(read_text(path))
        found = content["points_digest"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path}: not a readable answers.json", remake) from None
    if found != points.digest:
        raise UserError(
            f"{path}: found answers of points {found}, expected of {points.digest}", remake
        )
    return content
