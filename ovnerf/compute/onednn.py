"""Matrix products of the CPU by oneDNN, on AMD's processors that have AVX-512.

torch multiplies fp32 matrices by MKL, which leaves AVX-512 to Intel's cores. oneDNN, which torch
also holds, uses it on AMD's as well and is more than twice as fast there. Elsewhere it is slower,
because every matrix has to be laid out anew (docs/decisions/005-a-fast-field-on-cpu.md, steps 12,
16 and 23). It compiles a kernel for every new shape (milliseconds and a megabyte), so shapes should
be few.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

try:
    from llvmlite.binding import get_host_cpu_features, get_host_cpu_name
except ImportError:
    get_host_cpu_features = get_host_cpu_name = None

SLOW = ("znver", "bdver", "btver", "generic", "x86-64")
"""How LLVM's names of AMD's processors begin, and of those that it does not know."""


@cache
def mkl_is_fast() -> bool:
    """Whether torch multiplies by MKL, and MKL uses all that this processor has."""
    if get_host_cpu_name is None or not torch.backends.mkl.is_available():
        return False
    return not (get_host_cpu_name().startswith(SLOW) and get_host_cpu_features().get("avx512f"))


def onednn(x: Tensor) -> Tensor:
    """x in oneDNN's layout, in which linear layers and their gradients are its products.

    x itself where that cannot be or gains nothing: not on CPU, not fp32, no oneDNN, a fast MKL.
    `to_dense` undoes either.
    """
    suits = x.device.type == "cpu" and x.dtype == torch.float32 and not mkl_is_fast()
    return x.to_mkldnn() if suits and torch.backends.mkldnn.is_available() else x
