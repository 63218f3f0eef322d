"""`python -m benchmarks.memory`: peak memory of semantic training at the paper's size.

Builds synthetic stores of a full scene (270 frames of 640x480, about 3200 windows and 60 x 80 DINO
tokens a frame; 2.7 GB on disk, kept for the next run), loads them as `train_semantics` does, and
runs iterations that cross stages A, B and C with one refresh of four views' labels.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.cases import TOKEN_WIDTH, masks
from benchmarks.scene import CHANNELS, CLASSES, bench_camera, bench_field, bench_text
from ovnerf.config.features import CacheFeatures
from ovnerf.config.labels import RankRegions
from ovnerf.config.semantics import TrainSemantics
from ovnerf.encoders.pyramid import window_boxes, window_grids, window_scales
from ovnerf.labels.rsr import RegionRanker
from ovnerf.labels.void import VOID
from ovnerf.storage.by_frame import write_by_frame
from ovnerf.storage.tensors import module_tensors, save_tensors
from ovnerf.training.assemble import assemble_training, open_inputs
from ovnerf.training.pseudo_labels import LabelRules, PseudoLabels

HEIGHT, WIDTH = 480, 640
TEST_EVERY = 10
REFRESHED = 4
"""Views whose labels are replaced at the refresh."""
Frames = Iterator[tuple[int, dict[str, np.ndarray]]]


def build_stores(folder: Path, frames: int) -> None:
    """Everything that `train_semantics` reads, with random contents."""
    clip = CacheFeatures()
    grids = window_grids(HEIGHT, WIDTH, clip.scales, clip.stride, clip.jitter)
    split = (np.arange(frames) % TEST_EVERY == 0).astype(np.uint8)
    train = np.flatnonzero(split == 0).tolist()
    cameras = [bench_camera(number, HEIGHT, WIDTH) for number in range(frames)]
    box = bench_field(64).box

    def photo(todo: Sequence[int]) -> Frames:
        for index in todo:
            random = np.random.default_rng([0, index])
            pose = cameras[index].pose.double().numpy()
            rgb = random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            yield index, {"rgb": rgb, "pose": pose}

    def windows(todo: Sequence[int]) -> Frames:
        for slot in todo:
            boxes = window_boxes(HEIGHT, WIDTH, grids, 0, train[slot])
            random = np.random.default_rng([1, slot])
            rows = random.standard_normal((len(boxes), CHANNELS), np.float32)
            yield slot, {"embedding": rows.astype(np.float16), "box": boxes}

    def tokens(todo: Sequence[int]) -> Frames:
        shape = (HEIGHT // 8, WIDTH // 8, TOKEN_WIDTH)
        for slot in todo:
            random = np.random.default_rng([2, slot])
            yield slot, {"token": random.standard_normal(shape, np.float32).astype(np.float16)}

    def labels(todo: Sequence[int]) -> Frames:
        for slot in todo:
            label = np.random.default_rng([3, slot]).integers(0, CLASSES, (HEIGHT, WIDTH))
            yield slot, {name: label.astype(np.uint16) for name in ("rsr", "clip")}

    text = bench_text().numpy()
    names = [f"class {number}" for number in range(CLASSES)]
    common = {"frames": train, "classes": names, "shape": [HEIGHT, WIDTH]}
    scene = {
        "names": [str(number) for number in range(frames)],
        "classes": names,
        "similarity": {"scale": 1.0, "centre": [0.0, 0.0, 0.0]},
        "box": box.tolist(),
        "dropped": [],
    }
    pyramid = {**common, "scales": clip.scales, "stride": clip.stride, "jitter": clip.jitter}
    banks = {"text_ensemble": text, "text_bare": text, "text_blank": text[0]}
    fixed = {"split": split, "intrinsics": cameras[0].intrinsics.double().numpy()}
    ranking = {**common, "settings": RankRegions().model_dump(mode="json")}
    scale = {"scale": window_scales(grids), **banks}
    count = len(train)
    write_by_frame(folder / "frames.zarr", "frames", frames, photo, scene, "bench", fixed)
    write_by_frame(folder / "features.zarr", "features", count, windows, pyramid, "bench", scale)
    write_by_frame(folder / "dino.zarr", "dino", count, tokens, common, "bench")
    write_by_frame(folder / "labels.zarr", "labels", count, labels, ranking, "bench")
    field = bench_field(300)
    header = {**field.header(), "digest": "bench", "initial_samples": 443}
    save_tensors(folder / "field.safetensors", module_tensors(field, "radiance."), header)


class FourViews(PseudoLabels):
    """Replaces the labels of the first views only."""

    kept: Tensor

    def refresh(self) -> tuple[Tensor, Tensor]:
        """See `PseudoLabels.refresh`."""
        first, novel = super().refresh()
        return torch.cat([first.to(self.kept), self.kept[len(first) :]]), novel


def train(folder: Path, iterations: int) -> dict[str, object]:
    """Load the stores, run, and say what it took."""
    settings = TrainSemantics(iterations=iterations)
    cse = settings.cse.model_copy(update={"novel_views": 0, "every": 1.0})
    settings = settings.model_copy(update={"cse": cse})
    begin = time.perf_counter()
    inputs = open_inputs(
        frames=folder / "frames.zarr",
        features=folder / "features.zarr",
        dino=folder / "dino.zarr",
        labels=folder / "labels.zarr",
        radiance=folder,
        rank_settings=RankRegions(),
    )
    run = assemble_training(inputs, settings, seed=0)
    loaded = time.perf_counter() - begin
    refreshed = run.data.labelled[:REFRESHED].tolist()
    ranker = RegionRanker(masks(HEIGHT, WIDTH))
    run.pseudo_labels = FourViews(
        run.field,
        run.field.radiance,
        [run.data.photos.camera(photo) for photo in range(len(run.data.photos))],
        refreshed,
        [ranker] * len(refreshed),
        lambda image: np.zeros((0, *image.shape[:2]), bool),
        LabelRules(run.data.text, CLASSES, VOID, "generator"),
        cse,
        torch.zeros(0, 4, 4),
    )
    run.pseudo_labels.kept = run.label
    loaded_mb = peak_mb()
    begin = time.perf_counter()
    while run.iteration < iterations:
        run.step()
    spent = time.perf_counter() - begin
    return {
        "case": "memory_full_size",
        "frames": int(inputs.frames["split"].shape[0]),
        "labelled_views": len(run.data.labelled),
        "windows_per_frame": int(run.data.pyramid.embedding.shape[1]),
        "iterations": iterations,
        "stages": f"A to {run.joint_start}, B to {run.cse_start}, C",
        "refreshed_views": len(refreshed),
        "loading_s": round(loaded, 1),
        "seconds_per_iteration": round(spent / iterations, 3),
        "loaded_peak_mb": round(loaded_mb),
        "peak_mb": round(peak_mb()),
    }


def peak_mb() -> float:
    """Largest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Build what is missing in a process of its own, train, print and write one JSON object."""
    parser = argparse.ArgumentParser(prog="benchmarks.memory", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("results/bench_memory"))
    parser.add_argument("--frames", type=int, default=270)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if not (arguments.folder / "field.safetensors").exists():
        work = (arguments.folder, arguments.frames)
        builder = multiprocessing.get_context("spawn").Process(target=build_stores, args=work)
        builder.start()
        builder.join()
        if builder.exitcode:
            raise SystemExit("building the stores failed")
    found = train(arguments.folder, arguments.iterations)
    (arguments.folder / "memory.json").write_text(
        json.dumps(found, indent=1) + "\n", encoding="utf-8"
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
