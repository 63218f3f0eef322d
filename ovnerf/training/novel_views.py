"""Novel cameras for cross-view self-enhancement, and which of their pixels can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ovnerf.config.semantics import Cse
from ovnerf.field.rendering import ViewWeights, surface_points
from ovnerf.geometry.camera import Camera

PANORAMA_RADIUS = 0.005
"""Distance of the published circle's cameras from its centre, scene units."""
PANORAMA_DROP = -0.001
"""Height of these cameras above the centre, scene units; negative is below."""
PANORAMA_TILT = -0.2
"""Slope of their view, up per forward; negative looks down."""
DEPTH_TOLERANCE = 0.05
"""Two views see the same point when their distances to it agree within this share."""
MAX_GAP = 3
"""Interpolated views lie between training frames at most this far apart in the sequence."""


def novel_poses(train: Tensor, frames: Sequence[int], settings: Cse, seed: int) -> Tensor:
    """Camera-to-scene poses f32 (m, 4, 4) of the novel views (docs/method.md#novel-views).

    Args:
        train: training poses f32 (n, 4, 4), in the order of the sequence.
        frames: their places in the sequence of all frames, held-out ones included.
    """
    if settings.novel_path == "panorama":
        return panorama(train, settings.novel_views, settings.panorama_centre)
    runs = unbroken(frames) if settings.novel_gaps == "avoid" else [range(len(train))]
    return interpolated(train, runs, settings.novel_views, seed)


def unbroken(frames: Sequence[int]) -> list[range]:
    """Stretches of training frames, by their index, without a held-out frame between two of them.

    Args:
        frames: as in `novel_poses`.
    """
    breaks = [index for index in range(1, len(frames)) if frames[index] != frames[index - 1] + 1]
    ends = [0, *breaks, len(frames)]
    return [range(start, end) for start, end in pairwise(ends)]


def interpolated(train: Tensor, runs: Sequence[range], count: int, seed: int) -> Tensor:
    """Poses f32 (count, 4, 4) between two training frames, spread over the sequence.

    The two are 1 to 3 apart in the sequence and in one run; how far, and the share of the way
    (0.25 to 0.75) are drawn at random. A frame alone in its run has no view beside it.

    Args:
        runs: which frames views may lie between, as consecutive ranges of indices in `train`.
    """
    draw = np.random.default_rng(seed)
    run_of = [run for run in runs for _ in run]
    poses = []
    for start in np.linspace(0, len(train) - 1, count, endpoint=False):
        step, share = int(draw.integers(1, MAX_GAP + 1)), float(draw.uniform(0.25, 0.75))
        run = run_of[int(start)]
        if len(run) == 1 and len(runs) > 1:
            continue
        first = max(run[0], min(int(start), run[-1] - 1))
        poses.append(between(train[first], train[min(first + step, run[-1])], share))
    return torch.stack(poses) if poses else train.new_zeros(0, 4, 4)


def between(first: Tensor, second: Tensor, share: float) -> Tensor:
    """The pose (4, 4) at a share of the way: the rotation by slerp, the centre linearly."""
    # Not above: renders import this module, too, and never need it.
    from scipy.spatial.transform import Rotation, Slerp

    pair = torch.stack([first, second])
    turn = Slerp([0.0, 1.0], Rotation.from_matrix(pair[:, :3, :3].double().numpy()))
    pose = torch.eye(4, dtype=first.dtype)
    pose[:3, :3] = torch.from_numpy(turn(share).as_matrix()).to(first)
    pose[:3, 3] = torch.lerp(first[:3, 3], second[:3, 3], share)
    return pose


def panorama(train: Tensor, count: int, centre: tuple[float, float, float] | None) -> Tensor:
    """Poses f32 (count, 4, 4) of the published panorama (docs/method.md#novel-views).

    One turn about the mean camera's up: cameras stand on a circle of radius 0.005 about `centre`,
    0.001 below it, and look outward and down by atan(0.2).

    Args:
        centre: scene units; the mean training camera centre when None.
    """
    up = torch.nn.functional.normalize(-train[:, :3, 1].mean(0), dim=0)
    helper = torch.eye(3)[int(up.abs().argmin())].to(up)
    east = torch.nn.functional.normalize(torch.linalg.cross(helper, up), dim=0)
    north = torch.linalg.cross(up, east)
    origin = train[:, :3, 3].mean(0) if centre is None else torch.tensor(centre).to(train)
    poses = []
    for index in range(count):
        angle = 2 * math.pi * index / count
        outward = math.cos(angle) * east + math.sin(angle) * north
        forward = torch.nn.functional.normalize(outward + PANORAMA_TILT * up, dim=0)
        right = torch.linalg.cross(forward, up)
        right = torch.nn.functional.normalize(right, dim=0)
        pose = torch.eye(4, dtype=train.dtype)
        pose[:3, 0], pose[:3, 2] = right, forward
        pose[:3, 1] = torch.linalg.cross(forward, right)
        pose[:3, 3] = origin + PANORAMA_RADIUS * outward + PANORAMA_DROP * up
        poses.append(pose)
    return torch.stack(poses) if poses else train.new_zeros(0, 4, 4)


def seen_by(surface: Tensor, cameras: list[Camera], distances: list[Tensor]) -> Tensor:
    """How many cameras see each point, i64 (r,).

    A camera sees a point that lies in its image, at about the distance it renders for that pixel.

    Args:
        surface: points f32 (r, 3), scene units.
        cameras: the training views.
        distances: rendered distance of each camera's pixels (`surface_distance`), f32 (H, W) each.
    """
    count = torch.zeros(len(surface), dtype=torch.long, device=surface.device)
    for camera, distance in zip(cameras, distances, strict=True):
        local = (surface - camera.pose[:3, 3]) @ camera.pose[:3, :3]
        pixel = local @ camera.intrinsics.T
        projected = pixel[:, :2] / pixel[:, 2:].clamp_min(1e-6)
        column, row = projected.floor().long().unbind(-1)
        inside = (local[:, 2] > 0) & (column >= 0) & (column < camera.width)
        inside &= (row >= 0) & (row < camera.height)
        own = distance[row.clamp(0, camera.height - 1), column.clamp(0, camera.width - 1)]
        reach = local.norm(dim=-1)
        count += inside & ((reach - own).abs() <= DEPTH_TOLERANCE * reach)
    return count


def valid_pixels(
    camera: Camera,
    view: ViewWeights,
    settings: Cse,
    cameras: list[Camera],
    distances: list[Tensor],
) -> Tensor:
    """Pixels of a novel view that are opaque enough and seen by enough cameras: bool (r,)."""
    valid = view.opacity() >= settings.min_opacity
    if settings.min_seen_by > 0:
        valid &= seen_by(surface_points(camera, view), cameras, distances) >= settings.min_seen_by
    return valid
