"""The benchmark beside TensoRF's own code, but for that code: scores, options, rows, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import peer_tensorf as peer
from benchmarks.peer_runs import tensorf_options
from benchmarks.peer_scenes import SCENES_VARIABLE, number_of, real_folder
from ovnerf.config.field import Reconstruct
from ovnerf.runtime.errors import UserError

SCORES = dict.fromkeys((*peer.COSTS, *peer.SCORES), 1.0)


def row(side: str, seed: int, **values: str | float) -> peer.Row:
    names = ("toy_0", side, "plain", "cpu", 8, seed)
    return {**dict(zip(peer.KEY, names, strict=True)), **SCORES, **values}


def test_depth_errors_by_hand():
    known = np.array([[2.0, 4.0], [0.0, 10.0]])  # 0: unknown, whatever is rendered there
    depth = np.array([[2.0, 5.0], [9.0, 10.4]])
    scores = peer.depth_scores(depth, known)
    assert scores["depth_mean"] == pytest.approx((0 + 0.25 + 0.04) / 3)
    assert scores["depth_median"] == pytest.approx(0.04)
    assert scores["depth_within_5"] == pytest.approx(2 / 3)


def test_tensorf_gets_the_same_schedule():
    settings = Reconstruct(
        iterations=1000, upsample_at=(0.25, 0.5), occupancy_at=(0.5,), density_ranks=(16, 4, 4)
    )
    words = tensorf_options(settings, Path("out"))
    pairs = list(zip(words[::2], words[1::2], strict=True))
    assert [value for name, value in pairs if name == "--upsamp_list"] == ["250", "500"]
    assert [value for name, value in pairs if name == "--update_AlphaMask_list"] == ["500"]
    assert [value for name, value in pairs if name == "--n_lamb_sigma"] == ["16", "4", "4"]
    assert ("--view_pe", "0") in pairs and ("--fea2denseAct", "relu") in pairs


def test_a_table_has_mean_and_spread_over_seeds(tmp_path: Path):
    path = tmp_path / "runs.csv"
    for seed, psnr in ((0, 29.0), (1, 31.0)):
        peer.add_row(path, row("ovnerf", seed, user_s=9.0, psnr=psnr))
    line = peer.table(peer.read_rows(path)).splitlines()[-1]
    # The sample standard deviation of 29 and 31 is the square root of 2.
    assert line.startswith(
        "| toy_0 | ovnerf | plain | cpu | 8 | 0 1 | 10 (1) | 1 | 1 | 1 | 30.00 ± 1.41"
    )


def test_finished_runs_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tensoRF.py").touch()
    peer.add_row(tmp_path / "runs.csv", row("ovnerf", 0))
    ran = []

    def run_one(key: peer.Row, settings: Reconstruct, checkout: Path, out: Path) -> peer.Row:
        ran.append((key["side"], key["variant"], settings.seed, settings.tv_density))
        return {**key, **SCORES}

    monkeypatch.setattr(peer, "run_one", run_one)
    words = [f"{tmp_path}", "--scene", "toy_0", "--seeds", "0", "1", "--iterations", "8"]
    monkeypatch.setattr("sys.argv", ["peer_tensorf", *words, "--out", f"{tmp_path}"])
    assert peer.main() == 0
    assert ran == [
        ("tensorf", "plain", 0, 0.1),
        ("ovnerf", "per_voxel", 0, 1.0),
        ("ovnerf", "plain", 1, 0.1),
        ("tensorf", "plain", 1, 0.1),
        ("ovnerf", "per_voxel", 1, 1.0),
    ]
    assert peer.main() == 0 and len(ran) == 5


def test_what_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setattr("sys.argv", ["peer_tensorf", f"{tmp_path}", "--out", f"{tmp_path}/out"])
    assert peer.main() == 2
    assert f"error: {tmp_path}: no models/tensoRF.py in it" in capsys.readouterr().err
    monkeypatch.setenv(SCENES_VARIABLE, f"{tmp_path}")
    with pytest.raises(UserError, match="scene libero_room: not found in"):
        real_folder("libero_room")
    with pytest.raises(UserError, match="no scene 'elsewhere'"):
        real_folder("elsewhere")


def test_frames_and_depth_images_are_matched_by_the_last_number():
    assert number_of("depth_12") == number_of("rgb2_012") == 12
