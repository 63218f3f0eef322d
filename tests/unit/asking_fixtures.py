"""A small seeded field with what its file says of its run: cameras around it, simulated text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from field_fixtures import radiance_field, semantic_field

from ovnerf.asking.description import FIELD, read_description
from ovnerf.asking.fuse import fuse_points
from ovnerf.asking.text import made_again
from ovnerf.config.points import FusePoints
from ovnerf.field.semantic_field import SemanticField
from ovnerf.storage.tensors import module_tensors, save_tensors

CLASSES = ["wall", "table", "lamp"]
SCALE, CENTRE = 2.0, [1.0, 2.0, 3.0]
HEIGHT, WIDTH, FOCAL = 9, 12, 8.0


def pose_towards_centre(place: np.ndarray) -> list[list[float]]:
    """Camera-to-world pose that looks at the world's `CENTRE`; z is up."""
    forward = (np.array(CENTRE) - place) / np.linalg.norm(np.array(CENTRE) - place)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], 1)
    pose[:3, 3] = place
    return pose.tolist()


RUN = {
    "version": 1,
    "classes": CLASSES,
    "encoder": {"kind": "simulated", "width": 16},
    "encoder_files": {},
    "text_bank": "ensemble",
    "blank_prompt": False,
    "similarity": {"scale": SCALE, "centre": CENTRE},
    "units": "metres",
    "space": "metric",
    "height": HEIGHT,
    "width": WIDTH,
    "intrinsics": [[FOCAL, 0.0, WIDTH / 2], [0.0, FOCAL, HEIGHT / 2], [0.0, 0.0, 1.0]],
    "names": ["a", "b", "c", "d"],
    "split": [1, 0, 0, 0],
    "pose": [
        pose_towards_centre(np.array(CENTRE) + offset)
        for offset in ([1.5, 0.2, 0.3], [0, 1.6, 0.2], [0.1, 1.5, 0.25], [-1.4, 0.3, 0.1])
    ],
}
DESCRIPTION = read_description({"run": RUN, "digest": "field-digest"}, Path("field"))
TEXT = made_again(DESCRIPTION).bare
"""f32 (3, 16)."""


def asked_field() -> SemanticField:
    """The field that `write_field` writes."""
    return semantic_field(radiance_field()).eval()


def write_run(scene: Path, **changes: object) -> Path:
    """A run folder in the layout of results below a scene's, with this field and its points."""
    folder = scene / "toy/ovnerf/seed0"
    write_field(folder / "semantics", **changes)
    settings = FusePoints(min_opacity=0.4, max_spread=0.3)
    fuse_points(folder / "semantics", None, folder / "points.zarr", settings)
    return folder


def write_field(folder: Path, **changes: object) -> Path:
    """A `semantics` folder with this field; `changes` to its description."""
    field = asked_field()
    header = {**field.header(), "digest": "field-digest", "seed": 0, "run": {**RUN, **changes}}
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / FIELD, module_tensors(field, ""), header)
    return folder
