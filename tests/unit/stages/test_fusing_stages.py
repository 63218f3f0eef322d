"""Depth and fused labels as stages, on a scene whose views all look from one place."""

import numpy as np
import pytest
from features_fixtures import FRAMES, HEIGHT, WIDTH, tiny_labels, write_regions
from test_feature_stages import TRAIN, check_resume

from ovnerf.labels.void import VOID
from ovnerf.runtime.errors import UserError
from ovnerf.stages import fuse_labels
from ovnerf.storage.stores import read, write_store


@pytest.fixture
def stores(tiny_scene, tmp_path):
    """Inputs of `fuse_labels`; the truth is every view's label, held-out views say lamp."""
    labels = tiny_labels()
    labels[[0, 10]] = 2
    every = list(range(FRAMES))
    depth = np.full((FRAMES, HEIGHT, WIDTH), 2, np.float32)
    write_store(tmp_path / "depth.zarr", "depth", {"distance": depth}, {"frames": every}, "d")
    about = {"frames": every, "classes": ["wall", "table", "lamp"]}
    write_store(tmp_path / "labels.zarr", "labels", {"clip": labels, "rsr": labels}, about, "l")
    write_regions(
        tmp_path / "regions.zarr", dict.fromkeys(every, np.zeros((0, HEIGHT, WIDTH), bool))
    )
    names = ("frames", "depth", "labels", "regions")
    return {name: tmp_path / f"{name}.zarr" for name in names}


def test_training_views_vote_and_held_out_views_do_not(stores, tmp_path, monkeypatch):
    def stage(out):
        return fuse_labels.run(**stores, out=out)

    group = check_resume(monkeypatch, tmp_path / "fused.zarr", stage, len(TRAIN))
    assert group.attrs["frames"] == TRAIN
    # No regions: every view's own label is a vote. The table covers columns 8 + f to 40 + f.
    votes = np.stack([(tiny_labels()[TRAIN] == value).sum(0) for value in range(3)])
    expected = np.where(votes.any(0), votes.argmax(0), VOID)
    assert (expected[30, [9, 13, 14, 44, 45]] == [0, 0, 1, 1, 0]).all()
    for slot in range(len(TRAIN)):
        assert (read(group, "label", slot) == expected).all()


def test_labels_of_frames_without_regions_are_refused(stores, tmp_path):
    write_regions(stores["regions"], {1: np.zeros((0, HEIGHT, WIDTH), bool)})
    with pytest.raises(UserError, match="holds no regions of frame 2"):
        fuse_labels.run(**stores, out=tmp_path / "fused.zarr")
