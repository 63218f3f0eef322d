"""How numba compiles the loops of `lookups`, `marching`, `decoding` and others.

A loop keeps a point's corner rows and weights in registers, ends a ray where it is opaque, and
writes only what is used; tensor code would have to store each of these for all samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ovnerf.runtime import progress

try:
    from numba import njit
except ImportError:  # The torch path serves then, slower.
    njit = None  # type: ignore[assignment]

PLAIN = {"nogil": True, "cache": True}
SUMS = {**PLAIN, "fastmath": {"reassoc", "contract", "nsz"}}
"""Sums over ranks may be reordered for vector units; positions never are."""
WITHIN = {"forceinline": True}
"""Compiled into the loops that call them. Numba would otherwise compile several versions of such a
function, whose sums differ in the last bit, and which of them a process calls would depend on the
state of its cache."""
INLINE = {"inline": "always"}
"""Passing an array to a function that is not inlined costs more than the lookup."""

Array = NDArray[Any]


def compiled(**options: Any) -> Callable[[Any], Any]:
    """`numba.njit`; without numba the function stays as it is and is never called.

    Where numba finds no folder that it may keep compiled code in (a checkout and a home that are
    both read-only), every process compiles anew and says so.
    """
    if njit is None:
        return lambda function: function

    def compile_later(function: Any) -> Any:
        try:
            return stamped(njit(**options)(function))
        except RuntimeError as error:
            if "cannot cache function" not in str(error):
                raise
            say_uncached()
            return njit(**{**options, "cache": False})(function)

    return compile_later


def stamped(dispatcher: Any) -> Any:
    """The compiled function, whose kept code is used only while no file of this folder changes.

    numba looks at the file of the function itself, but code of others is compiled into it.
    """
    kept = getattr(dispatcher._cache, "_cache_file", None)  # None where nothing is kept.
    if kept is not None:
        kept._source_stamp = (kept._source_stamp, digest_of_sources())
    return dispatcher


@cache
def digest_of_sources() -> str:
    """SHA-256 of all Python files beside this one."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()


@cache
def say_uncached() -> None:
    """One line a process: its start takes longer, and how to change that."""
    progress.log(
        "no folder is writable for numba's compiled loops, so this process compiles its own (half "
        "a minute); set NUMBA_CACHE_DIR to a folder of yours to keep them"
    )
