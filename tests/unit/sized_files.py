"""Files that state sizes and take no room on the disk."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def hollow(path: Path, length: int, content: bytes = b"") -> Path:
    """A file of this length that begins with some bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.truncate(path, length)
    return path


def field_file(
    path: Path, length: int, frames: int, size: tuple[int, int], encoder: dict[str, Any]
) -> Path:
    """A trained field's file, as far as its header: so many frames of (height, width) pixels, every
    tenth of which is held out."""
    run = {
        "names": [str(frame) for frame in range(frames)],
        "height": size[0],
        "width": size[1],
        "split": [int(frame % 10 == 0) for frame in range(frames)],
        "encoder": encoder,
    }
    about = json.dumps({"header": json.dumps({"run": run})})
    header = json.dumps({"__metadata__": {"ovnerf": about}}).encode()
    return hollow(path, length, len(header).to_bytes(8, "little") + header)
