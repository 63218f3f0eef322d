"""Programs of Debian that some tests need."""

from __future__ import annotations

import os
import subprocess


def install(*packages: str) -> str:
    """Install packages by apt; what apt said when it could not, else empty."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    wanted = ("install", "--yes", "--no-install-recommends", *packages)
    for arguments in (("update",), wanted):
        done = subprocess.run(
            ["apt-get", "-qq", *arguments], env=quiet, capture_output=True, text=True, check=False
        )
        if done.returncode:
            return f"apt-get {arguments[0]} failed: {done.stderr.strip()[-300:]}"
    return ""
