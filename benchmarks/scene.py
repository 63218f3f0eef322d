"""The bench scene: a furnished room written straight into the grids, the same on every machine."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ovnerf.field.field import FieldShape, RadianceField
from ovnerf.field.occupancy import OccupancyGrid, corner_occupancy
from ovnerf.field.semantic_field import SemanticField
from ovnerf.field.vm import LINE_AXES, PLANE_AXES
from ovnerf.geometry.camera import Camera

BOX = torch.tensor([[-1.5, -1.3, -0.8], [1.5, 1.3, 0.8]])
ROOM = np.array([[-1.4, -1.2, -0.7], [1.4, 1.2, 0.7]])
WALL = 0.08
DEPTH_PER_STEP = 0.9
"""Optical depth of one step inside matter: about ten samples until a ray is dark."""
RANKS = (16, 4, 4)
CLASSES = 56
CHANNELS = 512


def solids(seed: int) -> list[np.ndarray]:
    """Axis-aligned boxes (2, 3): six walls, then furniture on the floor and on the walls."""
    random = np.random.default_rng(seed)
    low, high = ROOM
    boxes = []
    for axis in range(3):
        for side in (0, 1):
            wall = np.stack([low - WALL, high + WALL])
            face = ROOM[side, axis]
            wall[:, axis] = (face - WALL, face) if side == 0 else (face, face + WALL)
            boxes.append(wall)
    while len(boxes) < sum(RANKS):
        size = random.uniform([0.15, 0.15, 0.1], [0.6, 0.6, 0.6])
        centre = random.uniform(low + size / 2, high - size / 2)
        if len(boxes) % 4:
            centre[2] = low[2] + size[2] / 2
        if np.abs(centre[:2]).min() < 0.5 and np.abs(centre[:2]).max() < 0.8:
            continue  # The middle stays free for cameras.
        boxes.append(np.stack([centre - size / 2, centre + size / 2]))
    return boxes


def inside(box: np.ndarray, axis: int, corners: int) -> Tensor:
    """1 where the corners of an axis lie in a solid, falling to 0 over a hundredth of a unit."""
    place = torch.linspace(float(BOX[0, axis]), float(BOX[1, axis]), corners)
    outside = torch.maximum(box[0, axis] - place, place - box[1, axis])
    return (1 - outside / 0.01).clamp(0, 1)


def density_grids(resolution: tuple[int, ...], sigma: float) -> list[tuple[Tensor, Tensor]]:
    """Plane and line tables of the three modes: one rank per solid."""
    boxes = iter(solids(seed=7))
    tables = []
    for (a, b), c, rank in zip(PLANE_AXES, LINE_AXES, RANKS, strict=True):
        planes, lines = [], []
        for box in [next(boxes) for _ in range(rank)]:
            rows, columns = inside(box, b, resolution[b]), inside(box, a, resolution[a])
            planes.append((rows[:, None] * columns).flatten() * sigma)
            lines.append(inside(box, c, resolution[c]))
        tables.append((torch.stack(planes, -1).contiguous(), torch.stack(lines, -1).contiguous()))
    return tables


def bench_field(edge: int, occupancy_edge: int = 190) -> RadianceField:
    """The room on a grid of about `edge`^3 corners; occupancy made at `occupancy_edge`^3."""
    sides = (BOX[1] - BOX[0]).double()
    spacing = (sides.prod() / edge**3) ** (1 / 3)
    x, y, z = (int(side / spacing) for side in sides)
    shape = FieldShape(
        resolution=(x, y, z),
        density_ranks=RANKS,
        appearance_ranks=(48, 12, 12),
        appearance_width=27,
        head_width=128,
        step_ratio=0.5,
        distance_scale=25.0,
        weight_threshold=1e-4,
        near=0.05,
    )
    torch.manual_seed(0)
    field = RadianceField(shape, BOX.clone(), torch.Generator().manual_seed(0))
    fill(field)
    if occupancy_edge < edge:
        field.occupancy = bench_field(occupancy_edge, occupancy_edge).occupancy
    else:
        occupied = corner_occupancy(field.alpha_grid())
        field.occupancy = OccupancyGrid.from_corners(occupied, field.step_cells())
    return field


@torch.no_grad()
def fill(field: RadianceField) -> None:
    """Write the room into the density grids; colours vary as much as in a trained field."""
    sigma = DEPTH_PER_STEP / (field.step * field.shape.distance_scale)
    tables = density_grids(field.density.resolution, sigma)
    for mode, (plane, line) in enumerate(tables):
        field.density.planes[mode].copy_(plane)
        field.density.lines[mode].copy_(line)
    for part in field.appearance.parameters():
        part.mul_(10)


def bench_semantics(radiance: RadianceField) -> SemanticField:
    """A semantic branch at the paper's sizes."""
    return SemanticField(radiance, RANKS, 3, CHANNELS, 128, torch.Generator().manual_seed(1))


def bench_text() -> Tensor:
    """Unit text vectors (56, 512)."""
    random = torch.randn(CLASSES, CHANNELS, generator=torch.Generator().manual_seed(2))
    return torch.nn.functional.normalize(random, dim=-1)


def bench_camera(number: int, height: int, width: int) -> Camera:
    """Views from the middle of the room, turned by a golden angle each (OpenCV axes)."""
    angle = 2.4 * number
    forward = torch.tensor([np.cos(angle), np.sin(angle), -0.15]).float()
    forward = forward / forward.norm()
    right = torch.linalg.cross(forward, torch.tensor([0.0, 0, 1]))
    right = right / right.norm()
    pose = torch.eye(4)
    pose[:3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward], 1)
    pose[:3, 3] = torch.tensor([0.1 * np.cos(3 * angle), 0.1 * np.sin(5 * angle), 0.1])
    focal = 0.75 * width
    intrinsics = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return Camera(pose, intrinsics, height, width)
