"""A working directory in which the workflow is run, and what a run left there."""

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

import yaml

from ovnerf.config.run import override, read_yaml
from ovnerf.storage.provenance import REPOSITORY_ROOT, STAMP, file_digest

TINY = REPOSITORY_ROOT / ".test" / "config" / "config.yaml"
SHEET = "dataset\tscene\tpath\ntiny\troom\troom\n"
"""A folder `room` in the working directory."""
TOY_SHEET = "dataset\tscene\ttoy_seed\tframes\twidth\theight\ntiny\troom7\t7\t12\t64\t48\n"


@dataclass(frozen=True)
class Place:
    """A working directory with a config, in which Snakemake is run."""

    folder: Path

    def take_scene(self, other: Place) -> None:
        """Copy another place's folder `room`, and name it in the sheet."""
        shutil.copytree(other.folder / "room", self.folder / "room")
        (self.folder / "sheet.tsv").write_text(SHEET)

    def configure(self, changes: Mapping[str, Any], name: str = "config.yaml") -> str:
        """Write the tiny config with `changes` laid over it; returns its file name."""
        text = yaml.safe_dump(override(read_yaml(TINY), {"scenes": "sheet.tsv", **changes}))
        (self.folder / name).write_text(text)
        return name

    def command(
        self, *arguments: str, config: str | None = "config.yaml", snakefile: str = "Snakefile"
    ) -> list[str]:
        """A Snakemake command line for this directory."""
        # --configfile takes every word up to the next option, so it cannot come last.
        command = [sys.executable, "-m", "snakemake", *(["--configfile", config] if config else [])]
        return [*command, "--snakefile", str(REPOSITORY_ROOT / snakefile), *arguments]

    def snakemake(
        self, *arguments: str, cores: int = 2, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run Snakemake here; standard error is joined to standard output."""
        return subprocess.run(
            self.command("--cores", str(cores), *arguments, **options),
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


def results_of(place: Place) -> dict[str, str]:
    """File -> sha256 of all that a run made; logs and what says how long it took are left out."""
    results = place.folder / "results"
    files = {path.relative_to(results): path for path in results.rglob("*") if path.is_file()}
    return {
        name.as_posix(): file_digest(path)
        for name, path in sorted(files.items())
        if name.parts[0] not in ("logs", "benchmarks")
        and name.as_posix() not in ("tables/runs.csv", "tables/time_and_memory.png")
        and name.name != STAMP
    }


def most_at_once(output: str, rules: set[str]) -> int:
    """The largest number of these rules' jobs that ran at a time, from what Snakemake printed."""
    running, most = set(), 0
    events = r"^(?:local)?rule (\w+):(?:\n    .*)*?\n    jobid: (\d+)|^Finished jobid: (\d+)"
    for rule, begun, ended in re.findall(events, output, flags=re.MULTILINE):
        running.discard(ended)
        if rule in rules:
            running.add(begun)
        most = max(most, len(running))
    return most
