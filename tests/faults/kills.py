"""kill -9 at seeded random moments inside the long stages; results must be those of a calm run.

A round removes what a stage made and lets Snakemake make it again. Each kill waits until the
process has done a random part of what its loop has left, as far as the disk or the log shows, and
then a random moment more. A kill counts only if it hit a living process whose result was not there
yet. Most hit the stage: Snakemake's `--retries` carries on. Some hit Snakemake's whole process
group: `--unlock`, and again.
"""

from __future__ import annotations

import random
import re
import subprocess
import time
from dataclasses import dataclass, field

import psutil
from place import CASES, Place, is_alive, kill_group, stage_of, stage_process, wait_for

RETRIES = "6"
MOMENT = {
    "propose_regions": 0.3,
    "cache_features": 0.1,
    "cache_dino": 0.02,
    "reconstruct": 0.5,
    "train_semantics": 0.5,
    "render_views": 0.2,
    "lift": 0.02,
    "fuse_labels": 0.02,
}
"""Seconds: a frame's, or an interval between checkpoints."""


@dataclass
class Tally:
    """What happened to one stage."""

    kills: int = 0
    of_groups: int = 0
    in_refresh: int = 0
    missed: int = 0
    rounds: int = 0
    differences: int = 0
    went_on: int = 0
    kept_at_kill: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Kill:
    """One kill: the stage's process or the whole group, anywhere in the loop or in a refresh."""

    group: bool = False
    refresh: bool = False


def rounds_of(stage: str, kills: int, groups: int, per_round: int, chance: random.Random):
    """The kills of a stage in rounds; every second one of `train_semantics` hits a refresh."""
    plan = [
        Kill(group=index < groups, refresh=stage == "train_semantics" and index % 2 == 0)
        for index in range(kills)
    ]
    chance.shuffle(plan)
    return [plan[begin : begin + per_round] for begin in range(0, kills, per_round)]


def lines_of(place: Place, stage: str, process: psutil.Process) -> list[str]:
    """What a process has said in its log so far."""
    mine = f"[{process.pid}] "
    return [line for line in place.log(stage).splitlines() if line.startswith(mine)]


def began(place: Place, stage: str, process: psutil.Process) -> tuple[int, int] | None:
    """(units done before, units in all) once a process has begun its loop."""
    for line in lines_of(place, stage, process):
        found = re.search(r"(?:begins|goes on) at (\d+) of (\d+)", line)
        if found:
            return int(found[1]), int(found[2])
    return None


def progress_of(place: Place, stage: str, process: psutil.Process) -> int:
    """Frames on disk, or the last iteration that a process said it has kept; 0 before."""
    if kept := place.kept_frames(stage):
        return kept
    said = "\n".join(lines_of(place, stage, process))
    return max(map(int, re.findall(r"(?:kept|goes on at) (\d+)", said)), default=0)


def refreshing(place: Place, stage: str, process: psutil.Process) -> bool:
    """Whether a process is inside a CSE refresh."""
    said = "\n".join(lines_of(place, stage, process))
    return said.rfind("refreshing labels") > said.rfind("labels refreshed")


def make_under_fire(
    place: Place,
    stage: str,
    kills: list[Kill],
    chance: random.Random,
    tally: Tally,
) -> None:
    """One round: make the stage's output while these kills happen."""
    place.forget(stage)
    place.log_file(stage).unlink(missing_ok=True)
    arguments = ("--retries", RETRIES, "--", CASES[stage])
    snakemake = place.start(*arguments)
    before, landed = None, False
    for kill in kills:
        landed = False
        process = next_process(place, stage, snakemake, before)
        if process is None:
            tally.missed += 1
            break
        before, so_far = process.pid, tally.kills
        if not hit(place, stage, process, kill, chance, tally, snakemake):
            break
        landed = tally.kills > so_far
        if kill.group:
            if tally.of_groups == 1:
                left = place.snakemake(*arguments)
                assert left.returncode == 1 and "locked" in left.stdout, left.stdout
            place.run("--unlock")
            snakemake = place.start(*arguments)
    assert snakemake.wait() == 0, place.said()
    tally.rounds += 1
    if landed and tally.kept_at_kill[-1]:
        assert went_on_at(place, stage) == tally.kept_at_kill[-1], "what was kept was not used"
        tally.went_on += 1


def went_on_at(place: Place, stage: str) -> int:
    """Units that were there when the last process began the first of its loops."""
    begun = re.findall(r"^\[(\d+)\] .*(?:begins|goes on) at (\d+) of", place.log(stage), re.M)
    return next(int(units) for process, units in begun if process == begun[-1][0])


def next_process(
    place: Place, stage: str, snakemake: subprocess.Popen[bytes], before: int | None
) -> psutil.Process | None:
    """The next process of the stage, once its loop has begun; None when Snakemake ended first."""

    def found() -> psutil.Process | bool | None:
        process = stage_process(stage, snakemake.pid)
        if process is not None and process.pid != before and began(place, stage, process):
            return process
        return snakemake.poll() is not None

    process = wait_for(found, f"{stage} to begin")
    return process if isinstance(process, psutil.Process) else None


def hit(
    place: Place,
    stage: str,
    process: psutil.Process,
    kill: Kill,
    chance: random.Random,
    tally: Tally,
    snakemake: subprocess.Popen[bytes],
) -> bool:
    """Wait for the moment and kill; False when the process was done first."""
    first, total = began(place, stage, process) or (0, 1)
    goal = first + chance.uniform(0, 0.6 if kill.refresh else 0.9) * (total - first)

    def due() -> bool:
        there = progress_of(place, stage, process) >= goal
        if kill.refresh:
            there = there and refreshing(place, stage, process)
        return there or not is_alive(process)

    wait_for(due, f"{stage} to reach {goal:.0f} of {total}")
    time.sleep(chance.uniform(0, MOMENT[stage_of(stage)]))
    if not is_alive(process) or place.path(stage).exists():
        tally.missed += 1
        return False
    if kill.group:
        kill_group(snakemake)
    else:
        process.kill()
    wait_for(lambda: not is_alive(process), "a killed process to end")
    # It may have ended well between the look and the kill: then there is a result.
    if place.path(stage).exists():
        tally.missed += 1
        return True
    kept = place.kept(stage)
    # Without a checkpoint of its own a training goes back to where its process began.
    assert kept == 0 or first <= kept <= total, (first, kept, total)
    tally.kills += 1
    tally.of_groups += kill.group
    tally.in_refresh += refreshing(place, stage, process)
    tally.kept_at_kill.append(kept)
    return True


def fire(place: Place, stage: str, calm: str, wanted: tuple[int, int, int], seed: int) -> Tally:
    """Kill a stage (kills, of them groups, per round) and compare with the calm digest."""
    chance = random.Random(f"{seed} {stage}")
    tally = Tally()
    kills, groups, per_round = wanted
    while tally.kills < kills or tally.of_groups < groups:
        left = max(kills - tally.kills, groups - tally.of_groups)
        plan = rounds_of(stage, left, max(0, groups - tally.of_groups), per_round, chance)
        for round_of_kills in plan:
            make_under_fire(place, stage, round_of_kills, chance, tally)
            tally.differences += place.digest(stage) != calm
        assert tally.rounds < 10 * kills, f"{stage}: kills do not land: {tally}"
    return tally
