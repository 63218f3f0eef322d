"""Matrix products of the CPU by oneDNN.

torch multiplies fp32 matrices by MKL, which leaves AVX-512 to Intel's cores; oneDNN, which torch
also holds, uses it on AMD's as well: more than twice as fast there (docs/performance.md). It
compiles a kernel for every new shape (milliseconds and a megabyte), so shapes should be few.
"""

from __future__ import annotations

import torch
from torch import Tensor


def onednn(x: Tensor) -> Tensor:
    """x in oneDNN's layout, in which linear layers and their gradients are its products.

    x itself where it cannot be: not on CPU, not fp32, no oneDNN. `to_dense` undoes either.
    """
    suits = x.device.type == "cpu" and x.dtype == torch.float32
    return x.to_mkldnn() if suits and torch.backends.mkldnn.is_available() else x
