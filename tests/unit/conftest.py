"""Fixtures shared by the unit tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from features_fixtures import write_tiny_scene


@pytest.fixture
def tiny_scene(tmp_path: Path) -> tuple[Path, Path]:
    """Paths of a tiny scene's `frames.zarr` and `truth.zarr`."""
    return write_tiny_scene(tmp_path)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets torch's thread count, and puts it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
