"""Slurm for the session, where it can be had."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm

# For its working directories.
sys.path.append(str(Path(__file__).parents[1] / "workflow"))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A running Slurm; the test is skipped, with the reason, where there cannot be one."""
    reason = slurm.obstacle() or slurm.install()
    if reason:
        pytest.skip(reason)
    with slurm.running(tmp_path_factory.mktemp("slurm")):
        yield
