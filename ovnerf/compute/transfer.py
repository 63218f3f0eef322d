"""Copies between host and device that make the host wait for the device as seldom as possible.

CUDA runs behind the host: a training step queues its work and the host goes on, until it reads a
value from the device and has to wait. A step reads values in one place only, through `to_host`.
Copies to the device go through pinned memory, which needs no waiting. On a CPU nothing is copied.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_host(tensor: Tensor) -> NDArray[np.int64]:
    """An i64 tensor as a NumPy array on the host; waits until the device has computed it."""
    return tensor.cpu().numpy()


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`, wherever it was; returns before a copy to CUDA is complete."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


@lru_cache(maxsize=64)
def constant(values: tuple[int, ...], device: torch.device) -> Tensor:
    """Integers as an i64 tensor on `device`, made once and kept; must not be written to."""
    return torch.tensor(values, device=device)
