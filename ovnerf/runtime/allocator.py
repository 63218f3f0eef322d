"""The C library's allocator: a process keeps memory that it has freed.

By default glibc gives freed blocks of many sizes back to the system at once, and the kernel fills
new ones with zeros, page by page, whenever a tensor of such a size is made: in a training, at every
iteration. With freed memory kept, a process needs the kernel only until its memory has grown to
what an iteration takes (docs/performance.md#allocator).
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
"""glibc's numbers of the two parameters (malloc.h)."""
MMAP_BYTES = 2**30
"""Blocks from this size on are given back when they are freed."""
NEVER = -1
"""As a threshold for giving back the end of the heap."""
OWN_SETTINGS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")
"""Variables by which a user sets the allocator; then nothing is changed here."""


def c_function(name: str) -> Any:
    """A function of the C library, None where it has none of this name."""
    return getattr(ctypes.CDLL(None), name, None)


def keep_freed_memory() -> bool:
    """Set the allocator, before large blocks are made; returns whether it is set so.

    False, and nothing done, where the C library has no `mallopt` (macOS, musl) or the environment
    has settings of its own.
    """
    mallopt = c_function("mallopt")
    if mallopt is None or any(name in os.environ for name in OWN_SETTINGS):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))


def give_back_freed_memory() -> None:
    """Give freed memory back once: after loading, or where the sizes of all tensors change.

    Otherwise blocks that nothing of the new sizes fits into would stay to the end. Does nothing
    where the C library has no `malloc_trim`.
    """
    trim = c_function("malloc_trim")
    if trim is not None:
        trim(0)
