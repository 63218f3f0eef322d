"""Rays and tokens of crops, against plain means and slices."""

from __future__ import annotations

import pytest
import torch

from ovnerf.training.crops import CELL, CachedTokens, cell_directions, crop_rays
from ovnerf.training.data import Photos

CORNERS = torch.tensor([0, 1]), torch.tensor([0, 5]), torch.tensor([3, 16])
"""Photo, row and column of two crops of 16 pixels."""


def photos() -> Photos:
    """Two photos of 32 x 24 pixels: one camera at the origin, one turned and moved."""
    pose = torch.eye(4).repeat(2, 1, 1)
    turned = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    pose[1, :3, :3], pose[1, :3, 3] = turned, torch.tensor([1.0, 2, 3])
    intrinsics = torch.tensor([[30.0, 0, 15], [0, 28, 11], [0, 0, 1]])
    return Photos(torch.zeros(2, 24, 32, 3, dtype=torch.uint8), pose, intrinsics)


def test_a_ray_has_the_mean_direction_of_its_pixels():
    scene = photos()
    origin, direction = crop_rays(scene, cell_directions(scene), *CORNERS, side=16)
    expected = []
    for photo, top, left in zip(*CORNERS, strict=True):
        for row in range(int(top), int(top) + 16, CELL):
            for column in range(int(left), int(left) + 16, CELL):
                rows, columns = torch.arange(row, row + CELL), torch.arange(column, column + CELL)
                rows, columns = torch.meshgrid(rows, columns, indexing="ij")
                every = photo.expand(CELL * CELL), rows.flatten(), columns.flatten()
                expected.append(scene.rays(*every)[1].mean(0))
    torch.testing.assert_close(direction, torch.stack(expected), rtol=0, atol=1e-6)
    assert origin.tolist() == [[0.0, 0, 0]] * 4 + [[1.0, 2, 3]] * 4
    assert bool((direction.norm(dim=-1) < 1).all())


def test_a_crop_reaches_the_last_row_and_column():
    scene = photos()
    last = torch.tensor([0]), torch.tensor([24 - 16]), torch.tensor([32 - 16])
    _, direction = crop_rays(scene, cell_directions(scene), *last, side=16)
    corner = torch.zeros(1, dtype=torch.long), torch.tensor([23]), torch.tensor([31])
    assert direction[-1] @ scene.rays(*corner)[1][0] == pytest.approx(1, abs=0.05)


def test_tokens_of_crops_are_cut_out():
    token = torch.arange(2 * 3 * 4 * 2, dtype=torch.float16).view(2, 3, 4, 2)
    corner = torch.tensor([0, 1]), torch.tensor([0, 8]), torch.tensor([8, 16])
    found = CachedTokens(token).crops(*corner, side=16)
    expected = torch.stack([token[0, 0:2, 1:3], token[1, 1:3, 2:4]]).flatten(1, 2).float()
    assert found.dtype == torch.float32 and torch.equal(found, expected)
