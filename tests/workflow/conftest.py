"""A tiny scene run through the real workflow, once per session."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm
from tiny_run import SHEET, TOY_SHEET, Place

# For its writers of scene folders.
sys.path.append(str(Path(__file__).parents[1] / "unit"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty working directory with the tiny config and one toy room in its sheet."""
    (tmp_path / "sheet.tsv").write_text(TOY_SHEET)
    here = Place(tmp_path)
    here.configure({})
    return here


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The whole workflow run on a folder that a user could have: a toy room's, copied."""
    here = Place(tmp_path_factory.mktemp("tiny"))
    sheet = here.folder / "sheet.tsv"
    sheet.write_text(TOY_SHEET)
    here.configure({})
    made = here.snakemake("results/tiny/room7/room/room.json")
    assert made.returncode == 0, made.stdout
    shutil.move(here.folder / "results/tiny/room7/room", here.folder / "room")
    sheet.write_text(SHEET)
    done = here.snakemake()
    assert done.returncode == 0, done.stdout
    (here.folder / "printed.txt").write_text(done.stdout)
    return here


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A running Slurm; the test is skipped, with the reason, where there cannot be one."""
    reason = slurm.obstacle() or slurm.install()
    if reason:
        pytest.skip(reason)
    with slurm.running(tmp_path_factory.mktemp("slurm")):
        yield
