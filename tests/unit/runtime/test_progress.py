from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from ovnerf.runtime import progress
from ovnerf.runtime.errors import Stopped
from ovnerf.storage import by_frame, stores


def test_lines_say_where_a_loop_begins_and_goes_on(capsys: pytest.CaptureFixture) -> None:
    progress.begin("x", "it", 10)
    progress.begin("x", "it", 10, 4)
    progress.log_checkpoint("x", 6)
    said = capsys.readouterr().err.splitlines()
    mine = f"[{os.getpid()}]"
    assert said == [
        f"{mine} x: begins at 0 of 10 it",
        f"{mine} x: goes on at 4 of 10 it",
        f"{mine} x: kept 6",
    ]


def test_warnings_with_one_text_are_counted_together() -> None:
    with progress.watched():
        for place in ("b.png", "a.png", "b.png", "c.png"):
            progress.warn("it is dark", place)
        progress.warn("the box is a guess")
        assert progress.warnings() == ["b.png and 2 more: it is dark", "the box is a guess"]
    with progress.watched():
        assert progress.warnings() == []


def test_the_rate_counts_this_process_only(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 104.0, 104.0, 104.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.watched() as state:
        progress.begin("x", "it", 10, 4)
        assert state.work is not None and state.work.rate() is None
        progress.advance(2)
        assert state.work.rate() == 0.5


def test_a_long_loop_says_how_fast_it_is_and_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    clock = iter([0.0, 30.0, 61.0, 61.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    progress.begin("cache_features", "frames", 400, 20)
    progress.advance(100)
    progress.advance(22)
    said = capsys.readouterr().err.splitlines()
    assert said[1:] == [
        f"[{os.getpid()}] cache_features: 142 of 400 frames, 2 a second, 2.1 minutes left"
    ]


def test_sigterm_asks_inside_and_is_put_back_outside() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with progress.watched():
        assert not progress.stop_wanted()
        os.kill(os.getpid(), signal.SIGTERM)
        assert progress.stop_wanted()
    assert signal.getsignal(signal.SIGTERM) is before
    assert not progress.stop_wanted()


def test_a_stopped_store_keeps_its_frames(tmp_path: Path) -> None:
    def produce(todo):
        for index in todo:
            if index == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            yield index, {"x": np.full(3, index)}

    def make() -> None:
        by_frame.write_by_frame(tmp_path / "s.zarr", "dino", 5, produce, {}, "d")

    with progress.watched() as state:
        with pytest.raises(Stopped, match="finished frames are kept"):
            make()
        assert state.work is not None and state.work.done == 3
    assert not (tmp_path / "s.zarr").exists()
    with progress.watched() as state:
        make()
        assert state.work is not None and state.work.first == 3
    stored = stores.open_store(tmp_path / "s.zarr", "dino")
    assert stores.read(stored, "x")[:, 0].tolist() == [0, 1, 2, 3, 4]
