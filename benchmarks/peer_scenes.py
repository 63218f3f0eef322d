"""Scenes of `benchmarks.peer_tensorf`: frames and, for the held-out ones, known depth."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ovnerf.config.frames import Layout, MakeRoom, SampleFrames
from ovnerf.runtime.errors import UserError
from ovnerf.stages import make_room, sample_frames
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import open_store, read
from ovnerf.toy.rendering import default_intrinsics, render
from ovnerf.toy.rooms import build_room

WIDTH, HEIGHT = 160, 120
SCENES_VARIABLE = "OVNERF_TEST_SCENES"
MILLIMETRES = 1000


@dataclass(frozen=True)
class RealScene:
    """A scene folder that comes with depth images in millimetres."""

    layout: Layout
    depth: str


REAL = {
    "icl_livingroom": RealScene("replica", "depth_300"),
    "libero_room": RealScene("semantic_nerf", "depth"),
}
"""Folders below the one that the environment's `OVNERF_TEST_SCENES` names."""
TOY = re.compile(r"toy_(\d+)")
"""Toy rooms by their seed: `toy_0` is `room0` of the demo."""


def build_scene(name: str, folder: Path) -> tuple[Path, Path]:
    """The frames store of a scene, and the depth of its held-out frames; made where missing.

    Returns:
        `frames.zarr`, and `depth.npy`: f32 (views, H, W), metres along the optical axis, 0 unknown.
    """
    frames, depth = folder / "frames.zarr", folder / "depth.npy"
    if depth.exists():
        return frames, depth
    folder.mkdir(parents=True, exist_ok=True)
    size: dict[str, Any] = {"width": WIDTH, "height": HEIGHT}
    if toy := TOY.fullmatch(name):
        room = MakeRoom(seed=int(toy[1]), **size)
        make_room.run(out=folder / "room" / "room.json", settings=room)
        sample_frames.run(folder=folder / "room", out=frames, settings=SampleFrames(**size))
        known = toy_depth(frames, room.seed)
    else:
        source, scene = real_folder(name), REAL[name]
        settings = SampleFrames(layout=scene.layout, **size)
        sample_frames.run(folder=source, out=frames, settings=settings)
        known = real_depth(frames, source / scene.depth)
    np.save(depth, known)
    return frames, depth


def real_folder(name: str) -> Path:
    """Where a real scene is; UserError where it is not."""
    if name not in REAL:
        raise UserError(f"no scene {name!r}", f"toy_SEED, or one of: {', '.join(REAL)}")
    root = os.environ.get(SCENES_VARIABLE, "")
    folder = Path(root) / name
    if not root or not folder.is_dir():
        raise UserError(
            f"scene {name}: not found in {root or 'the environment'}",
            f"set {SCENES_VARIABLE} to the folder that holds {name}, or take a toy room (toy_0)",
        )
    return folder


def toy_depth(frames: Path, seed: int) -> NDArray[np.float32]:
    """Depth of a toy room's held-out frames, by ray casting."""
    store = open_store(frames, "frames")
    room, intrinsics = build_room(seed), default_intrinsics(WIDTH, HEIGHT)
    poses = read(store, "pose")[frame_indices(store, "test")].astype(np.float64)
    return np.stack([render(room, pose, intrinsics, HEIGHT, WIDTH, 1).depth for pose in poses])


def real_depth(frames: Path, folder: Path) -> NDArray[np.float32]:
    """Depth images of the held-out frames, each pixel's value taken at its centre.

    Images are matched with frames by the number in their names.
    """
    store = open_store(frames, "frames")
    images = {number_of(path.stem): path for path in folder.glob("*.png")}
    names = [store.attrs["names"][index] for index in frame_indices(store, "test")]
    depths = []
    for name in names:
        depth = cv2.imread(str(images[number_of(Path(name).stem)]), cv2.IMREAD_UNCHANGED)
        assert depth is not None, name
        rows = ((np.arange(HEIGHT) + 0.5) * depth.shape[0] / HEIGHT).astype(int)
        columns = ((np.arange(WIDTH) + 0.5) * depth.shape[1] / WIDTH).astype(int)
        depths.append(depth[np.ix_(rows, columns)] / np.float32(MILLIMETRES))
    return np.stack(depths)


def number_of(stem: str) -> int:
    """The last number in a file's name."""
    return int(re.findall(r"\d+", stem)[-1])
