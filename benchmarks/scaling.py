"""`python -m benchmarks.scaling`: how the fast path's time grows with each size of the problem."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.cases import FULL, SHORT, Sizes, fast_iteration, training, training_tokens
from benchmarks.measure import seconds
from benchmarks.scene import bench_camera, bench_field, bench_semantics, bench_text
from ovnerf.config.semantics import Dino
from ovnerf.field.rendering import render_labels, view_weights
from ovnerf.labels.void import VOID
from ovnerf.training.losses import correlation_loss

Work = Callable[[], Any]
REPEATS = 3


def iteration(sizes: Sizes, frames: int = 8, max_samples: int = SHORT) -> Work:
    """A stage B iteration."""
    run = training(bench_semantics(bench_field(sizes.edge)), sizes, frames, max_samples)
    run.iteration = run.joint_start
    run.new_optimiser()
    return partial(fast_iteration, run)


def label_map(edge: int) -> Work:
    """A 640x480 label map, marching included."""
    field, text = bench_semantics(bench_field(edge)), bench_text()
    camera = bench_camera(1, FULL.height, FULL.width)
    return lambda: render_labels(field, view_weights(field.radiance, camera), text, VOID)


def alignment(classes: int) -> Work:
    """Correlation losses of eight crops and their gradients."""
    cosine = (torch.rand(8, 1024, classes) * 2 - 1).requires_grad_()
    token, settings = training_tokens(8), Dino()

    def work() -> None:
        positive, negative = correlation_loss(cosine, token, settings)
        (positive + negative).backward()

    return work


def curves() -> Iterator[tuple[str, str, list[int], Callable[[int], Work]]]:
    """Name, what is timed, sizes, and the work at a size."""
    few = replace(FULL, crops=0)
    yield (
        "rays",
        "stage B iteration without crops",
        [2048, 4096, 8192, 16384],
        lambda rays: iteration(replace(few, rays=rays)),
    )
    yield (
        "samples",
        "stage B iteration, samples along a ray",
        [138, 276, 551, 1102],
        lambda max_samples: iteration(few, max_samples=max_samples),
    )
    yield "grid", "640x480 label map, corners per side", [100, 200, 400], label_map
    yield "classes", "correlation losses of 8 crops", [14, 28, 56, 112], alignment
    yield (
        "frames",
        "stage B iteration without crops",
        [8, 16, 32],
        lambda frames: iteration(few, frames=frames),
    )


def main() -> None:
    """Time every curve, fit time = c size^e, print a table and write `scaling.json`."""
    parser = argparse.ArgumentParser(prog="benchmarks.scaling", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    print("| grows | timed | sizes | seconds | exponent |\n|---|---|---|---|---|", flush=True)
    for name, timed, sizes, build in curves():
        times = []
        for size in sizes:
            work = build(size)
            work()
            times.append(min(seconds(work) for _ in range(REPEATS)))
        exponent = float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
        rows.append({"grows": name, "sizes": sizes, "seconds": times, "exponent": exponent})
        shown = ", ".join(f"{value:.3g}" for value in times)
        print(f"| {name} | {timed} | {sizes} | {shown} | {exponent:.2f} |", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "scaling.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
