"""`--use-conda`, with a stand-in for conda (see stand_in_conda.py for what that proves)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import yaml
from stand_in_conda import create, environments_used, stand_in
from tiny_run import Place

from ovnerf.storage.provenance import REPOSITORY_ROOT

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="envs/*.yaml name Python 3.11"
)


def test_jobs_run_in_the_environment_of_their_env_file(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = place.folder / "conda"
    monkeypatch.setenv("PATH", f"{stand_in(base)}:{os.environ['PATH']}")
    # As on a machine where nothing points at this checkout.
    monkeypatch.delenv("PYTHONPATH", raising=False)
    done = place.snakemake("--use-conda", "results/tiny/room7/frames.zarr")
    assert done.returncode == 0, done.stdout
    (prefix,) = environments_used(base)
    assert Path(prefix).parent == place.folder / ".snakemake" / "conda"
    made = Path(f"{prefix}.yaml").read_text()
    assert made == (REPOSITORY_ROOT / "envs" / "ovnerf.yaml").read_text()
    assert not place.planned("--use-conda", "results/tiny/room7/frames.zarr")


@pytest.mark.parametrize("name", ["ovnerf", "workflow"])
def test_each_env_file_can_be_made(tmp_path: Path, name: str) -> None:
    create(tmp_path, REPOSITORY_ROOT / "envs" / f"{name}.yaml", tmp_path / "env")
    assert (tmp_path / "env" / "bin" / "python").exists()


def test_the_stand_in_refuses_a_pin_that_is_not_installed(tmp_path: Path) -> None:
    listed = {"dependencies": ["python=3.11", "pip", {"pip": ["PyYAML==1.0"]}]}
    (tmp_path / "env.yaml").write_text(yaml.safe_dump(listed))
    with pytest.raises(SystemExit, match=r"PyYAML==1\.0, but \d"):
        create(tmp_path, tmp_path / "env.yaml", tmp_path / "env")
