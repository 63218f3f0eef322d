"""Views of toy rooms for training and measuring the toy models, kept in a cache folder.

Demo rooms have seeds below `FIRST_TRAINING_SEED`; nothing here that trains reads those.
Run `python -m tools.toy_models.data --cache FOLDER` to render the training views ahead of time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovnerf.storage.atomic import atomic_file
from ovnerf.toy.rendering import camera_path, default_intrinsics, render
from ovnerf.toy.rooms import FIRST_TRAINING_SEED, build_room

TRAINING_SEEDS = range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 160)
"""Rooms the toy models are trained on."""
UNSEEN_SEEDS = range(900, 912)
"""Rooms the cards' numbers are measured on: neither trained on nor shown in the demo."""
DEMO_SEEDS = (0, 1)
"""Rooms of the demo."""
VIEWS_PER_ROOM = 12
WIDTH, HEIGHT = 160, 120
CACHE = Path("results/toy/views")
"""Default cache folder."""


@dataclass(frozen=True)
class Views:
    """Views of many rooms."""

    rgb: NDArray[np.uint8]  # (n, H, W, 3)
    label: NDArray[np.uint8]  # (n, H, W), 0 void
    instance: NDArray[np.uint16]  # (n, H, W), 0 void


def room_file(cache: Path, seed: int, frames: int) -> Path:
    """Cache file of a room's views."""
    return cache / f"room{seed:05d}_{frames}x{WIDTH}x{HEIGHT}.npz"


def render_room(cache: Path, seed: int, frames: int) -> Path:
    """Render a room's views unless they are cached; the file appears when complete."""
    path = room_file(cache, seed, frames)
    if path.is_file():
        return path
    room = build_room(seed)
    intrinsics = default_intrinsics(WIDTH, HEIGHT)
    views = [render(room, pose, intrinsics, HEIGHT, WIDTH, 2) for pose in camera_path(room, frames)]
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            rgb=np.stack([view.rgb for view in views]),
            label=np.stack([view.label for view in views]),
            instance=np.stack([view.instance for view in views]),
        )
    return path


def load_views(cache: Path, seeds: Sequence[int], frames: int = VIEWS_PER_ROOM) -> Views:
    """Views of the rooms of `seeds` in order, rendered where the cache has none."""
    rooms = [np.load(render_room(cache, seed, frames)) for seed in seeds]
    return Views(*(np.concatenate([room[key] for room in rooms]) for key in Views.__annotations__))


def main() -> int:
    """Fill the cache."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument(
        "--seeds", type=int, nargs=2, default=(TRAINING_SEEDS.start, TRAINING_SEEDS.stop)
    )
    arguments = parser.parse_args()
    for seed in range(*arguments.seeds):
        render_room(arguments.cache, seed, VIEWS_PER_ROOM)
        print(f"room {seed}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
