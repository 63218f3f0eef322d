"""Crops of photos for the correlation loss: their rays and their DINO tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ovnerf.compute.transfer import to_device
from ovnerf.geometry.rays import pixel_rays
from ovnerf.training.data import Photos

CELL = 8
"""Pixels per side of the square that a DINO token describes; a crop has one ray for each."""


class Tokens(Protocol):
    """DINO tokens of crops: cached, or computed from the crop (the paper's way)."""

    @property
    def grid(self) -> int:
        """Corners of crops must be multiples of this many pixels."""
        ...

    def crops(self, photo: Tensor, row: Tensor, column: Tensor, side: int) -> Tensor:
        """Tokens of square crops of photos.

        Args:
            photo, row, column: i64 (k,), photo and upper left corner of each crop, on any device.
            side: pixels per side of a crop.

        Returns:
            f32 (k, (side / 8)^2, d), row by row of each crop.
        """
        ...


@dataclass(frozen=True)
class CachedTokens:
    """Tokens cut from those of whole photos: an approximation (docs/method.md#dino-tokens).

    Attributes:
        token: (n, H / 8, W / 8, d) of n photos, on the host or the device; crops come out there.
    """

    token: Tensor
    grid: int = CELL

    def crops(self, photo: Tensor, row: Tensor, column: Tensor, side: int) -> Tensor:
        """See `Tokens`."""
        photo, row, column = (to_device(part, self.token.device) for part in (photo, row, column))
        span = torch.arange(side // CELL, device=photo.device)
        rows = (row // CELL)[:, None, None] + span[:, None]
        columns = (column // CELL)[:, None, None] + span
        _, height, width = self.token.shape[:3]
        place = (photo[:, None, None] * height + rows) * width + columns
        token = self.token.flatten(0, 2).index_select(0, place.flatten())  # Row by row: fastest.
        return token.unflatten(0, (len(photo), -1)).float()

    def at(self, photo: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Unit tokens of pixels, f32 (r, d); i64 (r,) each, on any device.

        Pixels at the edge that no whole token covers have the nearest one's.
        """
        photo, row, column = (to_device(part, self.token.device) for part in (photo, row, column))
        rows, columns = self.token.shape[1:3]
        place = (row // CELL).clamp_max(rows - 1), (column // CELL).clamp_max(columns - 1)
        return functional.normalize(self.token[photo, *place].float(), dim=-1)


@dataclass(frozen=True)
class OnlineTokens:
    """Tokens of the crops themselves, encoded at every iteration (docs/method.md#dino-tokens).

    Attributes:
        encode: images f32 (k, 3, side, side) in [0, 1] -> tokens (k, side / 8, side / 8, d).
        rgb: photos u8 (n, H, W, 3).
    """

    encode: Callable[[Tensor], Tensor]
    rgb: Tensor
    grid: int = 1

    def crops(self, photo: Tensor, row: Tensor, column: Tensor, side: int) -> Tensor:
        """See `Tokens`."""
        photo, row, column = (to_device(part, self.rgb.device) for part in (photo, row, column))
        span = torch.arange(side, device=photo.device)
        rows = row[:, None, None] + span[:, None]
        columns = column[:, None, None] + span
        image = self.rgb[photo[:, None, None], rows, columns].permute(0, 3, 1, 2).float() / 255
        return self.encode(image).flatten(1, 2)


def cell_directions(photos: Photos) -> Tensor:
    """Mean unit directions of the rays of all squares of 8 x 8 pixels, in the camera's own axes.

    Returns:
        f32 (H - 7, W - 7, 3), by the square's upper left pixel.
    """
    height, width = photos.size
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    device = photos.pose.device
    identity = torch.eye(4, device=device)
    flat = column.flatten().to(device), row.flatten().to(device)
    _, direction = pixel_rays(identity, photos.intrinsics, *flat)
    image = direction.view(height, width, 3).permute(2, 0, 1)
    return functional.avg_pool2d(image, CELL, stride=1).permute(1, 2, 0).contiguous()


def crop_rays(
    photos: Photos, directions: Tensor, photo: Tensor, row: Tensor, column: Tensor, side: int
) -> tuple[Tensor, Tensor]:
    """Rays of square crops, one for each 8 x 8 pixels (docs/method.md#crop-rays).

    A ray's direction is the mean of its pixels' unit directions, which is a little shorter than 1,
    as published. In a forward-facing scene the mean is taken before the warp, not after it.

    Args:
        directions: `cell_directions` of the photos.
        photo, row, column: i64 (k,), photo and upper left corner of each crop.
        side: pixels per side of a crop, a multiple of 8.

    Returns:
        Origins and directions f32 (k (side / 8)^2, 3), scene units, row by row of each crop.
    """
    span = torch.arange(0, side, CELL, device=row.device)
    local = directions[row[:, None, None] + span[:, None], column[:, None, None] + span]
    pose = photos.pose[photo]
    direction = local.flatten(1, 2) @ pose[:, :3, :3].transpose(1, 2)
    origin = pose[:, None, :3, 3].expand_as(direction)
    rays = origin.reshape(-1, 3), direction.reshape(-1, 3)
    return photos.ndc.rays(*rays) if photos.ndc else rays
