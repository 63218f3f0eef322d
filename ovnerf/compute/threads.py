"""Work of a CPU on as many threads as torch has, which threads wait for from call to call.

Starting new threads would take longer than a small piece of work. Threads do not survive a fork, so
every process has its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from threading import Barrier, Lock
from typing import Any, TypeVar

import torch

SMALLEST_PART = 256
"""Fewer rays or points than this are not worth a thread."""
STARTED_WITHIN = 60
"""Seconds in which new threads must have started."""
Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parts(
    work: Callable[[int, int], Any], count: int, smallest: int = SMALLEST_PART
) -> list[Any]:
    """Call `work(begin, end)` on ranges that cover 0..count-1, one range per torch thread.

    For compiled loops, which use the thread that calls them. The calling thread takes the first
    range.

    Args:
        smallest: fewer than this are not worth a thread.

    Returns:
        what the calls returned, in the order of the ranges.
    """
    parts = max(1, min(torch.get_num_threads(), count // smallest))
    if parts == 1:
        return [work(0, count)]
    mine, *others = pairwise([count * part // parts for part in range(parts + 1)])
    working = [
        _threads(os.getpid(), torch.get_num_threads()).submit(work, *edge) for edge in others
    ]
    return [work(*mine), *(part.result() for part in working)]


def on_each(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Call `work` on every item, without autograd, several at once.

    For work with torch's operations in it. Of several items each runs its operations on one thread
    alone. So threads meet once for all items, not in every operation, and what a matrix product
    adds up does not depend on how many threads there are. A single item has all of torch's threads.

    Returns:
        what the calls returned, in the order of the items.
    """

    def call(item: Item) -> Result:
        with torch.no_grad():  # Every thread has its own setting.
            return work(item)

    threads = torch.get_num_threads()
    if threads == 1 or len(items) < 2:
        return [call(item) for item in items]
    with _making:
        pool = _single_threads(os.getpid(), threads)
    return list(pool.map(call, items))


_making = Lock()


@cache
def _threads(_process: int, count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count)


@cache
def _single_threads(_process: int, count: int) -> ThreadPoolExecutor:
    """Threads on which torch's operations run on one thread."""
    pool, started = ThreadPoolExecutor(count), Barrier(count + 1)

    def start() -> None:
        torch.get_num_threads()  # torch gives a thread the common number when first asked.
        torch.set_num_threads(1)
        started.wait(STARTED_WITHIN)

    try:
        for _ in range(count):
            pool.submit(start)
        started.wait(STARTED_WITHIN)
    finally:
        # Threads that begin later have the number that any thread has set last.
        torch.set_num_threads(count)
    return pool
