from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ovnerf.runtime import lock
from ovnerf.runtime.errors import UserError
from ovnerf.runtime.lock import hold_lock

HOLD = """
import sys
from pathlib import Path
from ovnerf.runtime.lock import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_maker_is_refused_with_the_first_ones_number(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "radiance"
    with (
        hold_lock(out),
        pytest.raises(UserError, match=rf"radiance: process {os.getpid()} on .* is making it"),
        hold_lock(out),
    ):
        pass
    assert list(out.parent.iterdir()) == []


def test_results_beside_each_other_do_not_wait(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "a"), hold_lock(tmp_path / "b"):
        pass


def test_the_lock_goes_with_a_killed_process(tmp_path: Path) -> None:
    out = tmp_path / "out"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=f"process {holder.pid} "), hold_lock(out):
        pass
    holder.kill()
    holder.wait()
    assert (tmp_path / ".out.lock").exists()
    with hold_lock(out):
        pass
    assert not (tmp_path / ".out.lock").exists()


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    gone = (".out.123.tmp", ".out.partial.safetensors.9.tmp")
    kept = (".outer.123.tmp", ".out.tmp", "out", "out.partial.safetensors", ".out.x.tmp")
    for name in (*gone, *kept):
        (tmp_path / name).write_text("x")
    (tmp_path / ".out.7.tmp").mkdir()
    with hold_lock(tmp_path / "out"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_a_disk_without_locks_is_worked_on_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(descriptor: int, operation: int) -> None:
        raise OSError(lock.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    with hold_lock(tmp_path / "out"):
        pass
