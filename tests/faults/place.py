"""A folder in which the tiny workflow of `faults.yaml` runs, and is hurt."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from ovnerf.config.run import override, read_yaml
from ovnerf.storage.provenance import REPOSITORY_ROOT, path_digest
from ovnerf.storage.tensors import load_tensors

CONFIG = Path(__file__).parent / "faults.yaml"
SHEET = "dataset\tscene\ttoy_seed\tframes\twidth\theight\ntiny\troom7\t7\t24\t64\t48\n"
SCENE = "results/tiny/room7"
RUN = f"{SCENE}/toy/ovnerf/seed0"
OUTPUTS = {
    "propose_regions": f"{SCENE}/regions.zarr",
    "cache_features": f"{SCENE}/toy/features.zarr",
    "cache_dino": f"{SCENE}/dino.zarr",
    "reconstruct": f"{SCENE}/radiance",
    "train_semantics": f"{RUN}/semantics",
    "render_views": f"{RUN}/views.zarr",
}
"""The long stages and what each makes."""
LOGS = {
    "propose_regions": "tiny.room7",
    "cache_features": "tiny.room7.toy",
    "cache_dino": "tiny.room7",
    "reconstruct": "tiny.room7",
    "train_semantics": "tiny.room7.toy.ovnerf.seed0",
    "render_views": "tiny.room7.toy.ovnerf.seed0",
}
SYSTEM_RUNS = {"lerf": "toy", "3dovs": "toy", "dff": "simulated_lseg", "fcclip": "simulated_fcclip"}
"""Variants of the compared systems, and the encoder that each is trained on."""
SYSTEMS = {
    f"train_semantics:{variant}": f"{SCENE}/{encoder}/{variant}/seed0/semantics"
    for variant, encoder in SYSTEM_RUNS.items()
} | {"lift": f"{SCENE}/toy/lift/seed0/views.zarr", "fuse_labels": f"{SCENE}/toy/fused.zarr"}
"""What `make faults` kills besides `OUTPUTS`: compared systems, as `stage:variant`, lift, and the
labels of `consensus`."""
CASES = OUTPUTS | SYSTEMS
LOGS |= {
    f"train_semantics:{variant}": f"tiny.room7.{encoder}.{variant}.seed0"
    for variant, encoder in SYSTEM_RUNS.items()
} | {"lift": "tiny.room7.toy.seed0", "fuse_labels": "tiny.room7.toy"}
TABLE = "results/tables/metrics.csv"
LONG = {"iterations": 240, "batch_rays": 1024}
"""Of `train_semantics` of the compared systems: without CSE their iterations are short."""
PATIENCE = 300
"""Seconds after which something that should happen is called an error."""


def with_systems(config: dict[str, Any]) -> dict[str, Any]:
    """A config of one run with those of the compared systems, `consensus` and lift beside it."""
    variants = [*config["variants"], "consensus"]
    groups = [{"encoders": config["encoders"], "variants": variants}]
    groups += [
        {"encoders": [encoder], "variants": [variant]} for variant, encoder in SYSTEM_RUNS.items()
    ]
    kept = {key: value for key, value in config.items() if key not in ("encoders", "variants")}
    return kept | {"runs": groups, "lift": {"write": True, "voxels": 20_000}}


def stage_of(case: str) -> str:
    """The stage of a kill case: `train_semantics` of `train_semantics:lerf`."""
    return case.partition(":")[0]


def wait_for(condition: Callable[[], object], what: str) -> object:
    """The first true value of `condition`; AssertionError when it does not come."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.003)
    raise AssertionError(f"waited {PATIENCE} s for {what}")


@dataclass(frozen=True)
class Place:
    """The working directory of one workflow."""

    folder: Path

    def prepare(self, systems: bool = False) -> Place:
        """Write the sheet, the config, and weights of its own that a test may change.

        Args:
            systems: whether the compared systems, `consensus` and lift run, too.
        """
        (self.folder / "weights").mkdir(parents=True)
        (self.folder / "sheet.tsv").write_text(SHEET)
        config = read_yaml(CONFIG)
        if systems:
            config = with_systems(config)
            self.write_long_variants()
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config))
        for name in ("sam", "dino"):
            source = REPOSITORY_ROOT / f"ovnerf/toy/weights/{name}.safetensors"
            shutil.copyfile(source, self.folder / f"weights/{name}.safetensors")
        return self

    def write_long_variants(self) -> None:
        """The variants of the compared systems, with iterations for several checkpoints.

        A variant file of the working directory goes before the one that comes with ovnerf.
        """
        (self.folder / "config/variants").mkdir(parents=True)
        for variant in SYSTEM_RUNS:
            name = f"config/variants/{variant}.yaml"
            settings = override(read_yaml(REPOSITORY_ROOT / name), {"train_semantics": LONG})
            (self.folder / name).write_text(yaml.safe_dump(settings))

    def copy(self, folder: Path) -> Place:
        """The same place elsewhere, with its times and Snakemake's memory of it."""
        shutil.copytree(self.folder, folder)
        return Place(folder)

    def command(self, *arguments: str, cores: int = 1) -> list[str]:
        """The command line of Snakemake; options come first, then targets."""
        fixed = [sys.executable, "-m", "snakemake", "--configfile", "config.yaml"]
        fixed += ["--cores", str(cores), "--snakefile", str(REPOSITORY_ROOT / "Snakefile")]
        return [*fixed, *arguments]

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Snakemake in a process group of its own; what it says goes to `said.txt`."""
        with (self.folder / "said.txt").open("wb") as said:
            return subprocess.Popen(
                self.command(*arguments),
                cwd=self.folder,
                env={**os.environ, **environment},
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self) -> str:
        """What the latest started Snakemake said."""
        return (self.folder / "said.txt").read_text()

    def snakemake(self, *arguments: str, cores: int = 1) -> subprocess.CompletedProcess[str]:
        """Run Snakemake to its end."""
        return subprocess.run(
            self.command(*arguments, cores=cores),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def run(self, *arguments: str, cores: int = 1) -> str:
        """Run Snakemake to a good end; returns what it said."""
        done = self.snakemake(*arguments, cores=cores)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def stage(self, command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        """Run a stage's command here."""
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY_ROOT)}
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            **options,  # type: ignore[call-overload]
        )

    def start_stage(self, command: list[str], **environment: str) -> subprocess.Popen[str]:
        """Start a stage's command here."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY_ROOT), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def path(self, stage: str) -> Path:
        """What a stage makes."""
        return self.folder / CASES[stage]

    def digest(self, stage: str) -> str:
        """Content digest of what a stage made."""
        return path_digest(self.path(stage))

    def log_file(self, stage: str) -> Path:
        """Where the log of a stage's job is."""
        return self.folder / f"results/logs/{stage_of(stage)}/{LOGS[stage]}.log"

    def log(self, stage: str) -> str:
        """The log of a stage's job, empty before there is one."""
        path = self.log_file(stage)
        return path.read_text(errors="replace") if path.exists() else ""

    def closing(self, stage: str) -> dict:
        """The JSON line with which a stage's job ended."""
        return json.loads(self.log(stage).splitlines()[-1])

    def forget(self, stage: str) -> None:
        """Remove what a stage made, finished or not."""
        path = self.path(stage)
        for folder in (path, *path.parent.glob(f"{path.name}.*")):
            shutil.rmtree(folder, ignore_errors=True)
        self.checkpoint(stage).unlink(missing_ok=True)

    def checkpoint(self, stage: str) -> Path:
        """The checkpoint of a training that is not finished."""
        path = self.path(stage)
        return path.with_name(path.name + ".partial.safetensors")

    def kept(self, stage: str) -> int:
        """Frames or iterations that an unfinished stage has on disk."""
        if self.checkpoint(stage).exists():
            return int(load_tensors(self.checkpoint(stage))[1]["iteration"])
        return self.kept_frames(stage)

    def kept_frames(self, stage: str) -> int:
        """Frames that an unfinished stage has on disk; `fuse_labels` has two rounds of them."""
        path = self.path(stage)
        return len(list(path.parent.glob(f"{path.name}*.partial/*.npz")))


def stage_process(stage: str, parent: int) -> psutil.Process | None:
    """The process of a stage below Snakemake's."""
    try:
        below = psutil.Process(parent).children(recursive=True)
    except psutil.NoSuchProcess:
        return None
    for process in below:
        try:
            if process.cmdline()[1:4] == ["-m", "ovnerf", stage_of(stage)]:
                return process
        except psutil.Error:
            continue
    return None


def is_alive(process: psutil.Process) -> bool:
    """Whether a process still runs (one that ended and was not waited for does not)."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to Snakemake and everything it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
