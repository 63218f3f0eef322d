"""The Apptainer recipe, read; and `--sdm apptainer` with a stand-in for the command.

The stand-in runs the job's command on this machine with a bare environment, where an image would.
That the image builds can only be shown where Apptainer and its registry are.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from tiny_run import Place

from ovnerf.provenance import REPOSITORY_ROOT

RECIPE = REPOSITORY_ROOT / "containers" / "ovnerf.def"
STAND_IN = """#!/bin/bash
case "$1" in --version) echo "apptainer (stand-in) version 9.9.9"; exit;; esac
echo "$*" >> "{log}"
until [[ "$1" == *.sif ]]; do shift; done
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


def test_jobs_run_in_the_image_and_not_with_the_machines_python(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    done = place.snakemake(
        "--sdm", "apptainer", "--apptainer-args=--nv", "results/tiny/room7/frames.zarr"
    )
    assert done.returncode == 0, done.stdout
    assert (python / "used").read_text().count("used") == 2
    for call in (place.folder / "calls.txt").read_text().splitlines():
        if call.startswith("exec"):
            assert "--nv" in call and str(REPOSITORY_ROOT / "containers/ovnerf.sif") in call
