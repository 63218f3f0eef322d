"""Make a procedural toy room in the Replica folder layout (images, poses, exact labels)."""

from __future__ import annotations

from pathlib import Path

from ovnerf.config.frames import MakeRoom
from ovnerf.toy.furniture import CLASSES
from ovnerf.toy.replica import write_room


def run(*, out: Path, settings: MakeRoom) -> dict[str, object]:
    """Write the room of a seed; returns its size in frames, pixels and classes.

    Args:
        out: path of `room.json`; its folder, empty or a toy room, is replaced by the room.
        settings: seed, number of frames and their size.
    """
    room = write_room(out.parent, settings)
    return {
        "frames": settings.frames,
        "size": [settings.width, settings.height],
        "classes": len(CLASSES),
        "classes_present": sorted({item.name for item in room.objects}),
    }
