"""How much memory a stage needs, from the size of its input; too large is refused before it starts.

The formulas are upper estimates in bytes, for stages whose need grows with the input: n frames of
P pixels, grids of V voxels, R rays of S samples. docs/faults.md states them and what was measured.
On CUDA the arrays lie on the card, so the card's memory is what must suffice; features that do
not fit beside the rest stay in the host's. Standard library only; shapes are read from the stores'
JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from ovnerf.config.regions import ProposeRegions
from ovnerf.runtime.errors import UserError
from ovnerf.storage.provenance import shipped_file

MB = 2**20
TORCH = 1100 * MB
"""Interpreter, libraries and compiled loops of a stage with little to do (measured: 680-1050)."""
OVERRIDE = "OVNERF_MEMORY_MB"
CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
ENCODING = {"truth": 0, "toy": 150 * MB, "vit_b": 3500 * MB, "vit_l": 4500 * MB, "vit_h": 6000 * MB}
"""SAM's image encoder at work, 1024 x 1024 pixels; `truth` has none."""
GRID_COPIES = 5
"""Values, gradients, Adam's two moments, one temporary."""
UNEVEN = 1.5
"""Planes of a box that is not a cube, compared with those of a cube of as many voxels."""
SAMPLE_BYTES = 300
"""A sample while it is marched: place, distance, corner weights, density and its gradient."""
OCCUPIED = 0.25
"""Of a ray's samples those in occupied cells, once the density is trained (rooms: about 0.1)."""
WINDOW_SHARE = 1 / 64
"""Activations of one window in an image encoder, as a share of its weights (ViT-B/16: 9 MB)."""

FEATURES = ("features", "dino")
"""Parts that a training on CUDA can leave in the host's memory."""

Parts = dict[str, float]


@dataclass(frozen=True)
class Frames:
    """Size of the input: n frames of height x width."""

    count: int
    height: int
    width: int

    @property
    def pixels(self) -> int:
        """Pixels of one frame."""
        return self.height * self.width


def array_shape(store: Path, name: str) -> tuple[int, ...]:
    """Shape of an array of a store, from its JSON; OSError, ValueError or KeyError without one."""
    return tuple(json.loads((store / name / "zarr.json").read_text(encoding="utf-8"))["shape"])


def frames_of(options: Mapping[str, Any]) -> Frames:
    """The frames store among a stage's options."""
    count, height, width, _ = array_shape(options["frames"], "rgb")
    return Frames(count, height, width)


def file_size(name: str | Path) -> int:
    """Bytes of a file named in the settings; 0 when it is not there (the stage says so)."""
    for path in (Path(name), shipped_file(name)):
        if path and path.is_file():
            return path.stat().st_size
    return 0


def regions_parts(frames: Frames, settings: ProposeRegions) -> Parts:
    """SAM on one frame: weights (as f32), encoder, and a batch of masks at full size."""
    masks = 3 * settings.points_per_batch * frames.pixels
    return {
        "model": 2 * file_size(settings.weights) + ENCODING[settings.architecture],
        "masks": 12 * masks + settings.points_per_side**2 * frames.pixels,
    }


def propose_regions(options: Mapping[str, Any]) -> Parts:
    """One frame at a time; run lengths of all frames are joined at the end."""
    frames = frames_of(options)
    return {**regions_parts(frames, options["settings"]), "runs": frames.count * frames.pixels}


def cache_features(options: Mapping[str, Any]) -> Parts:
    """One batch of windows, one frame's embeddings."""
    settings = options["settings"]
    weights = file_size(getattr(settings.encoder, "weights", "") or ".")
    return {"model": 2 * weights, "windows": settings.batch * weights * WINDOW_SHARE}


def cache_dino(options: Mapping[str, Any]) -> Parts:
    """Attention of one frame's tokens, 12 heads, twice; activations."""
    frames, settings = frames_of(options), options["settings"]
    tokens = frames.pixels / settings.stride**2
    attention = 12 * 4 * 2 * tokens**2
    return {"model": 2 * file_size(settings.weights), "tokens": attention + 64_000 * tokens}


def rank_regions(options: Mapping[str, Any]) -> Parts:
    """Class scores and region masks of one frame."""
    frames = frames_of(options)
    (classes, _) = array_shape(options["features"], "text_ensemble")
    return {"frame": frames.pixels * (24 * classes + 1000)}


def photos_bytes(frames: Frames) -> int:
    """u8 colours, twice while they are picked from the store."""
    return 6 * frames.count * frames.pixels


def march_bytes(rays: float, voxels: float, step_ratio: float) -> float:
    """Samples of rays through the whole box."""
    samples = 3**0.5 * voxels ** (1 / 3) / step_ratio * UNEVEN
    return rays * samples * SAMPLE_BYTES


def reconstruct(options: Mapping[str, Any]) -> Parts:
    """Photos, grids at their last size with Adam, occupancy, one batch."""
    frames, settings = frames_of(options), options["settings"]
    voxels = max(settings.voxels_start, settings.voxels_end)
    ranks = sum(settings.density_ranks) + sum(settings.appearance_ranks)
    planes = UNEVEN * ranks * voxels ** (2 / 3)
    return {
        "photos": photos_bytes(frames),
        "grids": 4 * GRID_COPIES * planes + 6 * voxels,
        "rays": march_bytes(settings.batch_rays, voxels, settings.step_ratio),
    }


def train_shared(options: Mapping[str, Any]) -> Parts:
    """Photos, labels, CLIP windows as f32, DINO tokens, the field with Adam, one batch."""
    frames, settings = frames_of(options), options["settings"]
    field = file_size(options["radiance"] / "field.safetensors")
    voxels = (field / 4 / 88 / UNEVEN) ** 1.5  # its planes hold 88 numbers a cell, as published
    crop = (settings.dino.crop_side * min(frames.height, frames.width) / 8) ** 2
    rays = 2 * settings.batch_rays + settings.dino.crops * crop
    return {
        "photos": photos_bytes(frames),
        "labels": 8 * frames.count * frames.pixels,
        "features": 4 * prod(array_shape(options["features"], "embedding")),
        "dino": 3 * prod(array_shape(options["dino"], "token")),
        "grids": GRID_COPIES * field,
        "rays": OCCUPIED * march_bytes(rays, voxels, 0.5),
    }


def train_semantics(options: Mapping[str, Any]) -> Parts:
    """The shared part's need, and for CSE the views' weights, regions and pseudo labels."""
    frames, cse = frames_of(options), options["settings"].cse
    parts = train_shared(options)
    if not cse.enabled:
        return parts
    refreshed = (frames.count + cse.novel_views) * frames.pixels
    sam = regions_parts(frames, options["region_settings"]) if cse.novel_views else {}
    return {**parts, **sam, "refresh": cse.cache_mb * MB + 28 * refreshed + 600 * frames.pixels}


def render_views(options: Mapping[str, Any]) -> Parts:
    """Two fields, the rendered frames' photos, one view's weights and its tiles."""
    frames = frames_of(options)
    fields = (
        file_size(options["radiance"] / "field.safetensors"),
        file_size(options["semantics"] / "field.safetensors"),
    )
    return {"photos": photos_bytes(frames), "grids": 3 * sum(fields), "view": 1000 * frames.pixels}


FORMULAS: dict[str, Callable[[Mapping[str, Any]], Parts]] = {
    formula.__name__: formula
    for formula in (
        *(propose_regions, cache_features, cache_dino, rank_regions),
        *(reconstruct, train_shared, train_semantics, render_views),
    )
}


def need(stage: str, options: Mapping[str, Any]) -> Parts | None:
    """Bytes by what they are for; None for a stage that is always small, or without its input."""
    if stage not in FORMULAS:
        return None
    try:
        return {"program": TORCH, **FORMULAS[stage](options)}
    except (OSError, ValueError, KeyError, TypeError):
        return None  # a damaged or missing input: the stage itself says which


def expected_mb(stage: str, options: Mapping[str, Any]) -> int | None:
    """The formulas' upper estimate for a stage's process on CPU; None as in `need`."""
    parts = need(stage, options)
    return None if parts is None else round(megabytes(parts))


def machine_mb() -> float:
    """Memory of this machine, or of the job's share of it (cgroup), in MB."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / MB]
    for path in CGROUP_LIMITS:
        try:
            limits.append(int(path.read_text(encoding="utf-8")) / MB)
        except (OSError, ValueError):  # not there, or `max`
            continue
    return min(limits)


def card_mb() -> float | None:
    """Memory of the CUDA card that a stage computes on, in MB; None on CPU."""
    if os.environ.get("OVNERF_DEVICE", "auto") == "cpu":
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_properties(0).total_memory / MB


def features_on_host(stage: str, options: Mapping[str, Any]) -> bool:
    """Whether a training on CUDA must leave its features in the host's memory."""
    parts = need(stage, options)
    return parts is not None and len(places(parts)) > 1


def megabytes(parts: Parts) -> float:
    """Sum of the parts."""
    return sum(parts.values()) / MB


def places(parts: Parts) -> list[tuple[Parts, float, str]]:
    """Which parts lie where: (parts, MB found, words for the place) of this machine, or of a card.

    Features are in the host's memory only where all of a training's parts do not fit the card.
    """
    stated, card = os.environ.get(OVERRIDE), card_mb()
    if card is None:
        there = float(stated) if stated else machine_mb()
        return [(parts, there, f"stated by {OVERRIDE}" if stated else "on this machine")]
    there, where = (float(stated), f"stated by {OVERRIDE}") if stated else (card, "on the card")
    work = {part: size for part, size in parts.items() if part != "program"}
    if megabytes(work) <= there or not set(FEATURES) <= set(work):
        return [(work, there, where)]
    held = {part: parts[part] for part in ("program", *FEATURES)}
    rest = {part: size for part, size in work.items() if part not in FEATURES}
    return [(rest, there, where), (held, machine_mb(), "on this machine")]


def check_memory(stage: str, options: Mapping[str, Any]) -> None:
    """UserError, with the number it would need, when a stage cannot fit."""
    needed = need(stage, options)
    for parts, there, where in places(needed) if needed else ():
        if megabytes(parts) <= there:
            continue
        largest = max(parts, key=lambda part: parts[part])
        frames = frames_of(options)
        raise UserError(
            f"{stage}: {frames.count} frames of {frames.width}x{frames.height} need about "
            f"{megabytes(parts):.0f} MB of memory, {parts[largest] / MB:.0f} of them for "
            f"{largest}; found {there:.0f} MB {where}",
            "smaller or fewer frames or grids, or more memory; "
            f"{OVERRIDE}=... overrules what is found",
        )
