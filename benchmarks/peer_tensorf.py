"""`python -m benchmarks.peer_tensorf CHECKOUT`: ovnerf's radiance field beside TensoRF's own code.

CHECKOUT is a clone of https://github.com/apchenstu/TensoRF (commit 6a1e23b); nothing of it is in
this repository, and it runs in a process of its own, unchanged. It needs no package that this
environment lacks: what it imports for logs, meshes and its own data readers is replaced by empty
modules (`benchmarks/peer_runs.py`).

Both sides get the same rays, colours, box, schedule and random background, one CPU thread or one
card (`--device cuda`), and an allocator that keeps freed memory (docs/performance.md#allocator).
Measured for each seed: seconds of the training (the CPU's by user and system, the wall's), seconds
of a held-out view (of the CPU; on a card of the wall), peak memory (on a card, the card's), PSNR
and SSIM of the held-out views, and their depth against the known one: mean and median of
|d - known| / known, and the share of pixels within 5 %. Real scenes are looked for in the folder
that the environment's OVNERF_TEST_SCENES names; toy rooms are made.

Rows are added to OUT/runs.csv as they are finished; what is there is not run again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.peer_scenes import build_scene
from ovnerf.config.field import Reconstruct
from ovnerf.evaluation.metrics import psnr, ssim
from ovnerf.runtime.errors import BAD_INPUT, UserError
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import open_store, read

SCENES = ("icl_livingroom", "libero_room", "toy_0")
SIDES = ("ovnerf", "tensorf")
KEY = ("scene", "side", "variant", "device", "iterations", "seed")
COSTS = ("user_s", "system_s", "wall_s", "view_s", "peak_mb")
SCORES = ("psnr", "ssim", "depth_mean", "depth_median", "depth_within_5")
SCHEDULE = Reconstruct(
    iterations=1600,
    batch_rays=1024,
    voxels_start=32_768,
    voxels_end=4_000_000,
    upsample_at=(0.25, 0.35, 0.45, 0.55),
    occupancy_at=(0.35, 0.55),
    density_ranks=(8, 8, 8),
    appearance_ranks=(24, 24, 24),
    head_width=64,
    learning_rate_head=1e-3,
    tv_density=0.1,
    tv_appearance=0.1,
)
"""`reconstruct` of `config/example_replica.yaml`, but for what variant `per_voxel` changes."""
VARIANTS: dict[str, dict[str, float | str]] = {
    "plain": {},
    "encoded": {"view_pe": 2, "fea_pe": 2},
    "started": {"density_start": 0.1},
    "smooth": {"density_start": 0.1, "tv_density": 1.0},
    "per_voxel": {"density_start": 0.1, "tv_density": 1.0, "colour_per": "voxel"},
    "per_ray": {"density_start": 0.1, "tv_density": 1.0, "colour_per": "ray"},
}
"""The same on both sides; with TensoRF's positional encoding on both; with our start of the density
(docs/method.md#density-start), which TensoRF does not have; with this start and ten times the total
variation of the density; and with these and colours decoded once a voxel
(docs/method.md#colour-per-voxel), as in the config, or once a ray
(docs/method.md#colour-per-ray)."""
OURS_ALONE = ("started", "smooth", "per_voxel", "per_ray")
"""Variants that are not run on TensoRF's side."""
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}
Row = dict[str, str | float]


def depth_scores(depth: np.ndarray, known: np.ndarray) -> dict[str, float]:
    """Relative errors of depth (...) where the known depth (...) is above 0."""
    there = known > 0
    error = np.abs(depth[there] - known[there]) / known[there]
    return {
        "depth_mean": float(error.mean()),
        "depth_median": float(np.median(error)),
        "depth_within_5": float((error <= 0.05).mean()),
    }


def image_scores(rgb: np.ndarray, photos: np.ndarray) -> dict[str, float]:
    """Means over views u8 (n, H, W, 3)."""
    pairs = list(zip(rgb, photos, strict=True))
    return {
        "psnr": float(np.mean([psnr(*pair) for pair in pairs])),
        "ssim": float(np.mean([ssim(*pair) for pair in pairs])),
    }


def run_one(key: Row, settings: Reconstruct, checkout: Path, out: Path) -> Row:
    """The training that `key` names, in a process of its own; its costs and scores beside `key`."""
    scene = str(key["scene"])
    frames, depth = build_scene(scene, out / scene)
    name = "_".join(str(key[part]) for part in KEY[1:])
    folder = (out / scene / name).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    job = {
        "side": key["side"],
        "device": key["device"],
        "settings": settings.model_dump(),
        "frames": str(frames),
        "folder": str(folder),
        "checkout": str(checkout.resolve()),
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.peer_runs", str(folder / "job.json")]
    # TensoRF's code takes a card wherever it sees one.
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if key["device"] == "cpu" else {}
    environment = os.environ | ENVIRONMENT | hidden
    with (folder / "log.txt").open("w", encoding="utf-8") as log:
        subprocess.run(command, env=environment, stdout=log, stderr=log, check=True)
    views = np.load(folder / "views.npz")
    store = open_store(frames, "frames")
    photos = read(store, "rgb", frame_indices(store, "test"))
    return {
        **key,
        **json.loads((folder / "costs.json").read_text(encoding="utf-8")),
        **image_scores(views["rgb"], photos),
        **depth_scores(views["depth"], np.load(depth)),
    }


def read_rows(path: Path) -> list[Row]:
    """Finished runs; numbers as numbers."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {key: float(text) if key in (*COSTS, *SCORES) else text for key, text in row.items()}
            for row in csv.DictReader(file)
        ]


def add_row(path: Path, row: Row) -> None:
    """Append a finished run."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, (*KEY, *COSTS, *SCORES))
        if new:
            writer.writeheader()
        writer.writerow(row)


def spread(values: Sequence[float], digits: int) -> str:
    """Mean, and standard deviation of a sample where there are several."""
    text = f"{np.mean(values):.{digits}f}"
    return f"{text} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else text


def table(rows: Sequence[Row]) -> str:
    """Markdown: a line per scene, side and variant."""
    head = "| scene | side | variant | device | iterations | seeds "
    head += "| CPU s (of it system) | wall s | s a view | MB "
    head += "| PSNR | SSIM | depth: mean abs rel | median | within 5 % |"
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    for group in dict.fromkeys(tuple(str(row[key]) for key in KEY[:-1]) for row in rows):
        runs = [row for row in rows if tuple(str(row[key]) for key in KEY[:-1]) == group]
        column = {key: [float(row[key]) for row in runs] for key in (*COSTS, *SCORES)}
        total = np.add(column["user_s"], column["system_s"])
        seeds = " ".join(str(row["seed"]) for row in runs)
        cells = [
            *group,
            seeds,
            f"{total.mean():.0f} ({np.mean(column['system_s']):.0f})",
            f"{np.mean(column['wall_s']):.0f}",
            f"{np.mean(column['view_s']):.3g}",
            f"{np.mean(column['peak_mb']):.0f}",
            spread(column["psnr"], 2),
            spread(column["ssim"], 3),
            spread(column["depth_mean"], 4),
            spread(column["depth_median"], 4),
            spread(column["depth_within_5"], 3),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Run what is missing; write `runs.csv` and a table in Markdown; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.peer_tensorf",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkout", type=Path, help="a clone of TensoRF")
    parser.add_argument("--scene", nargs="+", default=SCENES, help="toy_SEED or a real scene")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--side", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument(
        "--variant", nargs="+", choices=list(VARIANTS), default=["plain", "per_voxel"]
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--iterations", type=int, default=SCHEDULE.iterations)
    parser.add_argument("--out", type=Path, default=Path("results/peer_tensorf"))
    arguments = parser.parse_args()
    try:
        if "tensorf" in arguments.side and not (arguments.checkout / "models/tensoRF.py").exists():
            hint = "git clone https://github.com/apchenstu/TensoRF"
            raise UserError(f"{arguments.checkout}: no models/tensoRF.py in it", hint)
        run_missing(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    text = table(read_rows(arguments.out / "runs.csv"))
    (arguments.out / "summary.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def run_missing(arguments: argparse.Namespace) -> None:
    """Every run that was asked for and has no row yet; seeds vary slowest."""
    path = arguments.out / "runs.csv"
    arguments.out.mkdir(parents=True, exist_ok=True)
    done = {tuple(str(row[key]) for key in KEY) for row in read_rows(path)}
    wanted = [
        (scene, side, variant, arguments.device, arguments.iterations, seed)
        for scene in arguments.scene
        for seed in arguments.seeds
        for variant in arguments.variant
        for side in arguments.side
        if side == "ovnerf" or variant not in OURS_ALONE
    ]
    for values in wanted:
        if tuple(map(str, values)) in done:
            continue
        key: Row = dict(zip(KEY, values, strict=True))
        update = {"iterations": arguments.iterations, "seed": key["seed"]}
        settings = SCHEDULE.model_copy(update=update | VARIANTS[str(key["variant"])])
        row = run_one(key, settings, arguments.checkout, arguments.out)
        add_row(path, row)
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    sys.exit(main())
