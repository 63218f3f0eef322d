"""Time and memory of two ways to compute the same, in turn."""

from __future__ import annotations

import ctypes
import gc
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PAGE_MB = 4096 / 2**20


@dataclass
class Result:
    """One row of `results/bench.json`.

    Attributes:
        reference_share: part of the reference's work that was run; its seconds are scaled up by it
            (the reference is a sum over equal chunks of rays).
    """

    case: str
    reference_s: float
    fast_s: float
    ratio: float
    reference_peak_mb: float
    fast_peak_mb: float
    max_abs_diff: float
    max_grad_rel_diff: float
    size: str
    reference_share: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, four significant digits."""
        return {
            key: float(f"{value:.4g}") if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }


def resident_mb() -> float:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * PAGE_MB


def peak_mb(work: Callable[[], Any]) -> float:
    """Most memory above the level before, sampled while `work` runs (glibc, Linux)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # Freed memory that is kept would hide what `work` takes.
    before, peak, done = resident_mb(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, resident_mb() - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        work()
    finally:
        done.set()
        thread.join()
    return max(peak, 0.0)


def seconds(work: Callable[[], Any]) -> float:
    """Wall time of one call."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def compare(
    case: str,
    size: str,
    fast: Callable[[], Any],
    reference: Callable[[], Any] | list[tuple[Callable[[], Any], int]],
    gaps: tuple[float, float] = (0.0, 0.0),
    repeats: int = 3,
) -> Result:
    """Time both in turn, medians; memory first, which also warms caches and compiles loops.

    Args:
        fast: the whole work.
        reference: the whole work, or its parts, each with how many times the whole has it: every
            part runs once and its seconds count that often.
        gaps: max_abs_diff and max_grad_rel_diff.
    """
    parts = reference if isinstance(reference, list) else [(reference, 1)]
    fast()
    fast_peak = peak_mb(fast)
    reference_peak = max(peak_mb(part) for part, _ in parts)
    fast_times, reference_times = [], []
    for _ in range(repeats):
        fast_times.append(seconds(fast))
        reference_times.append(sum(times * seconds(part) for part, times in parts))
    fast_s, reference_s = statistics.median(fast_times), statistics.median(reference_times)
    share = len(parts) / sum(times for _, times in parts)
    ratio = reference_s / fast_s
    return Result(case, reference_s, fast_s, ratio, reference_peak, fast_peak, *gaps, size, share)
