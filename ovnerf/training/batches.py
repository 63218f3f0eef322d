"""Which rays an iteration sees. Everything is a function of (seed, iteration): no state to save.

Drawn on the host, whatever the device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROUNDS = 3
"""Twice this many steps mix row and column; after one round batches are far from even, after two
they are as even as random ones."""
MIXING = ((16, 0x85EBCA6B), (13, 0xC2B2AE35))
"""Shifts and factors of MurmurHash3's last step: every bit of the input moves every bit."""


def generator(seed: int, stream: str, iteration: int) -> torch.Generator:
    """A fresh CPU generator for one purpose (`stream`) at one iteration."""
    words = np.random.SeedSequence([seed, iteration, *stream.encode()]).generate_state(2)
    return torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)


def scramble(value: NDArray[np.int64], key: np.uint32) -> NDArray[np.uint32]:
    """A pseudo-random number of 32 bits for each value below 2^32."""
    mixed = value.astype(np.uint32) ^ key
    for shift, factor in MIXING:
        mixed ^= mixed >> np.uint32(shift)
        mixed *= np.uint32(factor)
    return mixed ^ (mixed >> np.uint32(16))


def permute(index: NDArray[np.int64], count: int, key: int) -> NDArray[np.int64]:
    """Entry `index` of a pseudo-random permutation of 0..count-1, without storing it.

    Numbers are places in a table that is as good as square. Each step turns every row, or every
    column, by an amount drawn for it (a Feistel network on two residues). Few places lie beyond
    `count`; numbers that fall there walk on until they come back. A stored permutation of the
    paper's 83 million pixels would take 660 MB.

    Args:
        index: i64 (b,), each in 0..count-1. key: which permutation.
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
    """Pixels of n frames in random order without replacement; an epoch's remainder is dropped."""

    frames: int
    height: int
    width: int
    batch: int
    seed: int

    def at(self, iteration: int) -> tuple[Tensor, Tensor, Tensor]:
        """(frame, row, column) of the batch at an iteration, i64 (batch,) each."""
        count = self.frames * self.height * self.width
        batch = min(self.batch, count)
        epoch, place = divmod(iteration, count // batch)
        index = np.arange(place * batch, (place + 1) * batch)
        pixel = torch.from_numpy(permute(index, count, self.seed * 1_000_003 + epoch))
        frame, rest = pixel // (self.height * self.width), pixel % (self.height * self.width)
        return frame, rest // self.width, rest % self.width


@dataclass(frozen=True)
class CropBatches:
    """Square crops, each from a different frame in an endless shuffled order.

    Offsets are multiples of `grid` pixels, so that crops align with cached DINO tokens (grid 8),
    or any (grid 1).
    """

    frames: int
    height: int
    width: int
    side: int
    crops: int
    grid: int
    seed: int

    def at(self, iteration: int) -> tuple[Tensor, Tensor, Tensor]:
        """(frame, top row, left column) of the crops at an iteration, i64 (crops,) each."""
        place = torch.arange(iteration * self.crops, (iteration + 1) * self.crops)
        epochs = (place // self.frames).tolist()
        orders = {
            epoch: torch.randperm(
                self.frames, generator=generator(self.seed, "order", epoch)
            ).tolist()
            for epoch in set(epochs)
        }
        slots = (place % self.frames).tolist()
        drawn = [orders[epoch][slot] for epoch, slot in zip(epochs, slots, strict=True)]
        frame = torch.tensor(drawn, dtype=torch.long)
        draw = torch.rand(2, self.crops, generator=generator(self.seed, "offset", iteration))
        room = torch.tensor([self.height - self.side, self.width - self.side]) // self.grid + 1
        offset = (draw * room[:, None]).long() * self.grid
        return frame, offset[0], offset[1]


def crop_side(height: int, width: int, share: float) -> int:
    """Crop side in pixels: the multiple of 8 nearest share x short side, at least 8."""
    side = max(8, round(share * min(height, width) / 8) * 8)
    return min(side, min(height, width) // 8 * 8)
