"""Recorded steps without a card: recording is played by functions that are called again.

What a replay does is then the same, but for the launching; that graphs hold it is for
`make gpu-check`.
"""

from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import torch
from features_fixtures import write_tiny_scene

from ovnerf.compute import graphs
from ovnerf.config.field import Reconstruct
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import open_store
from ovnerf.training import recorded
from ovnerf.training.data import load_photos, scene_box
from ovnerf.training.reconstruct import Reconstruction

SETTINGS = Reconstruct(
    iterations=40,
    batch_rays=64,
    voxels_start=1000,
    voxels_end=4000,
    upsample_at=(0.3, 0.6),
    head_width=8,
    density_ranks=(2, 1, 1),
    appearance_ranks=(4, 2, 2),
    appearance_width=5,
    random_background=True,
)


def tensors_in(found):
    """Every tensor of nested tuples, lists and dataclasses."""
    if isinstance(found, torch.Tensor):
        return [found]
    if is_dataclass(found):
        found = [getattr(found, part.name) for part in fields(found)]
    return [one for part in found if not isinstance(part, np.ndarray) for one in tensors_in(part)]


class Played:
    """Stands in for a CUDA graph: does its work again, and fills what the recording returned."""

    def __init__(self, work, result):
        self.work, self.result, self.replays = work, result, 0

    def replay(self):
        self.replays += 1
        for mine, other in zip(tensors_in(self.result), tensors_in(self.work()), strict=True):
            mine.copy_(other)


@pytest.fixture
def recordings(monkeypatch):
    """All recordings of the test; a recording does no work, as on a card."""
    made = []

    def record(work, after=None):
        result = torch.zeros(()) if after else work()  # The march alone changes nothing.
        made.append(Played(work, result))
        return made[-1], result

    monkeypatch.setattr(graphs, "record", record)
    monkeypatch.setattr(recorded, "MARGIN", 8)  # 1024 places are enough for all of these samples
    monkeypatch.setenv("OVNERF_NATIVE", "0")
    return made


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    frames = open_store(write_tiny_scene(tmp_path_factory.mktemp("scene"))[0], "frames")
    return load_photos(frames, frame_indices(frames, "train")), scene_box(frames)


def fresh(scene, replayed):
    run = Reconstruction(*scene, SETTINGS, torch.device("cpu"))
    if replayed:
        run.take = run.recorded
    return run


def test_recorded_steps_learn_what_plain_steps_learn(scene, recordings):
    plain, replayed = fresh(scene, False), fresh(scene, True)
    for _ in range(SETTINGS.iterations):
        plain.step()
        replayed.step()
    # 3 steps of each of three grids are not recorded, and those after a change of places.
    assert 60 < sum(graph.replays for graph in recordings) <= 2 * (SETTINGS.iterations - 9)
    for one, other in zip(plain.rows, replayed.rows, strict=True):
        assert other == pytest.approx(one, rel=1e-3)
    for name, value in plain.field.state_dict().items():
        other = replayed.field.state_dict()[name]
        assert value.dtype == torch.bool or torch.allclose(other, value, atol=1e-3), name


def test_a_run_that_goes_on_has_the_same_places(scene, recordings, tmp_path):
    """On a card it then has the same bytes; by tensors on a CPU these depend on where memory is."""
    whole, first, second = (fresh(scene, True) for _ in range(3))
    for _ in range(20):
        whole.step()
        first.step()
    first.save(tmp_path / "run.safetensors", "digest")
    assert second.restore(tmp_path / "run.safetensors", "digest")
    assert second.recorded.places == whole.recorded.places
    for _ in range(12):
        whole.step()
        second.step()
    assert second.recorded.places == whole.recorded.places
    for one, other in zip(whole.rows, second.rows, strict=True):
        assert other == pytest.approx(one, rel=1e-5)


def test_places_follow_what_is_needed(scene, recordings):
    """Too few or too many places are changed before anything is learned from them."""
    run, plain = fresh(scene, True), fresh(scene, False)
    for places in ([1, 1, 1, 1], [10**6] * 4):
        run.recorded.places = places
        run.step()
        plain.step()
        assert run.rows[-1] == pytest.approx(plain.rows[-1], rel=1e-5)
        _, needed = run.recorded.marched.read()
        for count, place in zip(needed, run.recorded.places[:2], strict=True):
            assert count < place <= 2 * recorded.enough(count)


def test_a_loss_that_is_read_later_is_that_of_its_step(scene, recordings):
    """The next step overwrites the loss, so it is added up at once."""
    run, plain = fresh(scene, True), fresh(scene, False)
    for _ in range(8):
        run.step()
        plain.step()
    losses = [row["loss"] for row in plain.rows]
    assert len(set(losses)) == 8 and [row["loss"] for row in run.rows] == pytest.approx(losses)


def test_steps_that_cannot_be_recorded_are_launched_singly(scene, recordings, monkeypatch, capsys):
    """The second half fails, as where the card's memory is full; said once, not at every step."""

    def record(work, after=None):
        if after:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")
        return Played(work, None), work()

    monkeypatch.setattr(graphs, "record", record)
    run, plain = fresh(scene, True), fresh(scene, False)
    for _ in range(8):
        run.step()
        plain.step()
    for one, other in zip(plain.rows, run.rows, strict=True):
        assert other == pytest.approx(one, rel=1e-4)
    said = capsys.readouterr().err
    assert said.count("steps are launched singly, not recorded: CUDA out of memory.") == 1
    assert "Tried" not in said
