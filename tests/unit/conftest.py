"""Fixtures shared by the unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from features_fixtures import write_tiny_scene


@pytest.fixture
def tiny_scene(tmp_path: Path) -> tuple[Path, Path]:
    """Paths of a tiny scene's `frames.zarr` and `truth.zarr`."""
    return write_tiny_scene(tmp_path)
