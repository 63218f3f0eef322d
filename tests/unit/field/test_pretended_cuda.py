"""CUDA without a device: torch's fake tensors know where every tensor would be, and hold no values.

An operation that mixes devices fails here as it would there, and so does one that asks for a value:
what is left is `to_host`, which is answered by made-up counts. Backward passes need a real device
(`make gpu-check`).
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks import cases
from benchmarks.scene import bench_camera, bench_field, bench_semantics, bench_text
from ovnerf.encoders import pyramid
from ovnerf.encoders.pyramid import PyramidFeatures, window_boxes, window_grids, window_scales
from ovnerf.field import marched, rendering
from ovnerf.field.rendering import surface_distance
from ovnerf.storage.stores import open_store, write_store
from ovnerf.training import crops, feature_terms, semantics

TINY = cases.Sizes(32, 96, 128, 256, 1, 128, 1)
PER_RAY = 3


@pytest.fixture
def device(monkeypatch):
    """Pretends that there is CUDA until the test is over."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    for module in (crops, feature_terms, semantics):
        monkeypatch.setattr(module, "to_device", lambda tensor, place: tensor.to(place))
    monkeypatch.setattr(marched, "to_host", lambda tensor: counts(tensor, 1))
    monkeypatch.setattr(rendering, "to_host", lambda tensor: np.arange(len(tensor)) * PER_RAY)
    yield torch.device("cuda")
    torch.__future__.set_overwrite_module_params_on_conversion(before)


def counts(tensor, sets):
    """What `march` asks for: offsets of `sets` sets of samples, and that the place is enough."""
    ends = np.arange((len(tensor) - 2) // sets) * PER_RAY
    return np.concatenate([ends] * sets + [[0, 0]])


def pretend():
    return FakeTensorMode(allow_non_fake_inputs=True)


def test_mixed_devices_and_questions_are_seen(device):
    with pretend():
        there = torch.zeros(2, device=device)
        with pytest.raises(RuntimeError, match="same device"):
            there + torch.zeros(2)
        with pytest.raises(Exception, match="_local_scalar_dense"):
            there.sum().item()


@pytest.mark.parametrize("features_on_host", [False, True])
@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_losses(monkeypatch, device, name, features_on_host):
    run = cases.stage_run(name, TINY)
    drawn, crops = run.pixels.at(run.iteration), run.crops.at(run.iteration)
    monkeypatch.setattr(type(run.pixels), "at", lambda *_: drawn)
    monkeypatch.setattr(type(run.crops), "at", lambda *_: crops)
    data, features = run.data, torch.device("cpu") if features_on_host else device
    with pretend():
        run.field = run.field.to(device)
        run.data = replace(
            data,
            photos=data.photos.to(device),
            labelled=data.labelled.to(device),
            label=data.label.to(device),
            pyramid=cases.FixedPyramid(data.pyramid.features.to(features)),
            tokens=replace(data.tokens, token=data.tokens.token.to(features)),
            text=data.text.to(device),
        )
        run.directions = run.directions.to(device)
        run.label, run.novel_label = run.data.label, run.novel_label.to(device)
        run.pseudo_labels.novel = [("novel", run.data.photos.camera(slot), None) for slot in (0, 1)]
        losses = run.losses()
    assert len(losses) == {"a": 4, "b": 5, "c": 6}[name]
    assert {loss.device.type for loss in losses.values()} == {"cuda"}


@pytest.mark.parametrize("drawn_on", ["cpu", "cuda"])
@pytest.mark.parametrize("held_on", ["cpu", "cuda"])
def test_window_means(monkeypatch, tmp_path, device, drawn_on, held_on):
    """Features on the card, or left in the host's memory; pixels drawn on either."""
    features = tiny_features(tmp_path)
    pixels = [torch.tensor([0, 1, 1]), torch.tensor([5, 6, 60]), torch.tensor([0, 40, 47])]
    monkeypatch.setattr(pyramid, "to_device", lambda tensor, place: tensor.to(place))
    with pretend():
        features.device = torch.device(held_on)
        features.embedding, features.box = (
            part.to(held_on) for part in (features.embedding, features.box)
        )
        found = features.lookup(*(part.to(drawn_on) for part in pixels))
    assert found.device.type == held_on and found.shape == (3, 2, 4)


def tiny_features(folder):
    """Two frames of 64x48, two scales, four channels."""
    grids = window_grids(48, 64, (2, 3), 0.5, 0.25)
    scale = window_scales(grids)
    path = folder / "features.zarr"
    write_store(
        path,
        "features",
        {
            "embedding": np.ones((2, len(scale), 4), np.float16),
            "box": np.stack([window_boxes(48, 64, grids, 0, frame) for frame in range(2)]),
            "scale": scale,
        },
        {"frames": [0, 1], "shape": [48, 64], "scales": [2, 3], "stride": 0.5, "jitter": 0.25},
        "tiny",
    )
    return PyramidFeatures(open_store(path, "features"))


@pytest.mark.parametrize("colour_per", ["sample", "voxel"])
def test_views(device, colour_per):
    field, camera = bench_semantics(bench_field(32)), bench_camera(1, 96, 128)
    field.radiance.shape = replace(field.radiance.shape, colour_per=colour_per)
    with pretend():
        field = field.to(device)
        there = replace(
            camera, pose=camera.pose.to(device), intrinsics=camera.intrinsics.to(device)
        )
        view = rendering.view_weights(field.radiance, there)
        label = rendering.render_labels(field, view, bench_text().to(device), 9)
        rgb = rendering.render_rgb(field.radiance, view)
        assert (
            surface_distance(there, view).device.type
            == label.device.type
            == rgb.device.type
            == "cuda"
        )
    assert label.shape == (96 * 128,) and rgb.shape == (96 * 128, 3)


def test_reconstruction(monkeypatch, device):
    monkeypatch.setattr(marched, "to_host", lambda tensor: counts(tensor, 2))
    field, (origin, direction) = bench_field(32), bench_camera(1, 96, 128).rays()
    with pretend():
        rays = origin[:200].to(device), direction[:200].to(device)
        rgb, _ = field.to(device).render_colour(*rays, None, 1.0)
    assert rgb.device.type == "cuda" and rgb.shape == (200, 3)
