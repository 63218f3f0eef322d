"""Faults other than kills: each function hurts a copy of the calm place and returns what was said.

Every one asserts that the run ended with one message, without a traceback and without a result, and
that after the fault is mended the result is the calm run's.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from calm import Calm
from place import OUTPUTS, SCENE, Place, is_alive, stage_process, wait_for

from ovnerf.runtime.errors import BAD_INPUT, DISK_TROUBLE, STOPPED
from ovnerf.storage.provenance import REPOSITORY_ROOT, path_digest

MB = 2**20


class Impossible(Exception):
    """This machine cannot show the fault; the text says why."""


def message(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one message of a stage that ended with this code."""
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout == "", done.stdout
    said = [line for line in done.stderr.splitlines() if not re.match(r"\[\d+\] ", line)]
    assert sum(line.startswith("error: ") for line in said) == (code != STOPPED), done.stderr
    return "\n".join(said)


@cache
def stage_command(place: Place, stage: str) -> list[str]:
    """The command of a long stage as its rule runs it in the place or a copy, without the log."""
    target = OUTPUTS[stage]
    said = place.run("--dry-run", "--printshellcmds", "--forcerun", target, "--", target)
    found = re.search(rf"python -m ovnerf ({stage} .*?) 2>&1 \| tee", said)
    assert found, said
    return [sys.executable, "-m", "ovnerf", *shlex.split(found[1])]


def writing_to(command: list[str], out: Path) -> list[str]:
    """The same command with another `--out`."""
    command = list(command)
    command[command.index("--out") + 1] = str(out)
    return command


def settled(place: Place, calm: Calm, stage: str, command: list[str]) -> str:
    """After the fault the same command ends well, with the calm result; returns its output."""
    done = place.stage(command)
    assert done.returncode == 0, done.stderr
    assert place.digest(stage) == calm.digest[stage]
    return done.stderr


def size_of(path: Path) -> int:
    """Bytes on disk of a file or folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(-(-file.stat().st_size // 4096) * 4096 + 4096 for file in files)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[str], None]]:
    """A file system of so many bytes at `folder`; yields a function that changes its options."""
    folder.mkdir(parents=True)

    def mount(options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Impossible(f"a small tmpfs needs root: {done.stderr.strip()}")

    if os.geteuid() != 0:
        raise Impossible("a small tmpfs needs root")
    mount(f"size={size}")
    try:
        yield lambda options: mount(f"remount,{options}")
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def full_disk(calm: Calm, folder: Path, stage: str, share: float) -> str:
    """A stage on a disk of `share` of what it makes; then on a larger one."""
    place = calm.place.copy(folder / "place")
    command = stage_command(calm.place, stage)
    disk = folder / "disk"
    with small_disk(disk, int(share * size_of(calm.place.path(stage)))) as remount:
        out = disk / "out"
        said = message(place.stage(writing_to(command, out)), DISK_TROUBLE)
        assert "No space left on device" in said and str(disk) in said, said
        assert not out.exists()
        assert not [path for path in disk.iterdir() if path.name.endswith(".tmp")]
        remount(f"size={200 * MB}")
        done = place.stage(writing_to(command, out))
        assert done.returncode == 0, done.stderr
        assert path_digest(out) == calm.digest[stage]
    return said.replace(str(disk), "DISK")


def full_disk_of_frames(calm: Calm, folder: Path) -> str:
    """Disk full while frames are cached."""
    return full_disk(calm, folder, "propose_regions", 0.6)


def full_disk_of_training(calm: Calm, folder: Path) -> str:
    """Disk full while a checkpoint is written."""
    return full_disk(calm, folder, "reconstruct", 1.5)


def read_only_disk(calm: Calm, folder: Path) -> str:
    """A results folder that cannot be written to."""
    place = calm.place.copy(folder / "place")
    command = stage_command(calm.place, "cache_dino")
    disk = folder / "disk"
    with small_disk(disk, 20 * MB) as remount:
        remount("ro")
        said = message(place.stage(writing_to(command, disk / "out")), DISK_TROUBLE)
        assert "Read-only file system" in said and str(disk) in said, said
    return said.replace(str(disk), "DISK")


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def truncate(path: Path) -> None:
    """Cut a file in half."""
    os.truncate(path, path.stat().st_size // 2)


def damaged_store(calm: Calm, folder: Path, damage: Callable[[Path], None]) -> str:
    """A chunk of `frames.zarr` hurt before cache_dino reads it; the hint's command mends it."""
    place = calm.place.copy(folder / "place")
    place.forget("cache_dino")
    damage(place.folder / SCENE / "frames.zarr/rgb/c/4/0/0/0")
    target = OUTPUTS["cache_dino"]
    done = place.snakemake("--", target)
    assert done.returncode == 1 and "Traceback" not in done.stdout, done.stdout
    assert not place.path("cache_dino").exists()
    found = re.search(r"error: .*frames\.zarr: array 'rgb'.*\n  hint: rerun .*", done.stdout)
    assert found, done.stdout
    advice = re.search(r"snakemake (--forcerun \S+)", found[0])
    assert advice, found[0]
    place.run(*advice[1].split(), "--", target)
    assert place.digest("cache_dino") == calm.digest["cache_dino"]
    return found[0]


def flipped_chunk(calm: Calm, folder: Path) -> str:
    """One bit of a store's chunk flipped."""
    return damaged_store(calm, folder, flip)


def truncated_chunk(calm: Calm, folder: Path) -> str:
    """A store's chunk cut short."""
    return damaged_store(calm, folder, truncate)


def missing_chunk(calm: Calm, folder: Path) -> str:
    """A store's chunk missing."""
    return damaged_store(calm, folder, Path.unlink)


def with_checkpoint(place: Place, stage: str, command: list[str]) -> None:
    """Start a training and kill it once it has a checkpoint."""
    place.forget(stage)
    gate, environment = gate_after_keeping(place, stage)
    process = place.start_stage(command, **environment)
    with held(gate, process):
        process.kill()
        process.communicate()
    assert place.checkpoint(stage).exists() and not place.path(stage).exists()


def damaged_checkpoint(calm: Calm, folder: Path, damage: Callable[[Path], None]) -> str:
    """A checkpoint hurt between a kill and the next run; deleting it is the way out."""
    place = calm.place.copy(folder / "place")
    command = stage_command(calm.place, "reconstruct")
    with_checkpoint(place, "reconstruct", command)
    damage(place.checkpoint("reconstruct"))
    said = message(place.stage(command), BAD_INPUT)
    assert place.checkpoint("reconstruct").name in said and "delete it" in said, said
    assert not place.path("reconstruct").exists()
    place.checkpoint("reconstruct").unlink()
    settled(place, calm, "reconstruct", command)
    return said


def short_checkpoint(calm: Calm, folder: Path) -> str:
    """A checkpoint cut short."""
    return damaged_checkpoint(calm, folder, truncate)


def flipped_checkpoint(calm: Calm, folder: Path) -> str:
    """One bit of a checkpoint flipped."""
    return damaged_checkpoint(calm, folder, flip)


def flipped_field(calm: Calm, folder: Path) -> str:
    """One bit of a finished radiance field flipped, before views are rendered from it."""
    place = calm.place.copy(folder / "place")
    command = stage_command(calm.place, "render_views")
    place.forget("render_views")
    flip(place.path("reconstruct") / "field.safetensors")
    said = message(place.stage(command), BAD_INPUT)
    assert "radiance/field.safetensors" in said, said
    assert not place.path("render_views").exists()
    return said


def weights_changed_while_used(calm: Calm, folder: Path) -> str:
    """A weight file replaced while a stage works with the old one."""
    place = calm.place.copy(folder / "place")
    command = stage_command(calm.place, "propose_regions")
    place.forget("propose_regions")
    weights = place.folder / "weights/sam.safetensors"
    whole = weights.read_bytes()
    gate, environment = gate_after_keeping(place, "propose_regions")
    process = place.start_stage(command, **environment)
    with held(gate, process):
        weights.write_bytes(whole + b"\0")
    out, err = process.communicate()
    said = message(subprocess.CompletedProcess([], process.returncode, out, err), BAD_INPUT)
    assert "weights/sam.safetensors: changed while it was used" in said, said
    assert not place.path("propose_regions").exists()
    weights.write_bytes(whole)
    settled(place, calm, "propose_regions", command)
    return said


def weights_changed_between_stages(calm: Calm, folder: Path) -> str:
    """A weight file replaced after regions were made with it, before CSE uses it again."""
    place = calm.place.copy(folder / "place")
    command = stage_command(calm.place, "train_semantics")
    place.forget("train_semantics")
    weights = place.folder / "weights/sam.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole + b"\0")
    said = message(place.stage(command), BAD_INPUT)
    assert "not the weights that" in said, said
    assert not place.path("train_semantics").exists()
    return said


def input_from_the_future(calm: Calm, folder: Path) -> str:
    """An input dated two hours ahead (clock skew): Snakemake refuses; `touch` mends it."""
    place = calm.place.copy(folder / "place")
    weights, later = place.folder / "weights/dino.safetensors", time.time() + 7200
    os.utime(weights, (later, later))
    target = OUTPUTS["cache_dino"]
    done = place.snakemake("--", target)
    assert done.returncode == 1 and "Traceback" not in done.stdout, done.stdout
    found = re.search(
        r"Output \S+ has older modification time .* clock skew .*? level\.", done.stdout
    )
    assert found, done.stdout
    assert not place.path("cache_dino").exists()
    weights.touch()
    place.run("--", target)
    assert place.digest("cache_dino") == calm.digest["cache_dino"]
    return found[0]


def output_from_the_past(calm: Calm, folder: Path) -> str:
    """An output dated before its input (clock skew): it is made again, with the same bytes."""
    place = calm.place.copy(folder / "place")
    stamp = place.path("cache_dino") / ".snakemake_timestamp"
    os.utime(stamp, (time.time() - 86400,) * 2)
    target = OUTPUTS["cache_dino"]
    said = place.run("--", target)
    found = re.search(r"reason: (Updated input files: .*)", said)
    assert found, said
    assert place.digest("cache_dino") == calm.digest["cache_dino"]
    assert "Nothing to be done" in place.run("--", target)
    return found[1]


KEEPING = {"reconstruct": "log_checkpoint", "propose_regions": "advance"}
"""Stage -> the function of `ovnerf.runtime.progress` that it calls when it has kept some work."""
GATED = """
from pathlib import Path

from ovnerf.runtime import progress

gate, keeping = Path({gate!r}), progress.{name}

def keep_and_wait(*arguments):
    keeping(*arguments)
    if gate.exists():
        gate.read_bytes()

progress.{name} = keep_and_wait
"""


def gate_after_keeping(place: Place, stage: str) -> tuple[Path, dict[str, str]]:
    """A named pipe, and the environment in which a stage waits there once it has kept some work.

    Python imports `sitecustomize`, from the first folder of its path that has one, as it starts.
    """
    folder = place.folder.parent / "gated"
    folder.mkdir()
    gate = folder / "gate"
    os.mkfifo(gate)
    program = GATED.format(gate=str(gate), name=KEEPING[stage])
    (folder / "sitecustomize.py").write_text(program)
    return gate, {"PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY_ROOT}"}


@contextmanager
def held(gate: Path, process: subprocess.Popen[Any]) -> Iterator[None]:
    """While the block runs something below `process` waits at a named pipe; then it goes on."""

    def opened() -> int | None:
        assert process.poll() is None, "ended before it came to the gate"
        try:
            return os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nobody waits there yet
                raise
            return None

    end = wait_for(opened, "a job at the gate")
    assert isinstance(end, int)
    try:
        yield
    finally:
        gate.unlink()
        os.close(end)


def two_workflows(calm: Calm, folder: Path) -> str:
    """Snakemake started twice on one directory: the second is refused, the first ends well."""
    place = calm.place.copy(folder / "place")
    place.forget("reconstruct")
    target = OUTPUTS["reconstruct"]
    gate, hold = folder / "gate", folder / "hold.sh"
    os.mkfifo(gate)
    # The shell of the first workflow's job reads this file first, and waits at the gate.
    hold.write_text(f"read -r < {shlex.quote(str(gate))} || true\n")
    first = place.start("--", target, BASH_ENV=str(hold))
    with held(gate, first):
        second = place.snakemake("--", target)
    assert second.returncode == 1 and "Traceback" not in second.stdout, second.stdout
    found = re.search(r"Error: Directory cannot be locked\..*", second.stdout)
    assert found, second.stdout
    assert first.wait() == 0, place.said()
    assert place.digest("reconstruct") == calm.digest["reconstruct"]
    return found[0]


def snakemake_killed_alone(calm: Calm, folder: Path) -> str:
    """The job outlives its Snakemake; the next run does not make the same result beside it."""
    place = calm.place.copy(folder / "place")
    place.forget("reconstruct")
    target = OUTPUTS["reconstruct"]
    gate, environment = gate_after_keeping(place, "reconstruct")
    # The job's rule sets PYTHONPATH itself; its shell reads this file first.
    shell = gate.with_name("shell.sh")
    folder = shlex.quote(environment["PYTHONPATH"])
    shell.write_text(f'python() {{ PYTHONPATH={folder} command python "$@"; }}\n')
    first = place.start("--", target, BASH_ENV=str(shell))
    with held(gate, first):
        job = stage_process("reconstruct", first.pid)
        assert job is not None
        first.kill()
        first.wait()
        place.run("--unlock")
        second = place.snakemake("--", target)
    assert second.returncode == 1 and "Traceback" not in second.stdout, second.stdout
    found = re.search(rf"error: \S+: process {job.pid} on .*\n  hint: .*", second.stdout)
    assert found, second.stdout
    wait_for(lambda: not is_alive(job), "the job to end")
    place.run("--", target)
    assert place.digest("reconstruct") == calm.digest["reconstruct"]
    return found[0].replace(str(job.pid), "PID")


def sigterm(calm: Calm, folder: Path, stage: str) -> str:
    """SIGTERM with a grace period: the stage keeps its work, ends with 75, and goes on later."""
    place = calm.place.copy(folder / "place")
    command = stage_command(calm.place, stage)
    place.forget(stage)
    gate, environment = gate_after_keeping(place, stage)
    process = place.start_stage(command, **environment)
    with held(gate, process):
        process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    out, err = process.communicate()
    seconds = time.monotonic() - asked
    said = message(subprocess.CompletedProcess([], process.returncode, out, err), STOPPED)
    kept = place.kept(stage)
    assert kept > 0 and not place.path(stage).exists()
    assert f"goes on at {kept} of" in settled(place, calm, stage, command)
    return f"{said} (after {seconds:.1f} s, {kept} kept)"


def sigterm_to_training(calm: Calm, folder: Path) -> str:
    """Pre-emption of a training."""
    return sigterm(calm, folder, "reconstruct")


def sigterm_to_caching(calm: Calm, folder: Path) -> str:
    """Pre-emption of a stage that works frame by frame."""
    return sigterm(calm, folder, "propose_regions")


FAULTS = (
    full_disk_of_frames,
    full_disk_of_training,
    read_only_disk,
    flipped_chunk,
    truncated_chunk,
    missing_chunk,
    short_checkpoint,
    flipped_checkpoint,
    flipped_field,
    weights_changed_while_used,
    weights_changed_between_stages,
    input_from_the_future,
    output_from_the_past,
    two_workflows,
    snakemake_killed_alone,
    sigterm_to_training,
    sigterm_to_caching,
)
TWINS = (full_disk_of_frames, truncated_chunk, missing_chunk, short_checkpoint, sigterm_to_caching)
"""Faults that take the same way through the program as another one in `FAULTS`."""
