"""`python -m benchmarks.parity FRAMES CLIP SEMANTICS`: both paths on a trained field.

One held-out view: outputs of every ray, its labels, and gradients of 512 rays. Exit code 1 where
they differ by more than 1e-4 of the range (1e-3 on rays with a sample whose weight is within 1e-6
of the threshold: one path may drop what the other keeps), 1e-3 of a gradient's norm, or on 0.1 % of
the labels.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import shipped
from benchmarks.cases import gradient_gap
from ovnerf.encoders.text import text_bank
from ovnerf.field.rendering import render_labels, view_weights
from ovnerf.field.semantic_field import SemanticField, semantics_from_header
from ovnerf.geometry.camera import Camera
from ovnerf.labels.void import VOID
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import open_store
from ovnerf.storage.tensors import load_tensors
from ovnerf.training.data import load_photos

CHUNK = 256
NEAR = 1e-6
RAYS = 512
OUTPUTS, NEAR_OUTPUTS, GRADIENTS, LABELS = 1e-4, 1e-3, 1e-3, 1e-3
Rays = tuple[Tensor, Tensor, Tensor | None]


def fast_outputs(field: SemanticField, rays: Rays) -> dict[str, Tensor]:
    """What training composites, and colours over white as reconstruction makes them."""
    radiance = field.radiance
    samples, weight = radiance.samples_above_threshold(*rays)
    return {
        "feature": field.ray_features(samples, weight) @ field.clip.matrix().T,
        "scales": field.scale_weights(samples, weight),
        "colour": radiance.composited_colour(samples, weight, rays[1]),
        "colour over white": radiance.render_colour(*rays, 1.0)[0],
    }


def slow_outputs(field: SemanticField, rays: Rays) -> dict[str, Tensor]:
    """The same by the published arithmetic."""
    outputs = shipped.semantics(field, *rays, None)
    return {**outputs, "colour over white": shipped.colour(field.radiance, *rays, 1.0)}


@torch.no_grad()
def output_gaps(field: SemanticField, camera: Camera) -> tuple[dict[str, Tensor], Tensor]:
    """Per output the difference of each ray over the output's range (r,), and who is near (r,)."""
    gaps: dict[str, list[Tensor]] = {}
    largest: dict[str, float] = {}
    near = []
    for origin, direction in zip(*(part.split(CHUNK) for part in camera.rays()), strict=True):
        rays = origin, direction, None
        _, weight, _ = shipped.weights(field.radiance, *rays, None)
        threshold = field.radiance.shape.weight_threshold
        near.append(((weight - threshold).abs() < NEAR).any(-1))
        fast, slow = fast_outputs(field, rays), slow_outputs(field, rays)
        for name, wanted in slow.items():
            gaps.setdefault(name, []).append((fast[name] - wanted).abs().amax(-1))
            largest[name] = max(largest.get(name, 0.0), float(wanted.abs().max()))
    return {name: torch.cat(part) / largest[name] for name, part in gaps.items()}, torch.cat(near)


def gradient_gaps(field: SemanticField, camera: Camera) -> dict[str, float]:
    """Per output the largest ||g_fast - g_ref|| / ||g_ref|| over parameter tensors."""
    draw = torch.Generator().manual_seed(0)
    origin, direction = camera.rays()
    pick = torch.randperm(len(origin), generator=draw)[:RAYS]
    rays = origin[pick], direction[pick], torch.rand(len(pick), generator=draw)
    field.requires_grad_()
    density = {id(part) for part in field.radiance.density.parameters()}
    every = list(field.parameters())
    semantic = [part for part in every if id(part) not in density]  # Density is frozen there.
    gaps = {}
    for name in fast_outputs(field, rays):
        fast, slow = (path(field, rays)[name] for path in (fast_outputs, slow_outputs))
        parameters = every if name == "colour over white" else semantic
        gaps[name] = gradient_gap(fast.square().sum(), slow.square().sum(), parameters)
    return gaps


@torch.no_grad()
def label_gap(field: SemanticField, camera: Camera, text: Tensor) -> float:
    """Share of pixels whose labels differ, of those that meet something."""
    fast = render_labels(field, view_weights(field.radiance, camera), text, VOID)
    slow = shipped.label_map(field, *camera.rays(), text, CHUNK)
    return float((fast != slow)[fast != VOID].float().mean())


def check(field: SemanticField, camera: Camera, text: Tensor) -> bool:
    """Print the table; whether everything is within its limit."""
    gaps, near = output_gaps(field, camera)
    slopes = gradient_gaps(field, camera)
    print(
        f"{len(near)} rays, {near.float().mean():.1%} with a weight within {NEAR} of the threshold"
    )
    print("| output | difference | on rays near the threshold | gradient difference |")
    print("|---|---|---|---|")
    differ = label_gap(field, camera, text)
    within = [differ <= LABELS]
    for name, gap in gaps.items():
        row = [float(part.max()) if len(part) else 0.0 for part in (gap[~near], gap[near])]
        row.append(slopes[name])
        limits = OUTPUTS, NEAR_OUTPUTS, GRADIENTS
        within += [value <= limit for value, limit in zip(row, limits, strict=True)]
        print(f"| {name} | " + " | ".join(f"{value:.1e}" for value in row) + " |")
    print(f"labels: {differ:.3%} of the pixels differ")
    return all(within)


def main(arguments: list[str] | None = None) -> int:
    """0 when everything is within its limit."""
    parser = argparse.ArgumentParser(prog="benchmarks.parity", description=__doc__)
    parser.add_argument("frames", type=Path, help="frames.zarr of a scene")
    parser.add_argument("features", type=Path, help="features.zarr of the same scene")
    parser.add_argument("semantics", type=Path, help="folder of a trained field")
    options = parser.parse_args(arguments)
    scene = open_store(options.frames, "frames")
    camera = load_photos(scene, frame_indices(scene, "test")[:1]).camera(0)
    text = text_bank(
        open_store(options.features, "features"), "ensemble", False, torch.device("cpu")
    )
    tensors, header = load_tensors(options.semantics / "field.safetensors")
    passed = check(semantics_from_header(header, tensors).eval(), camera, text)
    print("passed" if passed else "FAILED: a difference is over its limit")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
