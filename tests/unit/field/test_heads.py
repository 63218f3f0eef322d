import math

import pytest
import torch
from torch.nn import functional

from ovnerf.compute.onednn import mkl_is_fast, onednn
from ovnerf.field.compiled import njit
from ovnerf.field.heads import STEP, TILE, ColourHead, encode


@pytest.mark.parametrize("fast_mkl", [False, True])
@pytest.mark.parametrize("samples", [0, 1, STEP - 1, STEP, TILE, TILE + 1, 2 * TILE + STEP])
def test_colours_by_tiles_equal_the_layers(monkeypatch, samples, fast_mkl):
    for module in ("compute.onednn", "field.heads"):
        monkeypatch.setattr(f"ovnerf.{module}.mkl_is_fast", lambda: fast_mkl)
    torch.manual_seed(0)
    head = ColourHead(27, 128)
    feature = torch.randn(samples, 27, requires_grad=True)
    direction = functional.normalize(torch.randn(samples, 3), dim=-1)
    slope = torch.randn(samples, 3)
    inputs = [feature, *head.parameters()]
    fast = head(feature, direction)
    slow = torch.sigmoid(head.layers(torch.cat([feature, direction], -1)))
    assert fast.shape == (samples, 3)
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-6)
    fast_slopes, slow_slopes = (torch.autograd.grad(out, inputs, slope) for out in (fast, slow))
    for one, other in zip(fast_slopes, slow_slopes, strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm()


@pytest.mark.parametrize(("native", "fast_mkl"), [("0", True), ("1", True), ("1", False)])
def test_a_broken_field_has_no_colour(monkeypatch, native, fast_mkl):
    """What is no number must reach the loss, where the training looks for it."""
    monkeypatch.setenv("OVNERF_NATIVE", native)
    for module in ("compute.onednn", "field.heads"):
        monkeypatch.setattr(f"ovnerf.{module}.mkl_is_fast", lambda: fast_mkl)
    head = ColourHead(27, 16)
    feature = torch.zeros(3, 27)
    feature[1] = math.nan
    assert head(feature, torch.zeros(3, 3)).isnan().any(-1).tolist() == [False, True, False]
    for layer in (0, 2, 4):
        broken = ColourHead(27, 16)
        broken.layers[layer].weight.data[:, 0] = math.nan
        assert broken(torch.ones(2, 27, requires_grad=True), torch.ones(2, 3)).isnan().all()


@pytest.mark.skipif(njit is None, reason="numba is not installed")
def test_rendering_keeps_no_activations(monkeypatch):
    """Where no gradients are asked for, one tile's layers serve all tiles."""
    monkeypatch.setattr("ovnerf.field.heads.mkl_is_fast", lambda: True)
    head, made = ColourHead(27, 16), []
    feature, direction = torch.rand(3 * TILE, 27), torch.rand(3 * TILE, 3)
    trained = head(feature, direction)
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size: made.append(size) or empty(*size))
    with torch.no_grad():
        assert torch.equal(head(feature, direction), trained)
    assert max(rows for rows, width in made if width == 16) == TILE


@pytest.mark.skipif(njit is None, reason="numba is not installed")
@pytest.mark.parametrize("several", [2, 3])
def test_colours_of_several_tiles_do_not_depend_on_threads(monkeypatch, threads, several):
    """Nor do their gradients: each tile's products run on one thread."""
    monkeypatch.setattr("ovnerf.field.heads.mkl_is_fast", lambda: True)
    head, draw = ColourHead(27, 64), torch.Generator().manual_seed(1)
    feature, direction = (torch.rand(2 * TILE + 9, n, generator=draw) for n in (27, 3))
    leaves = [feature.requires_grad_(), *head.parameters()]

    def results():
        colour = head(feature, direction)
        return [colour, *torch.autograd.grad(colour.square().sum(), leaves)]

    threads(1)
    one = results()
    threads(several)
    assert all(map(torch.equal, one, results()))
    assert torch.get_num_threads() == several


@pytest.mark.parametrize(
    ("processor", "avx512", "slow"),
    [
        ("znver4", True, True),
        ("x86-64-v4", True, True),
        ("znver3", False, False),
        ("sapphirerapids", True, False),
        ("haswell", False, False),
    ],
)
def test_onednn_serves_where_mkl_leaves_avx512_alone(monkeypatch, processor, avx512, slow):
    """And other precisions stay as they are."""
    monkeypatch.setattr("ovnerf.compute.onednn.get_host_cpu_name", lambda: processor)
    monkeypatch.setattr("ovnerf.compute.onednn.get_host_cpu_features", lambda: {"avx512f": avx512})
    mkl_is_fast.cache_clear()
    x = torch.rand(3, 2)
    try:
        slow = slow or not torch.backends.mkl.is_available()
        assert onednn(x).is_mkldnn == (slow and torch.backends.mkldnn.is_available())
        assert torch.equal(onednn(x).to_dense(), x)
        assert onednn(x.double()).dtype == torch.float64 and not onednn(x.double()).is_mkldnn
    finally:
        mkl_is_fast.cache_clear()


def test_encoding_by_hand():
    values = torch.tensor([[0.5, -1.0]])
    expected = [math.sin(0.5), math.sin(1.0), math.sin(-1.0), math.sin(-2.0)]
    expected += [math.cos(0.5), math.cos(1.0), math.cos(-1.0), math.cos(-2.0)]
    assert encode(values, 2)[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_encodings_follow_feature_and_direction():
    head = ColourHead(2, 8, view_pe=1, fea_pe=2)
    feature, direction = torch.tensor([[0.5, -1.0]]), torch.tensor([[0.0, 0.6, 0.8]])
    inputs = head.inputs(feature, direction)
    parts = [feature, direction, encode(feature, 2), encode(direction, 1)]
    assert torch.equal(inputs, torch.cat(parts, -1)) and inputs.shape == (1, 2 + 3 + 8 + 6)
    colour = torch.sigmoid(head.layers(inputs))
    torch.testing.assert_close(head(feature, direction), colour, rtol=0, atol=1e-6)
