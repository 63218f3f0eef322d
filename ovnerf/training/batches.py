"""Which pixels and crops an iteration takes.

Batches depend on (seed, iteration) alone, so a run that goes on after a kill has no random state to
restore. They are drawn on the host, so that every device trains on the same ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROUNDS = 3
"""Rounds of mixing in `permute`. After one round the pixels of a batch are spread over the images
far less evenly than by chance, after two as evenly; the third is a margin."""
MIXING = ((16, 0x85EBCA6B), (13, 0xC2B2AE35))
"""Shifts and factors of MurmurHash3's last step: every bit of the input moves every bit."""


def generator(seed: int, stream: str, iteration: int) -> torch.Generator:
    """A fresh CPU generator for one purpose (`stream`) at one iteration."""
    words = np.random.SeedSequence([seed, iteration, *stream.encode()]).generate_state(2)
    return torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)


def scramble(value: NDArray[np.int64], key: np.uint32) -> NDArray[np.uint32]:
    """A pseudo-random u32 for each value (below 2^32); the same for the same value and key."""
    mixed = value.astype(np.uint32) ^ key
    for shift, factor in MIXING:
        mixed ^= mixed >> np.uint32(shift)
        mixed *= np.uint32(factor)
    return mixed ^ (mixed >> np.uint32(16))


def permute(index: NDArray[np.int64], count: int, key: int) -> NDArray[np.int64]:
    """Entries of a pseudo-random permutation of 0..count-1, computed without storing it.

    A number is a cell of a nearly square table of at least `count` cells. Each round shifts every
    column by a pseudo-random amount, then every row (a Feistel network on row and column), which
    permutes the cells. Where a number lands on a cell beyond `count`, the rounds are repeated until
    it does not. A stored permutation of the paper's 83 million pixels would take 660 MB.

    Args:
        index: i64 (b,), positions in the permutation, each in 0..count-1.
        key: which permutation.

    Returns:
        i64 (b,), each in 0..count-1.
    """
    rows = math.isqrt(count - 1) + 1
    columns = -(-count // rows)
    keys = np.random.SeedSequence(key).generate_state(2 * ROUNDS).reshape(ROUNDS, 2)
    value = index.copy()
    outside = np.ones_like(value, dtype=bool)
    while outside.any():
        row, column = np.divmod(value[outside], columns)
        for row_key, column_key in keys:
            row = (row + scramble(column, row_key)) % rows
            column = (column + scramble(row, column_key)) % columns
        value[outside] = row * columns + column
        outside = value >= count
    return value


@dataclass(frozen=True)
class PixelBatches:
    """Pixels of some images of one size, in random order without replacement.

    An epoch takes every pixel once, but for the last ones, which do not fill a batch.
    """

    images: int
    height: int
    width: int
    batch: int
    seed: int

    def at(self, iteration: int) -> tuple[Tensor, Tensor, Tensor]:
        """(image, row, column) of the batch at an iteration, i64 (batch,) each."""
        count = self.images * self.height * self.width
        batch = min(self.batch, count)
        epoch, in_epoch = divmod(iteration, count // batch)
        index = np.arange(in_epoch * batch, (in_epoch + 1) * batch)
        pixel = torch.from_numpy(permute(index, count, self.seed * 1_000_003 + epoch))
        image, rest = pixel // (self.height * self.width), pixel % (self.height * self.width)
        return image, rest // self.width, rest % self.width


@dataclass(frozen=True)
class CropBatches:
    """Square crops from images of one size; the images are taken in shuffled order, epoch by epoch.

    Corners are at multiples of `grid` pixels: 8, to align crops with cached DINO tokens, or 1.
    """

    images: int
    height: int
    width: int
    side: int
    crops: int
    grid: int
    seed: int

    def at(self, iteration: int) -> tuple[Tensor, Tensor, Tensor]:
        """(image, top row, left column) of the crops at an iteration, i64 (crops,) each."""
        crop = range(iteration * self.crops, (iteration + 1) * self.crops)
        orders = {
            epoch: torch.randperm(
                self.images, generator=generator(self.seed, "order", epoch)
            ).tolist()
            for epoch in {number // self.images for number in crop}
        }
        drawn = [orders[number // self.images][number % self.images] for number in crop]
        image = torch.tensor(drawn, dtype=torch.long)
        draw = torch.rand(2, self.crops, generator=generator(self.seed, "offset", iteration))
        margin = torch.tensor([self.height - self.side, self.width - self.side])
        corner = (draw * (margin // self.grid + 1)[:, None]).long() * self.grid
        return image, corner[0], corner[1]


def crop_side(height: int, width: int, share: float) -> int:
    """Side of a crop in pixels: the multiple of 8 nearest to `share` of the image's shorter side.

    At least 8, and no more than fit into the image.
    """
    side = max(8, round(share * min(height, width) / 8) * 8)
    return min(side, min(height, width) // 8 * 8)
