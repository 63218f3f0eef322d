"""Which rays an iteration sees. Everything is a function of (seed, iteration): no state to save.

Drawn on the host, whatever the device.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROUNDS = 4
MULTIPLIER = 0x9E3779B1


def generator(seed: int, stream: str, iteration: int) -> torch.Generator:
    """A fresh CPU generator for one purpose (`stream`) at one iteration."""
    words = np.random.SeedSequence([seed, iteration, *stream.encode()]).generate_state(2)
    return torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)


def permute(index: NDArray[np.int64], count: int, key: int) -> NDArray[np.int64]:
    """Entry `index` of a pseudo-random permutation of 0..count-1, without storing it.

    A Feistel network permutes the next even power of two; values that fall outside walk on until
    they come back. A stored permutation of the paper's 83 million pixels would take 660 MB.

    Args:
        index: i64 (b,), each in 0..count-1. key: which permutation.
    """
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    keys = np.random.SeedSequence(key).generate_state(ROUNDS).tolist()
    value = index.copy()
    outside = np.ones_like(value, dtype=bool)
    while outside.any():
        left, right = value[outside] >> half, value[outside] & mask
        for word in keys:
            mixed = ((right ^ word) * MULTIPLIER) & 0xFFFFFFFF
            left, right = right, left ^ ((mixed ^ (mixed >> 15)) & mask)
        value[outside] = left << half | right
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
