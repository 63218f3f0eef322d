import pytest
import torch
from torch.nn import functional

from ovnerf.compute.onednn import onednn
from ovnerf.field.heads import STEP, TILE, ColourHead


@pytest.mark.parametrize("samples", [0, 1, STEP - 1, STEP, TILE, TILE + 1, 2 * TILE + STEP])
def test_colours_by_tiles_equal_the_layers(samples):
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


def test_other_precisions_stay_as_they_are():
    x = torch.rand(3, 2)
    assert onednn(x).is_mkldnn == torch.backends.mkldnn.is_available()
    assert torch.equal(onednn(x).to_dense(), x)
    assert onednn(x.double()).dtype == torch.float64 and not onednn(x.double()).is_mkldnn
