"""Sums on CUDA that have the same bytes every time, although its threads add in no order.

In torch's ordered mode (`set_deterministic_debug_mode`) such operations sort first, which takes
several times as long as adding. Here nothing need be sorted: whole numbers have the same sum in any
order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

UNITS = 2.0**36
"""Parts of the largest entry: 2^27 such entries can be summed, and what is rounded away is a
thousandth of what the largest one's last bit stands for."""


@contextmanager
def any_order() -> Iterator[None]:
    """Operations inside give the same bytes in any order, so torch need not keep one."""
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("default")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)


def sum_in_any_order(rows: Tensor, index: Tensor, count: int) -> Tensor:
    """For each index 0..count-1, the sum of its rows; the same bytes whatever the order is.

    Args:
        rows: f32 (n, d). index: i64 (n,), whose sum each row is part of.

    Returns:
        f32 (count, d).

    Entries are rounded to whole numbers of `UNITS` parts of the largest one.
    """
    unit = rows.abs().amax().clamp_min(1e-20) / UNITS
    whole = (rows / unit).round().long()
    with any_order():
        total = whole.new_zeros(count, rows.shape[1]).index_add_(0, index, whole)
    return total.to(rows) * unit
