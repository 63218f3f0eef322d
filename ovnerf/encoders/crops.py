"""Resizing many windows of one image at once, as Pillow resizes each.

Pillow's antialiased filters are two weighted sums, along rows and along columns, with weights in
22-bit fixed point, each rounded to 8 bits. Windows of different sizes differ in the weights only,
so one batched matrix product per axis makes them all, on any device. Products are f64: sums of
whole levels times whole 2^-22 are exact there, so each pass is Pillow's own to the last bit.
Columns are always squeezed first, as in every Pillow before 12.2; later ones begin with the cheaper
pass, which may differ where a window is much taller than what it becomes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Kernel = Callable[[Tensor], Tensor]
"""Distance >= 0 -> weight."""


def bicubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution with a = -1/2, reaching two pixels."""
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def bilinear(x: Tensor) -> Tensor:
    """The triangle that reaches one pixel."""
    return (1 - x).clamp_min(0)


WEIGHT_STEP = 2.0**-22
"""Pillow rounds the weights of 8-bit images to multiples of this."""
KERNELS: dict[str, Kernel] = {"bicubic": bicubic, "bilinear": bilinear}


def axis_weights(
    length: Tensor, resized: Tensor, first: Tensor, size: int, kernel: Kernel
) -> Tensor:
    """What each of `size` new pixels takes from the pixels along one axis of each window.

    Args:
        length: i64 (b,), pixels of the windows. resized: i64 (b,), pixels they would be made.
        first: i64 (b,), which of those is the first one kept.

    Returns:
        f64 (b, size, longest window), whole multiples of WEIGHT_STEP; rows sum to one within them.
    """
    ratio = (length.double() / resized)[:, None, None]
    new = first[:, None] + torch.arange(size, device=length.device)
    old = torch.arange(int(length.max()), device=length.device)
    centre = (new + 0.5)[..., None] * ratio
    weight = kernel((old + 0.5 - centre).abs() / ratio.clamp_min(1))
    weight = weight * (old < length[:, None, None])
    weight = weight / weight.sum(-1, keepdim=True) / WEIGHT_STEP
    return (weight + weight.sign() / 2).trunc() * WEIGHT_STEP


def resize_windows(
    image: Tensor, box: Tensor, size: tuple[int, int], crop: bool, kernel: Kernel
) -> Tensor:
    """Windows of an image at one size.

    Args:
        image: u8 (3, H, W). box: i64 (b, 4) x0, y0, x1, y1, exclusive ends, on the same device.
        size: (height, width) of the results; a square where `crop`.
        crop: make the shorter side fit and cut the middle out of the longer one, instead of
            squeezing both sides.

    Returns:
        f32 (b, 3, height, width), whole numbers from 0 to 255.
    """
    x0, y0, x1, y1 = box.unbind(1)
    lengths = torch.stack([y1 - y0, x1 - x0])  # (2, b)
    wanted = torch.tensor(size, device=box.device)[:, None].expand_as(lengths)
    # torchvision makes the longer side floor(size * long / short) and centres the cut by `round`.
    resized = wanted * lengths // lengths.amin(0) if crop else wanted
    first = ((resized - wanted) / 2).round().long()
    down, across = (
        axis_weights(lengths[axis], resized[axis], first[axis], size[axis], kernel)
        for axis in (0, 1)
    )
    row = (y0[:, None] + torch.arange(down.shape[-1], device=box.device)).clamp(
        max=image.shape[1] - 1
    )
    column = (x0[:, None] + torch.arange(across.shape[-1], device=box.device)).clamp(
        max=image.shape[2] - 1
    )
    pixels = image[:, row[:, :, None], column[:, None, :]].double()  # (3, b, rows, columns)
    rows = to_levels(pixels @ across.transpose(1, 2))
    return to_levels(down @ rows).transpose(0, 1).float()


def to_levels(values: Tensor) -> Tensor:
    """Rounded to whole numbers from 0 to 255, half of them up; in place."""
    return values.add_(0.5).floor_().clamp_(0, 255)
