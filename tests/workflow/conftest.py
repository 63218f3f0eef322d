"""A tiny scene run through the real workflow, once per session."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ovnerf.config import override, read_yaml
from ovnerf.provenance import REPOSITORY_ROOT

# For its writers of scene folders.
sys.path.append(str(Path(__file__).parents[1] / "unit"))

TINY = Path(__file__).parent / "tiny.yaml"
TOY_SHEET = "dataset\tscene\ttoy_seed\tframes\twidth\theight\ntiny\troom7\t7\t12\t64\t48\n"
SHEET = "dataset\tscene\tpath\ntiny\troom\troom\n"


@dataclass(frozen=True)
class Place:
    """A working directory with a config, in which Snakemake is run."""

    folder: Path

    def configure(self, changes: Mapping[str, Any], name: str = "config.yaml") -> str:
        """Write the tiny config with `changes` laid over it; returns its file name."""
        text = yaml.safe_dump(override(read_yaml(TINY), dict(changes)))
        (self.folder / name).write_text(text)
        return name

    def snakemake(
        self, *arguments: str, config: str | None = "config.yaml", snakefile: str = "Snakefile"
    ) -> subprocess.CompletedProcess[str]:
        """Run Snakemake here; standard error is joined to standard output."""
        # --configfile takes every word up to the next option, so it cannot come last.
        command = [sys.executable, "-m", "snakemake", *(["--configfile", config] if config else [])]
        command += ["--cores", "2", "--snakefile", str(REPOSITORY_ROOT / snakefile)]
        return subprocess.run(
            [*command, *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def planned(self, *arguments: str, **options: Any) -> Counter[str]:
        """How many jobs of each rule a dry run would do, `all` left out."""
        done = self.snakemake("--dry-run", *arguments, **options)
        assert done.returncode == 0, done.stdout
        return planned_jobs(done.stdout)

    def planned_after(self, changes: Mapping[str, Any]) -> Counter[str]:
        """What a dry run would do if the config had these changes."""
        return self.planned(config=self.configure(changes, "changed.yaml"))


def planned_jobs(output: str) -> Counter[str]:
    """Rule -> jobs, from the table that a dry run prints."""
    if "Nothing to be done" in output:
        return Counter()
    table = output.partition("Job stats:")[2].partition("\ntotal")[0]
    rows = re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE)
    return Counter({rule: int(count) for rule, count in rows if rule != "all"})


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
    return here
