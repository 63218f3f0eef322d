"""A wheel, installed elsewhere, runs the workflow from a folder that is not the clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from tiny_run import TOY_SHEET, Place

from ovnerf.storage.provenance import REPOSITORY_ROOT

pytestmark = pytest.mark.slow
SOURCES = ("ovnerf", "workflow", "config", "envs")
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md")


def run(*command: str | Path, folder: Path) -> str:
    """What a command prints, run without this checkout on Python's path; fails with its output."""
    outside = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=outside,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made from the source distribution as `python -m build` does, with no network."""
    pytest.importorskip("build", reason="the `test` extra brings it")
    folder = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        shutil.copytree(REPOSITORY_ROOT / name, folder / name, ignore=ignored)
    for name in (*FILES, "constraints.txt"):
        shutil.copy(REPOSITORY_ROOT / name, folder)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", "made", folder=folder)
    (found,) = (folder / "made").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel, and this one's packages but not its ovnerf.

    A line of a .pth file adds a folder without the .pth files in it, so an editable install of the
    checkout is not found there.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    run(sys.executable, "-m", "venv", "--without-pip", "env", folder=folder)
    python = folder / "env" / "bin" / "python"
    site = "import sysconfig; print(sysconfig.get_path('purelib'))"
    purelib = Path(run(python, "-c", site, folder=folder).strip())
    (purelib / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    run(*pip, "--no-deps", "--no-index", "--ignore-installed", wheel, folder=folder)
    return python.parent


def test_the_wheel_holds_the_workflow_and_nothing_that_was_made(wheel: Path) -> None:
    assert wheel.name.startswith("ovnerf-0.2.0-py3-none-any")
    listing = run(sys.executable, "-m", "zipfile", "--list", wheel, folder=wheel.parent)
    names = {line.split()[0] for line in listing.splitlines()}
    for name in (
        "ovnerf/__main__.py",
        "ovnerf/toy/weights/clip.safetensors",
        "ovnerf/labels/class_lists/replica_51.txt",
        "ovnerf/shipped/workflow/Snakefile",
        "ovnerf/shipped/workflow/rules/common.smk",
        "ovnerf/shipped/workflow/report/workflow.rst",
        "ovnerf/shipped/workflow/profiles/default/config.yaml",
        "ovnerf/shipped/config/config.yaml",
        "ovnerf/shipped/config/variants/ovnerf.yaml",
        "ovnerf/shipped/envs/ovnerf.yaml",
    ):
        assert name in names
    assert not any("__pycache__" in name or name.startswith("tests") for name in names)


def test_the_installed_command_explains_itself(installed: Path, tmp_path: Path) -> None:
    printed = run(installed / "ovnerf", "--help", folder=tmp_path)
    assert "rank_regions" in printed and "workflow" in printed
    where = run(
        installed / "python", "-c", "import ovnerf; print(ovnerf.__file__)", folder=tmp_path
    )
    assert Path(where.strip()).is_relative_to(installed.parent)


def test_the_tiny_workflow_runs_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "sheet.tsv").write_text(TOY_SHEET)
    config = place.configure({"variants": ["ovnerf"]})
    run(installed / "ovnerf", "workflow", "--cores", "2", "--configfile", config, folder=tmp_path)
    rows = (tmp_path / "results/tables/metrics.csv").read_text().splitlines()
    assert any(",ovnerf," in row and ",miou," in row.lower() for row in rows), rows[:3]
    assert (tmp_path / "results/tiny/room7/simulated/figures").is_dir()
    log = (tmp_path / "results/logs/make_room/tiny.room7.log").read_text()
    assert '"stage": "make_room"' in log


def test_without_a_config_it_is_the_demo(installed: Path, tmp_path: Path) -> None:
    printed = run(installed / "ovnerf", "workflow", "--dry-run", "--cores", "1", folder=tmp_path)
    assert "make_room" in printed and "toy" in printed


def test_images_are_refused_where_their_jobs_could_not_see_the_package(
    installed: Path, tmp_path: Path
) -> None:
    command = [installed / "ovnerf", "workflow", "--dry-run", "--cores", "1", "--sdm", "apptainer"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    printed = done.stdout + done.stderr
    assert "need a clone" in printed and "Traceback" not in printed
