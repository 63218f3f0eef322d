"""How fast this machine is, against the one that the cost model's constants were measured on.

Two small programs stand for all work on a CPU: matrix products of a ViT's size for the encoders,
and sums of rows at random places of a large table for the field. They take seconds; the answer is
kept in the user's cache folder until the processor, the threads or PyTorch change.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from ovnerf.runtime.cost_constants import CPU_ENCODERS, FLOPS
from ovnerf.storage.atomic import atomic_file

REFERENCE_FLOPS = FLOPS / CPU_ENCODERS
"""FLOP per second of the core that the model's seconds are for."""
REFERENCE_ROWS = 5e6
"""Rows per second that it gathers and adds, one EPYC core."""
TOKENS, WIDTH, WIDE = 788, 768, 3072
"""A product of a ViT-B's MLP: four windows of 197 tokens."""
TABLE, ROWS, CHANNELS = 400_000, 200_000, 24
REPEATS = 12


@dataclass(frozen=True)
class Machine:
    """Speeds of a machine over those of the reference core.

    Attributes:
        encoders: of networks.
        rest: of everything else.
    """

    encoders: float
    rest: float


def quickest(call: Callable[[], object]) -> float:
    """Seconds of the quickest of some calls: other programs only make it slower."""
    call()
    seconds = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def measure(threads: int) -> Machine:
    """Measure this machine, so many threads at once; a few seconds."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        draw = torch.Generator().manual_seed(0)
        left = torch.rand(TOKENS, WIDTH, generator=draw)
        right = torch.rand(WIDTH, WIDE, generator=draw)
        table = torch.rand(TABLE, CHANNELS, generator=draw)
        place = torch.randint(0, TABLE, (ROWS,), generator=draw)
        product = quickest(lambda: left @ right)
        gather = quickest(lambda: table[place].sum(0))
    finally:
        torch.set_num_threads(before)
    return Machine(
        encoders=2 * TOKENS * WIDTH * WIDE / product / REFERENCE_FLOPS,
        rest=ROWS / gather / REFERENCE_ROWS,
    )


def cache_file() -> Path:
    """Where the answer is kept."""
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "ovnerf" / "machine.json"


def identity(threads: int) -> str:
    """What the speeds depend on."""
    parts = (platform.machine(), processor(), os.cpu_count(), threads, version("torch"))
    return " ".join(map(str, parts))


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")


def this_machine(threads: int) -> Machine:
    """The kept answer for this machine, else a new one, which is kept where that is possible."""
    path, wanted = cache_file(), identity(threads)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["machine"] == wanted:
            return Machine(**kept["speeds"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    speeds = measure(threads)
    try:
        with atomic_file(path) as temporary:
            temporary.write_text(
                json.dumps({"machine": wanted, "speeds": asdict(speeds)}), encoding="utf-8"
            )
    except OSError:
        pass  # a home folder that cannot be written costs some seconds each time
    return speeds
