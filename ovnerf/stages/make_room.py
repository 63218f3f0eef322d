"""Make a procedural toy room in the Replica folder layout (images, poses, exact labels)."""

from __future__ import annotations

from pathlib import Path

from ovnerf.config.frames import MakeRoom
from ovnerf.toy.rooms import build_room, write_room


def run(*, out: Path, settings: MakeRoom) -> dict[str, object]:
    """Write the room of a seed.

    Args:
        out: path of `room.json`; its folder is replaced by the room.
        settings: seed, number of frames and their size.
    """
    summary = write_room(out.parent, settings)
    present = sorted({item.name for item in build_room(settings.seed).objects})
    return {
        "frames": settings.frames,
        "size": [settings.width, settings.height],
        "classes": len(summary["classes"]),
        "classes_present": present,
    }
