"""Between host and device without waiting more often than need be.

A training step on CUDA stays ahead of the device as long as nothing asks for a value. Everything
that must is `to_host`, once a step; everything that goes the other way goes through pinned memory.
On CPU all of this is free.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_host(tensor: Tensor) -> NDArray[np.int64]:
    """Integers of the device, waited for."""
    return tensor.cpu().numpy()


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host or of the device, on the device; does not wait for the copy."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


@lru_cache(maxsize=64)
def constant(values: tuple[int, ...], device: torch.device) -> Tensor:
    """Numbers that steps need again and again, i64 on the device. Not to be written to."""
    return torch.tensor(values, device=device)
