import math

import pytest
import torch
from torch.nn import functional

from ovnerf.config import Dino
from ovnerf.stores import VOID
from ovnerf.training.losses import (
    correlation_loss,
    feature_loss,
    js_matrix,
    label_loss,
)


def log_distributions(crops=2, positions=70, classes=5):
    scores = torch.randn(crops, positions, classes, generator=torch.Generator().manual_seed(0))
    return scores.double().log_softmax(-1)


def test_label_loss_ignores_void_by_hand():
    logits = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]]))
    label = torch.tensor([0, 1, VOID])
    expected = -(math.log(0.5) + math.log(0.75)) / 2
    assert label_loss(logits, label).item() == pytest.approx(expected)
    assert label_loss(logits, torch.full((3,), VOID)).item() == 0


def test_feature_loss_by_hand():
    feature = torch.tensor([[3.0, 0], [0, 2]])
    pyramid = torch.tensor([[[1.0, 0], [0, 1]], [[1, 0], [0, 1]]])
    scales = torch.tensor([[1.0, 0], [0.5, 0.5]])
    # First ray: cos = 1. Second: target (1, 1) / sqrt 2, cos = 1 / sqrt 2.
    expected = (0 + 1 - 1 / math.sqrt(2)) / 2
    assert feature_loss(feature, scales, pyramid).item() == pytest.approx(expected, abs=1e-6)


def kl_pairs(log_p):
    return (log_p.exp()[:, :, None] * (log_p[:, :, None] - log_p[:, None])).sum(-1)


def test_js_equals_broadcasting():
    log_p = log_distributions()
    p = log_p.exp()
    mean = (p[:, :, None] + p[:, None]) / 2
    js = 0.5 * (p[:, :, None] * (log_p[:, :, None] - mean.log())).sum(-1)
    js = js + 0.5 * (p[:, None] * (log_p[:, None] - mean.log())).sum(-1)
    assert torch.allclose(js_matrix(log_p), js, atol=1e-12)
    assert js.max() <= math.log(2)


@pytest.mark.parametrize("divergence", ["kl", "js"])
def test_correlation_loss_equals_the_definition(divergence):
    generator = torch.Generator().manual_seed(2)
    positions = 300  # More than one block of similarities.
    cosine = torch.rand(2, positions, 4, generator=generator).double() * 2 - 1
    cosine.requires_grad_()
    token = torch.randn(2, positions, 3, generator=generator).double()
    settings = Dino(divergence=divergence, shift=0.3, temperature=0.2)
    log_p = (cosine / 0.2).log_softmax(-1)
    pairs = kl_pairs(log_p) if divergence == "kl" else js_matrix(log_p)
    alike = functional.cosine_similarity(token[:, :, None], token[:, None], dim=-1) - 0.3
    expected = [
        (alike.clamp_min(0) * pairs).sum() / (alike > 0).sum(),
        (alike.clamp_max(0) * pairs).sum() / (alike < 0).sum(),
    ]
    got = correlation_loss(cosine, token, settings)
    for one, other in zip(got, expected, strict=True):
        assert one.item() == pytest.approx(other.item(), rel=1e-9)
    assert got[0] >= 0 >= got[1]
    for one, other in zip(got, expected, strict=True):
        slopes = [torch.autograd.grad(loss, cosine, retain_graph=True)[0] for loss in (one, other)]
        assert torch.allclose(*slopes, rtol=1e-9, atol=1e-15)
