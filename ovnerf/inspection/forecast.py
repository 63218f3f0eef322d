"""What a config will cost on this machine, rule by rule, and what would make it cheaper."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ovnerf.config.run import laid_over, override
from ovnerf.inspection.jobs import PlannedJobs
from ovnerf.inspection.machine import Machine, this_machine
from ovnerf.inspection.plan import Plan, make_plan
from ovnerf.inspection.projection import Planned, dry_run, finish_times, planned
from ovnerf.runtime import costs
from ovnerf.runtime.cost_constants import CPU_ENCODERS, START
from ovnerf.runtime.errors import UserError
from ovnerf.runtime.job import Job
from ovnerf.runtime.memory import card_mb

WORTH = 0.05
"""A change that saves a smaller share of the hours is not mentioned."""
TWICE = 0.17
"""N of self-enhancement, as a share of the iterations, with which it refreshes labels twice."""
LAPTOP_SIDE = 640
"""Longer side in pixels that frames are reduced to, where that is worth it."""


@dataclass(frozen=True)
class Change:
    """A cheaper setting.

    Attributes:
        text: what a person would write, and what it costs in quality.
        config: what it changes in the config.
        side: the longer side that frames are reduced to; 0 where it does not.
    """

    text: str
    config: dict[str, Any]
    side: int = 0


def job_seconds(job: Job, machine: Machine, card: bool) -> float:
    """Seconds of a job here.

    Args:
        card: whether rules that compute on a card do so; its seconds are then the model's own.
    """
    cost = costs.COSTS[job.rule]
    if cost.card and card:
        return START + cost.seconds(job)
    slower = cost.on_cpu(job)
    speed = machine.encoders if slower == CPU_ENCODERS else machine.rest
    return START + slower * cost.seconds(job) / speed


def lines_of(configs: Sequence[str]) -> list[str]:
    """The forecast of configs that are laid over each other, on this machine, as text."""
    data, where = laid_over(configs)
    known = PlannedJobs(make_plan(data, where))
    settings = known.plan.config
    card = settings.device != "cpu" and card_mb() is not None
    machine = this_machine(settings.compute_threads)
    jobs = list(planned(dry_run(*map(Path, configs)), known))
    seconds = [job_seconds(job.job, machine, card) for job in jobs]
    cores = os.cpu_count() or 1
    at_once = 1 if card else max(1, cores // settings.compute_threads)
    wall = finish_times(jobs, seconds, at_once)
    return [
        f"{where}: this machine, {settings.compute_threads} threads a job, has "
        f"{machine.encoders:.2f} (networks) and {machine.rest:.2f} (all else) times the speed "
        f"of the core that the cost model is for{'; a card as fast as an A100' if card else ''}",
        *table(jobs, seconds),
        "",
        f"About {wall / 3600:.1f} hours on {cores} cores, {at_once} jobs at once"
        + (" (one, where the card is shared)" if card else ""),
        *cheaper(data, where, jobs, machine, card),
        *guesses(known),
    ]


def table(jobs: Sequence[Planned], seconds: Sequence[float]) -> list[str]:
    """One line per rule, in the order of the workflow, and their sum."""
    row = "{:<20}{:>6}{:>10}{:>12}{:>10}".format
    lines = [row("rule", "jobs", "hours", "memory GB", "disk GB")]
    total, disk, most = 0.0, 0.0, 0.0
    for rule in costs.COSTS:
        mine = [at for at, job in enumerate(jobs) if job.rule == rule]
        if not mine:
            continue
        hours = sum(seconds[at] for at in mine) / 3600
        memory = max(costs.megabytes(costs.memory_parts(jobs[at].job)) for at in mine) / 1024
        kept = sum(costs.COSTS[rule].disk(jobs[at].job) for at in mine) / 1e9
        total, disk, most = total + hours, disk + kept, max(most, memory)
        lines.append(row(rule, len(mine), f"{hours:.2f}", f"{memory:.1f}", f"{kept:.2f}"))
    return [*lines, row("all rules", len(jobs), f"{total:.2f}", f"{most:.1f}", f"{disk:.1f}")]


def cheaper(
    data: dict[str, Any], where: str, jobs: Sequence[Planned], machine: Machine, card: bool
) -> Iterator[str]:
    """What would save the most, the most first."""
    before = sum(job_seconds(job.job, machine, card) for job in jobs)
    saved = []
    for change in changes(make_plan(data, where)):
        try:
            after = seconds_after(change, data, where, jobs, machine, card)
        except UserError:
            continue  # the config cannot have it
        if before - after > WORTH * before:
            saved.append((before - after, change.text))
    if saved:
        yield "Cheaper (hours saved, each alone):"
    for seconds, text in sorted(saved, reverse=True):
        yield f"  {seconds / 3600:6.2f}  {text}"


def changes(plan: Plan) -> Iterator[Change]:
    """Cheaper settings than those of a plan; some may not be possible."""
    config = plan.config
    if any(section.encoder.kind == "openclip" for section in plan.encoders.values()):  # type: ignore[union-attr]
        yield Change(
            "encoders: [dense_clip]: one pass a frame instead of thousands of windows",
            {"encoders": ["dense_clip"]},
        )
    regions = config.propose_regions
    if regions.architecture in ("vit_h", "vit_l"):
        small = {"architecture": "vit_b", "weights": "weights/sam_vit_b_01ec64.pth"}
        yield Change("propose_regions: SAM ViT-B", {"propose_regions": small})
    if regions.reads_weights:
        yield Change(
            "propose_regions.architecture: superpixels, which need no weights",
            {"propose_regions": {"architecture": "superpixels"}},
        )
        if regions.points_per_side > 16:
            yield Change(
                "propose_regions.points_per_side: 16, which misses small things",
                {"propose_regions": {"points_per_side": 16}},
            )
    if config.cache_dino.model.startswith("vit_base"):
        small = {"model": "vit_small_patch8_224.dino", "weights": "weights/dino_vits8.safetensors"}
        yield Change("cache_dino: DINO ViT-S/8", {"cache_dino": small})
    for name in ("reconstruct", "train_semantics"):
        section = getattr(config, name)
        if section.batch_rays * section.iterations > 4e6:
            yield Change(
                f"{name}: a quarter of the rays ({section.iterations} iterations of "
                f"{section.batch_rays // 4})",
                {name: {"batch_rays": section.batch_rays // 4}},
            )
    cse = config.train_semantics.cse
    if cse.every < TWICE:
        yield Change(
            f"train_semantics.cse.every: {TWICE}, so that labels are rendered anew twice only",
            {"train_semantics": {"cse": {"every": TWICE}}},
        )
    yield Change(f"width: {LAPTOP_SIDE} in the scene sheet", {}, side=LAPTOP_SIDE)


def smaller(jobs: PlannedJobs, side: int) -> PlannedJobs:
    """The jobs with frames of no side longer than `side`."""
    for key, size in list(jobs.sizes.items()):
        share = min(1.0, side / max(size.width, size.height))
        width, height = round(size.width * share), round(size.height * share)
        jobs.sizes[key] = replace(size, width=width, height=height)
    return jobs


def seconds_after(
    change: Change,
    data: dict[str, Any],
    where: str,
    jobs: Sequence[Planned],
    machine: Machine,
    card: bool,
) -> float:
    """Seconds of the same jobs after a change."""
    changed = PlannedJobs(make_plan(override(data, change.config), where))
    if change.side:
        changed = smaller(changed, change.side)
    names = list(changed.shared)
    shared = list(
        dict.fromkeys(job.wildcards["shared"] for job in jobs if job.rule == "train_shared")
    )
    total = 0.0
    for job in jobs:
        wildcards = dict(job.wildcards)
        if wildcards.get("encoder") not in (None, *changed.plan.encoders):
            wildcards["encoder"] = next(iter(changed.plan.encoders))
        if "shared" in wildcards:
            # Its name is made of its settings.
            wildcards["shared"] = names[min(shared.index(wildcards["shared"]), len(names) - 1)]
        total += job_seconds(changed.job(job.rule, wildcards), machine, card)
    return total


def guesses(jobs: PlannedJobs) -> list[str]:
    """What neither the config nor the scenes' folders say."""
    guessed = [text for size in jobs.sizes.values() for text in size.guessed]
    return [f"Not known and taken as: {', '.join(guessed)}."] if guessed else []
