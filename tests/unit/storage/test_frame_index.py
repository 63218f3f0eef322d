import numpy as np
import pytest

from ovnerf.config.labels import RankRegions
from ovnerf.runtime.errors import UserError
from ovnerf.storage.frame_index import FrameIndex
from ovnerf.storage.made_with import open_made_with, require_weights
from ovnerf.storage.provenance import file_digest
from ovnerf.storage.stores import open_store, write_store


def labels_store(path, **attributes):
    write_store(path, "labels", {"rsr": np.zeros((3, 2, 2), "u2")}, attributes, "made up")
    return path


def test_frames_and_slots_by_hand(tmp_path):
    index = FrameIndex(
        open_store(labels_store(tmp_path / "labels.zarr", frames=[4, 9, 2]), "labels")
    )
    assert index.frames == [4, 9, 2] and len(index) == 3
    assert [index.slot(frame) for frame in (4, 9, 2)] == [0, 1, 2]
    assert index.slots([2, 4]) == [2, 0]
    assert 9 in index and 0 not in index
    assert index.missing([9, 7, 2, 1]) == [1, 7] and index.missing([2]) == []
    with pytest.raises(KeyError):
        index.slot(0)


def test_a_store_made_with_other_settings_is_refused(tmp_path):
    made = RankRegions(blank_prompt=True)
    path = labels_store(tmp_path / "labels.zarr", settings=made.model_dump(mode="json"))
    assert open_made_with(path, "labels", made)["rsr"].shape == (3, 2, 2)
    with pytest.raises(UserError) as refused:
        open_made_with(path, "labels", RankRegions())
    assert str(path) in refused.value.message
    assert "rank_regions.blank_prompt: True, expected False" in refused.value.message


def test_a_store_is_not_used_with_other_weights_than_it_was_made_with(tmp_path):
    """A store that says nothing of weights was made without any, or by an older version."""
    old, new = tmp_path / "old.pth", tmp_path / "new.pth"
    old.write_bytes(b"old")
    new.write_bytes(b"new")
    path = tmp_path / "dino.zarr"
    write_store(path, "dino", {}, {"weights": file_digest(old)}, "made")
    require_weights(open_store(path, "dino"), old)
    with pytest.raises(UserError, match=r"new\.pth: not the weights that .*dino\.zarr was made"):
        require_weights(open_store(path, "dino"), new)
    write_store(path, "dino", {}, {}, "made")
    require_weights(open_store(path, "dino"), new)
