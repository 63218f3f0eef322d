"""Page faults of a process that makes and frees a block of 64 MB again and again (glibc)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ovnerf.runtime.allocator import OWN_SETTINGS, c_function, keep_freed_memory

PAGES = 64 * 2**20 // 4096
PROGRAM = """
import ctypes, resource, sys
from pathlib import Path
from ovnerf.runtime.allocator import give_back_freed_memory, keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]


def block():
    place = libc.malloc(64 * 2**20)
    ctypes.memset(place, 1, 64 * 2**20)
    libc.free(ctypes.c_void_p(place))


def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        block()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])


if sys.argv[1] == "keep":
    assert keep_freed_memory()
block()
print(faults())
kept = resident()
give_back_freed_memory()
print(kept - resident())
"""
glibc = pytest.mark.skipif(
    c_function("mallopt") is None or not Path("/proc/self/statm").exists(),
    reason="the C library is not glibc",
)


def measure(mode: str) -> tuple[int, int]:
    """Page faults of three blocks, and pages given back afterwards."""
    free = {key: value for key, value in os.environ.items() if key not in OWN_SETTINGS}
    command = [sys.executable, "-c", PROGRAM, mode]
    done = subprocess.run(command, env=free, capture_output=True, text=True, check=True)
    faults, given_back = done.stdout.split()
    return int(faults), int(given_back)


@glibc
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    faults, given_back = measure("keep")
    assert faults < PAGES / 10
    assert given_back > PAGES * 0.9


@glibc
def test_without_the_setting_every_block_comes_from_the_kernel() -> None:
    # Huge pages would make 512 faults one.
    faults, _ = measure("default")
    assert faults > 3 * PAGES / 512


@pytest.mark.parametrize("name", OWN_SETTINGS)
def test_a_users_own_settings_stay(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert not keep_freed_memory()


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ovnerf.runtime.allocator.c_function", lambda name: None)
    assert not keep_freed_memory()
