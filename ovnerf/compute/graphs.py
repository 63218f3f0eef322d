"""CUDA graphs: the kernels of a piece of work, recorded once and launched together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def record(
    work: Callable[[], Result], after: torch.cuda.CUDAGraph | None = None
) -> tuple[torch.cuda.CUDAGraph, Result]:
    """What `work` launches, recorded but not run, and the tensors that it returns.

    Every `replay` of the graph runs it again on the tensors that it read, wherever they are, and
    fills those that it returned anew. `work` must not wait for the device, and has to have run
    before, so that libraries are set up. Graphs that are replayed one `after` another share memory.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=after.pool() if after else None):
        result = work()
    return graph, result
