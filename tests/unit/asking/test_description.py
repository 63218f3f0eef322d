"""What a field's file says of its run."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from asking_fixtures import CLASSES, DESCRIPTION, HEIGHT, RUN, TEXT, WIDTH, write_field
from features_fixtures import NAMES, write_tiny_scene

from ovnerf.asking.asker import Vectors
from ovnerf.asking.description import open_field, read_description, require_same_frames
from ovnerf.asking.text import class_text, encoder_settings, made_again, text_encoder
from ovnerf.config.features import CacheFeatures
from ovnerf.encoders.simulated import simulated_text
from ovnerf.runtime.errors import UserError
from ovnerf.stages import cache_features
from ovnerf.storage.provenance import REPOSITORY_ROOT, file_digest
from ovnerf.storage.stores import open_store, read, write_store
from ovnerf.storage.tensors import load_tensors, save_tensors
from ovnerf.training.description import describe_run

CPU = torch.device("cpu")
TOY = {
    "kind": "openclip",
    "model": "ovnerf/toy/models/toy-clip.json",
    "weights": "ovnerf/toy/weights/clip.safetensors",
}


@pytest.fixture(scope="module")
def toy_features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A features store of the toy CLIP, beside its frames."""
    folder = tmp_path_factory.mktemp("toy")
    frames, _ = write_tiny_scene(folder)
    settings = CacheFeatures(encoder=TOY, scales=(3,), stride=1.0)
    cache_features.run(frames=frames, out=folder / "features.zarr", settings=settings)
    return folder / "features.zarr"


def test_a_run_is_described_and_read_back(toy_features: Path) -> None:
    frames = open_store(toy_features.parent / "frames.zarr", "frames")
    features = open_store(toy_features, "features")
    run = describe_run(frames, features, "ensemble", False)
    found = read_description({"run": json.loads(json.dumps(run)), "digest": "d"}, Path("field"))
    assert (found.classes, found.names) == (tuple(CLASSES), tuple(NAMES))
    assert found.encoder == TOY
    files = {name: file_digest(REPOSITORY_ROOT / TOY[name]) for name in ("model", "weights")}
    assert found.encoder_files == files
    assert (found.height, found.width, found.units, found.warped) == (48, 64, "file", False)
    assert found.held_out_frames == [0, 10] and found.training_frames[:2] == [1, 2]
    np.testing.assert_array_equal(found.pose, read(frames, "pose"))
    np.testing.assert_array_equal(found.intrinsics, read(frames, "intrinsics"))


def test_text_vectors_made_again_are_those_of_the_store(toy_features: Path) -> None:
    frames = open_store(toy_features.parent / "frames.zarr", "frames")
    features = open_store(toy_features, "features")
    run = describe_run(frames, features, "ensemble", False)
    description = read_description({"run": run, "digest": "d"}, Path("field"))
    stored, again = class_text(description, features), class_text(description, None)
    for name, rows in stored.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], rows)


def test_weights_of_another_run_are_refused(toy_features: Path) -> None:
    changed = {**RUN, "encoder": TOY, "encoder_files": {"weights": "0" * 64}}
    description = read_description({"run": changed, "digest": "d"}, Path("field"))
    with pytest.raises(UserError, match=r"not the weights of field: found sha256 .* expected 0000"):
        text_encoder(description)
    missing = {**changed, "encoder": {**TOY, "weights": "nowhere.safetensors"}}
    with pytest.raises(UserError, match=r"no file nowhere\.safetensors"):
        text_encoder(read_description({"run": missing, "digest": "d"}, Path("field")))


def test_simulated_text_is_made_again_and_knows_no_other_words() -> None:
    banks = simulated_text(3, encoder_settings(DESCRIPTION))
    np.testing.assert_array_equal(made_again(DESCRIPTION).bare, banks.bare)
    np.testing.assert_array_equal(TEXT, banks.bare)
    with pytest.raises(UserError, match=r"no text half.*: wall, table, lamp"):
        text_encoder(DESCRIPTION)


def test_other_features_are_refused(toy_features: Path) -> None:
    description = read_description({"run": {**RUN, "classes": ["sky"]}, "digest": "d"}, Path("f"))
    with pytest.raises(UserError, match=r"its classes differ from those in f"):
        class_text(description, open_store(toy_features, "features"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ""),
        ({"pose": DESCRIPTION.pose + 1e-9}, ""),  # the last digits of another machine
        ({"names": list("abce")}, "its frames differ from"),
        ({"height": HEIGHT + 1}, "its sizes differ from"),
        ({"pose": DESCRIPTION.pose + 1e-3}, "its camera poses differ from"),
        ({"pose": DESCRIPTION.pose[:3]}, "its camera poses differ from"),
        ({"intrinsics": DESCRIPTION.intrinsics * 1.001}, "its intrinsics differ from"),
    ],
)
def test_frames_of_the_same_names_are_told_apart_by_their_cameras(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    store = {"names": list("abcd"), "height": HEIGHT, **changes}
    arrays = {
        "rgb": np.zeros((4, store["height"], WIDTH, 3), dtype=np.uint8),
        "pose": store.get("pose", DESCRIPTION.pose),
        "intrinsics": store.get("intrinsics", DESCRIPTION.intrinsics),
    }
    write_store(tmp_path / "frames.zarr", "frames", arrays, {"names": store["names"]}, "f")
    opened = open_store(tmp_path / "frames.zarr", "frames")
    with pytest.raises(UserError, match=told) if told else nullcontext():
        require_same_frames(opened, DESCRIPTION)


def test_up_is_the_axis_near_the_cameras_or_their_mean() -> None:
    np.testing.assert_array_equal(DESCRIPTION.up, [0, 0, 1])
    upright = np.eye(4)
    upright[:3, :3] = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]  # camera y is world -z
    tilted = np.eye(4)
    turn = np.radians(40)
    rotation = [[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]]
    tilted[:3, :3] = np.array(rotation) @ upright[:3, :3]
    run = {**RUN, "pose": [tilted.tolist()] * 4}
    up = read_description({"run": run, "digest": "d"}, Path("f")).up
    np.testing.assert_allclose(up, [0, -np.sin(turn), np.cos(turn)], atol=1e-12)


def test_fields_of_other_versions_are_refused(tmp_path: Path) -> None:
    write_field(tmp_path / "run", version=2)
    with pytest.raises(UserError, match=r"a description of version 2, expected 1"):
        open_field(tmp_path / "run", CPU)
    tensors, header = load_tensors(tmp_path / "run/field.safetensors")
    del header["run"]
    save_tensors(tmp_path / "run/field.safetensors", tensors, header)
    with pytest.raises(
        UserError, match=r"says nothing of its run, because an older version"
    ) as told:
        open_field(tmp_path / "run", CPU)
    assert "rerun train_semantics" in told.value.hint
    with pytest.raises(UserError, match=r"found no field.safetensors"):
        open_field(tmp_path / "nothing", CPU)


def test_a_camera_is_where_its_pose_says() -> None:
    """World (2.5, 2.2, 3.3) is scene 2 (world - (1, 2, 3)) = (3, 0.4, 0.6)."""
    camera = DESCRIPTION.camera(DESCRIPTION.pose[0])
    assert camera.pose[:3, 3].tolist() == pytest.approx([3, 0.4, 0.6], abs=1e-6)
    assert (camera.height, camera.width, camera.ndc) == (9, 12, None)
    world = DESCRIPTION.similarity.world(camera.pose[None, :3, 3].numpy())
    np.testing.assert_allclose(world, [[2.5, 2.2, 3.3]], atol=1e-6)


def test_a_phrase_is_refused_where_the_encoder_would_cut_it() -> None:
    description = read_description({"run": {**RUN, "encoder": TOY}, "digest": "d"}, Path("field"))
    vectors = Vectors(description, {}, "bare")
    assert vectors["{0} %s"].shape == (64,) and vectors["table"].dtype == np.float32
    with pytest.raises(UserError, match=r"^phrase '(table ){10}': found a prompt of \d+ tokens"):
        vectors["table " * 99]
