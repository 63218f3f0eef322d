"""Print what a config would cost: jobs, hours on a card, CPU hours and disk, rule by rule.

    python workflow/scripts/projected_cost.py config/benchmark.yaml
    python workflow/scripts/projected_cost.py config/benchmark.yaml --measured results/benchmarks

The jobs are those of Snakemake's own dry run, so neither data nor weights are needed. Seconds come
from a model of each rule times the constants below, each with its source; where an earlier run of
the same config left benchmark files (`--measured`, by default those in its results folder), a
rule's model is scaled to them and the table says so. Disk is counted before compression.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from ovnerf.config.features import CacheFeatures  # noqa: E402
from ovnerf.config.run import (  # noqa: E402
    Config,
    cache_features_settings,
    read_config,
    read_scenes,
    read_yaml,
    scene_settings,
)
from ovnerf.runtime.errors import UserError  # noqa: E402
from ovnerf.scenes.layouts import list_scene  # noqa: E402

START = 4.0
"""Seconds of a job before its stage works: two Snakemakes, Python, imports (docs/cluster.md)."""
FLOPS = 5e12
"""Sustained by the encoders: a quarter of an A100's 19.5 TFLOP/s in fp32. An assumption."""
SAM_FLOP = 2 * 632e6 * 4096 + 4 * 4 * 4096**2 * 1280
"""ViT-H on its 64 x 64 tokens: 2 x parameters x tokens, and attention in its four global layers."""
PROMPT_FLOP = 3.5e9
"""SAM's decoder per prompt: two-way attention over 4096 tokens and the upscaling to 256 x 256."""
CLIP_FLOP = 35e9
"""ViT-B/16 on one window of 224 x 224 (17.5 G multiply-adds)."""
LSEG_FLOP = 1.5e12
"""LSeg on one image: ViT-L/16 on 1200 tokens (0.75) and as much for its head (rough)."""
RECONSTRUCT = 17.4 * 60 / 30_000 / 4096
"""Seconds per ray: TensoRF paper, VM-192, 30 000 iterations of 4096 rays in 17.4 min (V100)."""
TRAIN = 3600 / 15_000
"""Seconds per iteration: OV-NeRF paper, about one hour for 15 000 (A100). Ours does less work."""
RENDER = 3.8 / (640 * 480)
"""Seconds per pixel: OV-NeRF paper, 3.8 s a view of 640 x 480 (A100). Ours does less work."""
CPU = {
    "make_room": 15.0,
    "sample_frames": 1.0,
    "read_truth": 0.5,
    "rank_regions": 3.0,
    "score_labels": 0.5,
    "evaluate": 2.5,
    "draw_figures": 5.0,
    "aggregate": 0.0,
    "summarise_runs": 0.0,
    "fetch_weights": 0.0,
}
"""Seconds per megapixel: the demo's two rooms on one EPYC core, without the start."""
FRAMES = 30
"""Frames of a scene whose sheet gives none and whose folder is not there."""
SIZE = (640, 480)
"""Width and height of images where the sheet and the config give none."""
HELD_OUT = ("render_views", "evaluate", "draw_figures")
"""Rules that work on the test views alone; the others are reckoned with all."""
OF_THE_DEMO = "the demo, one EPYC core"


@dataclass(frozen=True)
class Job:
    """A job of the dry run, and what its cost depends on."""

    rule: str
    wildcards: dict[str, str]
    plan: Plan

    @property
    def key(self) -> tuple[str, str]:
        """Its scene in the sheet; a job of no scene has none."""
        return self.wildcards.get("dataset", ""), self.wildcards.get("scene", "")

    @property
    def frames(self) -> int:
        """Frames it works on."""
        count = self.plan.frames.get(self.key, 0)
        held_out = -(-count // self.plan.config.sample_frames.test_every)
        return held_out if self.rule in HELD_OUT else count

    @property
    def pixels(self) -> int:
        """Pixels of one frame."""
        width, height = self.plan.sizes.get(self.key, (0, 0))
        return width * height

    @property
    def encoder(self) -> CacheFeatures:
        """Settings of its encoder."""
        return self.plan.encoders[self.wildcards["encoder"]]

    @property
    def windows(self) -> int:
        """Windows of the pyramid on one frame (docs/method.md#clip-pyramid)."""
        width, height = self.plan.sizes[self.key]
        count = 0
        for scale in self.encoder.scales:
            side = min(width, height) // scale
            step = max(1, int(side * self.encoder.stride))
            count += (-(-(width - side) // step) + 1) * (-(-(height - side) // step) + 1)
        return count

    @property
    def iterations(self) -> float:
        """Optimisation steps: the shared part's up to T, a variant's from there."""
        train = self.plan.config.train_semantics
        share = train.cse.start if self.rule == "train_shared" else 1 - train.cse.start
        return train.iterations * share

    @property
    def tokens(self) -> float:
        """DINO tokens of one frame."""
        return self.pixels / 64

    @cached_property
    def model(self) -> Rule:
        """How its rule is reckoned."""
        return RULES.get(self.rule, UNKNOWN)

    @property
    def field_bytes(self) -> float:
        """Planes of the last grid, taken as a cube, in fp32 (docs/method.md#upsampling)."""
        section = self.plan.config.reconstruct
        ranks = sum(section.density_ranks) + sum(section.appearance_ranks)
        return 4 * ranks * section.voxels_end ** (2 / 3)


@dataclass(frozen=True)
class Rule:
    """Seconds and bytes of a job of one rule."""

    seconds: Callable[[Job], float]
    bytes: Callable[[Job], float]
    source: str
    card: bool = False


def clip_seconds(job: Job) -> float:
    """Seconds of the windows, or of the whole images, of one scene."""
    kind = job.encoder.encoder.kind if job.encoder.encoder else ""
    each = {"openclip": job.windows * CLIP_FLOP, "lseg": LSEG_FLOP}.get(kind, 0.0)
    parts = job.plan.config.cache_features.parts
    gathers = parts > 1 and job.rule == "cache_features"
    return 0.0 if gathers else job.frames * each / FLOPS / parts


def clip_bytes(job: Job) -> float:
    """Embeddings of 512 halves; the encoders without windows store squares of 8 x 8 pixels."""
    kind = job.encoder.encoder.kind if job.encoder.encoder else ""
    rows = job.windows if kind in ("openclip", "simulated") else job.pixels / 64
    return 0.0 if job.rule == "cache_features_part" else job.frames * rows * 512 * 2


def sam_seconds(job: Job) -> float:
    """The encoder once per frame, the decoder once per prompt."""
    prompts = job.plan.config.propose_regions.points_per_side**2
    return job.frames * (SAM_FLOP + prompts * PROMPT_FLOP) / FLOPS


def dino_seconds(job: Job) -> float:
    """ViT-B: 2 x 85 M parameters x tokens, and attention in twelve layers."""
    return job.frames * (2 * 85e6 * job.tokens + 12 * 4 * 768 * job.tokens**2) / FLOPS


def reconstruct_seconds(job: Job) -> float:
    """Every iteration's rays."""
    section = job.plan.config.reconstruct
    return RECONSTRUCT * section.iterations * section.batch_rays


def on_cpu(rule: str, bytes_per_pixel: float = 0.0) -> Rule:
    """A rule whose time and disk follow the number of pixels."""
    return Rule(
        lambda job: CPU[rule] * job.frames * job.pixels / 1e6,
        lambda job: bytes_per_pixel * job.frames * job.pixels,
        OF_THE_DEMO,
    )


def trained(size: float) -> Rule:
    """A semantic training whose folder holds `size` fields (weights, moments of Adam)."""
    return Rule(
        lambda job: job.iterations * TRAIN,
        lambda job: size * job.field_bytes,
        "OV-NeRF paper, A100",
        card=True,
    )


ENCODED = f"arithmetic: FLOP at {FLOPS / 1e12:.0f} TFLOP/s"
CLIP = Rule(clip_seconds, clip_bytes, ENCODED, card=True)
RULES = {
    "fetch_weights": on_cpu("fetch_weights"),
    "make_room": on_cpu("make_room", 3),
    "sample_frames": on_cpu("sample_frames", 3),
    "read_truth": on_cpu("read_truth", 2),
    # A mask is runs along its edge: bytes grow with the side of the image. 0.3 MB at 640 x 480.
    "propose_regions": Rule(
        sam_seconds, lambda job: job.frames * 540 * job.pixels**0.5, ENCODED, card=True
    ),
    "cache_dino": Rule(
        dino_seconds, lambda job: job.frames * job.tokens * 768 * 2, ENCODED, card=True
    ),
    "cache_features_part": CLIP,
    "cache_features": CLIP,
    "rank_regions": on_cpu("rank_regions", 4),
    "score_labels": on_cpu("score_labels"),
    "reconstruct": Rule(
        reconstruct_seconds, lambda job: 1.1 * job.field_bytes, "TensoRF paper, V100", card=True
    ),
    "train_shared": trained(4.0),
    "train_semantics": trained(1.4),
    "render_views": Rule(
        lambda job: job.frames * job.pixels * RENDER,
        lambda job: job.frames * job.pixels * 14,
        "OV-NeRF paper, A100",
        card=True,
    ),
    "evaluate": on_cpu("evaluate"),
    "draw_figures": on_cpu("draw_figures", 3),
    "aggregate": on_cpu("aggregate"),
    "summarise_runs": on_cpu("summarise_runs"),
}
UNKNOWN = Rule(lambda job: 0.0, lambda job: 0.0, "no figure: counted as its start alone")


@dataclass(frozen=True)
class Plan:
    """A config, with what the model asks about its scenes and encoders."""

    config: Config
    frames: dict[tuple[str, str], int]
    sizes: dict[tuple[str, str], tuple[int, int]]
    encoders: dict[str, CacheFeatures]
    guessed: tuple[str, ...]
    """What was taken for unknown numbers and sizes of frames."""


def shipped(name: str) -> Path:
    """A file named in a config: in the working directory, else in the repository."""
    return Path(name) if Path(name).exists() else REPOSITORY / name


def read_plan(path: Path) -> Plan:
    """The config at `path` and the scenes of its sheet."""
    config = read_config(read_yaml(path), str(path))
    frames, sizes, guessed = {}, {}, []
    for scene in read_scenes(shipped(config.scenes)):
        wanted = scene_settings(config.sample_frames, scene)
        count = wanted.frames
        if count is None and scene.path and Path(scene.path).is_dir():
            listing = list_scene(scene.path, wanted.layout, None, wanted.classes)
            count = len(listing.names)
        name = f"{scene.dataset}/{scene.scene}"
        if not count:
            guessed.append(f"{name}: {FRAMES} frames")
        if not (wanted.width and wanted.height):
            guessed.append(f"{name}: {SIZE[0]}x{SIZE[1]}")
        frames[scene.dataset, scene.scene] = count or FRAMES
        sizes[scene.dataset, scene.scene] = (wanted.width or SIZE[0], wanted.height or SIZE[1])
    encoders = {
        name: cache_features_settings(config, shipped(f"config/encoders/{name}.yaml"))
        for name in config.encoders
    }
    return Plan(config, frames, sizes, encoders, tuple(guessed))


def dry_run(path: Path) -> str:
    """What Snakemake would do if nothing were there yet."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--forceall", "--cores", "1"]
    command += ["--snakefile", str(REPOSITORY / "Snakefile"), "--configfile", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{path}: it cannot be planned:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout + done.stderr


def planned(output: str, plan: Plan) -> Iterator[Job]:
    """Every job of a dry run but `all`."""
    for rule, body in re.findall(r"(?m)^(?:local)?rule (\w+):\n((?:    .*\n)*)", output):
        found = re.search(r"(?m)^    wildcards: (.*)$", body)
        pairs = (pair.split("=", 1) for pair in (found[1].split(", ") if found else ()))
        if rule != "all":
            yield Job(rule, dict(pairs), plan)


def group(job: Job) -> tuple[str, str]:
    """Jobs whose measured seconds may stand for each other's."""
    encoder = job.wildcards.get("encoder", "") if job.rule.startswith("cache_features") else ""
    return job.rule, encoder


def name_of(job: Job) -> str:
    """Name of a job's benchmark file without its ending (see workflow/rules/common.smk)."""
    parts = dict(job.wildcards)
    if "seed" in parts:
        parts["seed"] = f"seed{parts['seed']}"
    order = ("dataset", "scene", "encoder", "shared", "variant", "seed", "part")
    return ".".join(parts[key] for key in order if key in parts) or "all"


def measured_seconds(folder: Path, job: Job) -> float | None:
    """Seconds of a job in an earlier run, if its benchmark file is there."""
    path = folder / job.rule / f"{name_of(job)}.tsv"
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        return float(next(csv.DictReader(file, delimiter="\t"))["s"])


def modelled(job: Job) -> float:
    """Seconds of a job from the constants."""
    return START + job.model.seconds(job)


def scales(jobs: list[Job], folder: Path) -> dict[tuple[str, str], tuple[float, int]]:
    """Group -> (measured over modelled seconds, measured jobs)."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for job in jobs:
        seconds = measured_seconds(folder, job)
        if seconds is not None:
            found.setdefault(group(job), []).append((seconds, modelled(job)))
    return {
        key: (sum(real for real, _ in pairs) / sum(model for _, model in pairs), len(pairs))
        for key, pairs in found.items()
    }


def table(jobs: list[Job], folder: Path) -> list[str]:
    """One line per rule, in the order of the workflow, and their sum."""
    known = scales(jobs, folder)
    row = "{:<17}{:>6}{:>10}{:>10}{:>10}  {}".format
    lines = [row("rule", "jobs", "card h", "CPU h", "disk GB", "where the hours come from")]
    totals = [0, 0.0, 0.0, 0.0]
    for rule in [*RULES, *sorted({job.rule for job in jobs} - RULES.keys())]:
        mine = [job for job in jobs if job.rule == rule]
        if not mine:
            continue
        hours = sum(known.get(group(job), (1.0, 0))[0] * modelled(job) for job in mine) / 3600
        card = mine[0].model.card
        disk = sum(job.model.bytes(job) for job in mine) / 1e9
        cells = [len(mine), hours * card, hours * (not card), disk]
        totals = [total + cell for total, cell in zip(totals, cells, strict=True)]
        seen = sum(number for (name, _), (_, number) in known.items() if name == rule)
        source = f"measured: {seen} of its jobs" if seen else mine[0].model.source
        lines.append(row(rule, cells[0], *(f"{cell:.2f}" for cell in cells[1:]), source))
    return [*lines, row("all rules", totals[0], *(f"{total:.1f}" for total in totals[1:]), "")]


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("--measured", type=Path, metavar="FOLDER", help="benchmark files")
    options = parser.parse_args()
    try:
        plan = read_plan(shipped(str(options.config)))
        jobs = list(planned(dry_run(shipped(str(options.config))), plan))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    folder = options.measured or Path(plan.config.results) / "benchmarks"
    print("\n".join(table(jobs, folder)))
    print(f"\nBenchmark files of an earlier run were looked for in {folder}.")
    if plan.guessed:
        print(f"Not known and taken as: {', '.join(plan.guessed)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
