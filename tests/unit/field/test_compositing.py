import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from ovnerf.field.compositing import composite, rendering_weights, transmittance
from ovnerf.field.heads import ClipHead, feature_norm, text_scores


def packed(counts, seed=0):
    generator = torch.Generator().manual_seed(seed)
    offset = torch.tensor([0, *torch.tensor(counts).cumsum(0).tolist()])
    ray = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    depth = torch.rand(int(offset[-1]), generator=generator) * 2
    return depth, offset, ray


def weights_by_loop(depth, offset):
    """Paper Eq. 1-2, one sample after the other."""
    weights = []
    for begin, end in zip(offset[:-1].tolist(), offset[1:].tolist(), strict=True):
        clear = torch.ones(())
        for k in range(begin, end):
            alpha = 1 - torch.exp(-depth[k])
            weights.append(clear * alpha)
            clear = clear * (1 - alpha)
    return torch.stack(weights)


def test_weights_by_hand():
    half = math.log(2)
    depth = torch.tensor([half, half, half, half])
    offset, ray = torch.tensor([0, 3, 3, 4]), torch.tensor([0, 0, 0, 2])
    weight = rendering_weights(depth, offset, ray)
    assert weight.tolist() == pytest.approx([0.5, 0.25, 0.125, 0.5])
    assert transmittance(depth, offset, ray).tolist() == pytest.approx([1, 0.5, 0.25, 1])
    value = torch.tensor([[1.0], [2], [4], [8]])
    assert composite(weight, value, offset, ray).flatten().tolist() == pytest.approx(
        [0.5 + 0.5 + 0.5, 0, 4]
    )


@given(counts=st.lists(st.integers(0, 6), min_size=1, max_size=8).filter(sum))
def test_weights_and_gradients_equal_the_loop(counts):
    depth, offset, ray = packed(counts)
    depth.requires_grad_()
    fast, slow = rendering_weights(depth, offset, ray), weights_by_loop(depth, offset)
    assert torch.allclose(fast, slow, atol=1e-6)
    factor = torch.randn(len(depth), generator=torch.Generator().manual_seed(1))
    (one,) = torch.autograd.grad((fast * factor).sum(), depth, retain_graph=True)
    (other,) = torch.autograd.grad((slow * factor).sum(), depth)
    assert torch.allclose(one, other, atol=1e-5)


def test_composite_gradients():
    _, offset, ray = packed([3, 0, 2])
    generator = torch.Generator().manual_seed(2)
    weight = torch.rand(5, generator=generator, dtype=torch.float64, requires_grad=True)
    value = torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w, v: composite(w, v, offset, ray), (weight, value))


def test_head_commutes_with_compositing():
    torch.manual_seed(0)
    head = ClipHead(9, 16, 24)
    depth, offset, ray = packed([4, 1, 7], seed=3)
    weight = rendering_weights(depth, offset, ray)
    x = torch.randn(12, 9)
    dense = composite(weight, head(x), offset, ray)
    u = composite(weight, torch.cat([x, torch.ones(12, 1)], -1), offset, ray)
    assert torch.allclose(u @ head.matrix().T, dense, atol=1e-6)
    text = torch.nn.functional.normalize(torch.randn(5, 24), dim=-1)
    assert torch.allclose(text_scores(head.matrix(), text, u), dense @ text.T, atol=1e-6)
    assert torch.allclose(
        feature_norm(head.matrix(), u)[:, 0], dense.norm(dim=-1), rtol=1e-4, atol=1e-6
    )


def test_shapes_and_dtypes_are_checked_while_tests_run():
    weight, offset, ray = torch.ones(3), torch.tensor([0, 2, 3]), torch.tensor([0, 0, 1])
    assert composite(weight, torch.ones(3, 2), offset, ray).tolist() == [[2, 2], [1, 1]]
    with pytest.raises(TypeCheckError, match="value"):
        composite(weight, torch.ones(4, 2), offset, ray)
    with pytest.raises(TypeCheckError, match="ray"):
        composite(weight, torch.ones(3, 2), offset, ray.float())
