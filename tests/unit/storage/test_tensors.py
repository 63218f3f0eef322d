"""Tensors on disk: equal bytes for equal content, and damage found."""

import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from ovnerf.runtime.errors import UserError
from ovnerf.storage import tensors
from ovnerf.storage.tensors import load_tensors, save_tensors

TENSORS = {
    "grid": torch.arange(6, dtype=torch.float32).view(2, 3),
    "step": torch.tensor(3.0),
    "none": torch.zeros(0, 4),
    "label": torch.tensor([[1, 2]], dtype=torch.int32),
}
HEADER = {
    "digest": "d",
    "iteration": 7,
    "rows": [{"psnr": 0.1, "loss": 2.0}],
    "box": [[0.1, -1e-9]],
}


def test_tensors_and_header_come_back(tmp_path: Path) -> None:
    save_tensors(tmp_path / "x", TENSORS, HEADER)
    tensors, header = load_tensors(tmp_path / "x")
    assert header == HEADER
    assert list(header["rows"][0]) == ["psnr", "loss"], "the columns of train.csv keep their order"
    assert tensors.keys() == TENSORS.keys()
    assert all(tensors[name].equal(TENSORS[name]) for name in TENSORS)


def test_equal_content_has_equal_bytes(tmp_path: Path) -> None:
    saved = set()
    for name in "abcdefgh":
        save_tensors(tmp_path / name, TENSORS, HEADER)
        saved.add((tmp_path / name).read_bytes())
    assert len(saved) == 1


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_a_file_has_the_mode_that_the_umask_leaves(tmp_path: Path, mask: int, mode: int) -> None:
    path = tmp_path / "x"
    before = os.umask(mask)
    try:
        for _ in range(2):  # the second replaces the first
            save_tensors(path, TENSORS, HEADER)
            assert stat.S_IMODE(path.stat().st_mode) == mode
            path.chmod(0o666)
    finally:
        os.umask(before)


@pytest.mark.slow
def test_every_flipped_bit_and_every_truncation_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x"
    save_tensors(path, TENSORS, HEADER)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(data))
        try:
            tensors, header = load_tensors(path)
        except UserError as error:
            assert str(path) in error.message and "delete it" in error.hint
        else:  # padding between header and tensors, or a spelling of the same JSON text
            assert header == HEADER
            assert all(tensors[name].equal(TENSORS[name]) for name in TENSORS)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="not a readable field or checkpoint"):
            load_tensors(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_state_that_is_not_finite_is_never_written(tmp_path: Path, value: float) -> None:
    bad = {**TENSORS, "optimiser.0.exp_avg": torch.tensor([1.0, value, 2.0])}
    save_tensors(tmp_path / "x", TENSORS, HEADER)
    before = (tmp_path / "x").read_bytes()
    with pytest.raises(UserError, match=r"x \(not written\): optimiser\.0\.exp_avg: found 1 of 3"):
        save_tensors(tmp_path / "x", bad, HEADER)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_a_full_disk_is_told_in_the_systems_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tensors, "save_file", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_tensors(tmp_path / "x", TENSORS, HEADER)
    assert caught.value.errno == 28 and caught.value.filename == str(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
