"""Film a toy room: a video of its photos, in order, and nothing that says where the camera was.

    python workflow/scripts/film_room.py results/capture_demo/walk.mp4

The room is one that the demo's models have not seen (`make capture-demo`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from ovnerf.storage.atomic import temporary_path  # noqa: E402
from ovnerf.toy.rendering import camera_path, default_intrinsics, render  # noqa: E402
from ovnerf.toy.rooms import build_room  # noqa: E402

SEED, FRAMES, RATE = 3, 48, 8.0
WIDTH, HEIGHT = 320, 240


def film(path: Path) -> None:
    """Write the video, which appears when it is complete."""
    room, intrinsics = build_room(SEED), default_intrinsics(WIDTH, HEIGHT)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path).with_suffix(".mp4")
    writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), RATE, (WIDTH, HEIGHT))
    for pose in camera_path(room, FRAMES):
        view = render(room, pose, intrinsics, HEIGHT, WIDTH)
        writer.write(np.ascontiguousarray(view.rgb[..., ::-1]))
    writer.release()
    temporary.replace(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", type=Path)
    film(parser.parse_args().video)
