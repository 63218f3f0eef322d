"""The Apptainer recipe, read; and `--sdm apptainer` with a stand-in for the command.

The stand-in runs the job's command on this machine with a bare environment, where an image would.
That the image builds can only be shown where Apptainer and its registry are.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import Place

from ovnerf.storage.provenance import REPOSITORY_ROOT

RECIPE = REPOSITORY_ROOT / "containers" / "ovnerf.def"
STAND_IN = """#!/bin/bash
case "$1" in --version) echo "apptainer (stand-in) version 9.9.9"; exit;; esac
echo "$*" >> "{log}"
case "$1" in pull) until [[ "$1" == --name ]]; do shift; done; touch "$2"; exit;; esac
until [[ "$1" == *.sif || "$1" == *.simg ]]; do shift; done
shift
exec env -i HOME="$HOME" PATH="{python}:/usr/bin:/bin" "$@"
"""


def sections() -> dict[str, str]:
    """Section name -> its text."""
    parts = re.split(r"(?m)^%(\w+)\n", RECIPE.read_text())
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_recipe_copies_what_exists_and_its_scripts_parse() -> None:
    found = sections()
    for line in found["files"].splitlines():
        if line.strip():
            source, target = line.split()
            assert (REPOSITORY_ROOT / source).is_file(), source
            assert target == f"/opt/ovnerf/{source}"
    for name in ("post", "environment", "test"):
        done = subprocess.run(["sh", "-n"], input=found[name], text=True, check=False)
        assert done.returncode == 0, name


@pytest.fixture
def image(place: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in on PATH; returns the folder of the `python` that only images have."""
    tool = place.folder / "bin" / "apptainer"
    tool.parent.mkdir()
    python = place.folder / "image"
    python.mkdir()
    # In the image `python` is another one than Snakemake's: here a link that can be told apart.
    (python / "python").write_text(
        f'#!/bin/sh\necho used >> {python}/used\n{sys.executable} "$@"\n'
    )
    (python / "python").chmod(0o755)
    tool.write_text(STAND_IN.format(log=place.folder / "calls.txt", python=python))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    return python


def calls(place: Place, verb: str) -> list[str]:
    """What the stand-in was called with, of one of Apptainer's verbs."""
    lines = (place.folder / "calls.txt").read_text().splitlines()
    return [line for line in lines if line.startswith(f"{verb} ")]


def test_jobs_run_in_the_image_and_not_with_the_machines_python(place: Place, image: Path) -> None:
    done = place.snakemake(
        "--sdm", "apptainer", "--apptainer-args=--nv", "results/tiny/room7/frames.zarr"
    )
    assert done.returncode == 0, done.stdout
    assert (image / "used").read_text().count("used") == 2
    executed = calls(place, "exec")
    assert len(executed) == 2 and not calls(place, "pull")
    for call in executed:
        assert "--nv" in call and str(REPOSITORY_ROOT / "containers/ovnerf.sif") in call


def test_an_image_named_by_an_address_is_fetched_from_there(place: Place, image: Path) -> None:
    address = "oras://registry.example.org/group/ovnerf:0.2.0"
    config = place.configure({"container": address}, "remote.yaml")
    room = "results/tiny/room7/room/room.json"
    done = place.snakemake(room, "--sdm", "apptainer", config=config)
    assert done.returncode == 0, done.stdout
    (pulled,) = calls(place, "pull")
    assert pulled.endswith(address)
    assert (image / "used").read_text().count("used") == 1
