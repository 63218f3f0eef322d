"""Scene folders: which files are photos, poses and labels, and which belong together."""

from __future__ import annotations

from pathlib import Path

import table
from scene_folders import write_replica


def missing_pose(folder: Path) -> table.Arguments:
    scene = write_replica(folder / "scene")
    (scene / "pose_300/pose_007.txt").unlink()
    return ["sample_frames", "--folder", scene, "--out", folder / "frames.zarr"]


CASES: list[table.Case] = [
    table.Refused(
        "a photo without a pose",
        missing_pose,
        ("{folder}/scene/pose_300", "rgb_007.png", "frame number 7"),
    ),
]
