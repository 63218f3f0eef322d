import math

import pytest
import torch
from torch.nn import functional

from ovnerf.config.semantics import Dino
from ovnerf.labels.void import VOID
from ovnerf.training import losses
from ovnerf.training.losses import (
    class_weights,
    correlation_loss,
    feature_loss,
    js_matrix,
    label_loss,
    tf32,
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


def test_class_weights_by_hand():
    label = torch.tensor([[0, 0, 0, 0], [2, VOID, VOID, VOID]])  # n = 4, 0, 1
    assert class_weights(label, 3, 0.0).tolist() == [1, 0, 1]
    assert class_weights(label, 3, 1.0).tolist() == [0.625, 0, 2.5]  # 4 w_0 = w_2 = 5 / 2
    # n^-1/2 is 1/2 and 1; the labelled pixels' sum is 3, and has to be 5.
    assert class_weights(label, 3, 0.5).tolist() == pytest.approx([5 / 6, 0, 5 / 3])
    assert class_weights(torch.full((2,), VOID), 2, 1.0).tolist() == [0, 0]


def test_label_loss_with_weights_by_hand():
    logits = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]]))
    label = torch.tensor([0, 1, VOID])
    expected = -(0.5 * math.log(0.5) + 2 * math.log(0.75)) / 2
    found = label_loss(logits, label, torch.tensor([0.5, 2.0])).item()
    assert found == pytest.approx(expected)


def test_feature_loss_by_hand():
    matrix = torch.eye(2)
    ray = torch.tensor([[3.0, 0], [0, 2]])
    pyramid = torch.tensor([[[1.0, 0], [0, 1]], [[1, 0], [0, 1]]])
    scales = torch.tensor([[1.0, 0], [0.5, 0.5]])
    # First ray: cos = 1. Second: target (1, 1) / sqrt 2, cos = 1 / sqrt 2.
    expected = (0 + 1 - 1 / math.sqrt(2)) / 2
    assert feature_loss(matrix, ray, scales, pyramid).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("scales", [1, 3])
def test_feature_loss_equals_that_of_made_features(scales):
    draw = torch.Generator().manual_seed(0)
    matrix = torch.randn(64, 28, generator=draw, requires_grad=True)
    ray = torch.randn(50, 28, generator=draw)
    ray[7] = 0  # A ray that met nothing.
    ray.requires_grad_()
    share = torch.rand(50, scales, generator=draw).softmax(-1).requires_grad_()
    pyramid = functional.normalize(torch.randn(50, scales, 64, generator=draw), dim=-1)

    def slopes(loss):
        return [loss, *torch.autograd.grad(loss, [matrix, ray, share])]

    target = torch.einsum("rk,rkd->rd", share, pyramid)
    cosine = functional.cosine_similarity(ray @ matrix.T, target, dim=-1)
    found = slopes(feature_loss(matrix, ray, share, pyramid))
    for one, other in zip(found, slopes((1 - cosine).mean()), strict=True):
        # Row by row: the slope of the ray that met nothing is a hundred million times the others'.
        gap = torch.linalg.vector_norm(one - other, dim=-1) if one.ndim else abs(one - other)
        size = torch.linalg.vector_norm(other, dim=-1) if one.ndim else abs(other)
        assert bool((gap <= 5e-6 * size + 2e-9).all())


def test_features_that_cancel_give_bounded_slopes():
    """F of a ray that is a hundred-thousandth of its terms: in f32 its square could be 0."""
    draw = torch.Generator().manual_seed(1)
    matrix = torch.randn(64, 28, generator=draw)
    matrix[:, 27] = -matrix[:, :27].sum(1) + 1e-3 * torch.randn(64, generator=draw)
    matrix.requires_grad_()
    ray, share = torch.ones(1, 28), torch.ones(1, 1)
    pyramid = functional.normalize(torch.randn(1, 1, 64, generator=draw), dim=-1)
    feature = (ray.double() @ matrix.double().T).detach()
    cosine = functional.cosine_similarity(feature, pyramid[:, 0].double(), dim=-1)
    loss = feature_loss(matrix, ray, share, pyramid)
    assert loss.item() == pytest.approx(1 - cosine.item(), abs=5e-3)
    assert torch.autograd.grad(loss, matrix)[0].norm() < 1e4


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


@pytest.mark.parametrize("native", ["0", "1"])
def test_signed_parts_by_hand(monkeypatch, native):
    monkeypatch.setenv("OVNERF_NATIVE", native)
    count = torch.tensor([1.0, 0])
    alike = torch.tensor([[0.75, 0.25], [0.5, 0.0]])
    positive, negative = losses.signed_parts(alike, 0.25, 2, count)
    assert positive.tolist() == [[0.5, 0], [0.25, 0]]
    assert negative.tolist() == [[0, 0], [0, -0.25]]
    assert count.tolist() == [1 + 2 * 2, 2 * 1]  # Exactly at the shift is neither.


def test_correlation_loss_of_several_crops_does_not_depend_on_threads(threads):
    generator = torch.Generator().manual_seed(2)
    cosine = torch.rand(3, 300, 6, generator=generator).requires_grad_()
    token = torch.randn(3, 300, 9, generator=generator)

    def results():
        positive, negative = correlation_loss(cosine, token, Dino())
        return [positive, negative, *torch.autograd.grad(positive - 2 * negative, cosine)]

    threads(1)
    one = results()
    threads(3)
    assert all(map(torch.equal, one, results()))


def test_correlation_loss_by_loops_equals_tensors(monkeypatch):
    generator = torch.Generator().manual_seed(5)
    cosine = torch.rand(2, 600, 6, generator=generator, requires_grad=True)
    token = torch.randn(2, 600, 8, generator=generator)

    def results():
        found = correlation_loss(cosine, token, Dino())
        return [*found, *(torch.autograd.grad(one, cosine, retain_graph=True)[0] for one in found)]

    fast = results()
    monkeypatch.setenv("OVNERF_NATIVE", "0")
    for one, other in zip(fast, results(), strict=True):
        assert (one - other).norm() <= 1e-6 * other.norm()


def ten_bits(x):
    """Nearest number with ten bits behind the leading one, as TF32 units read fp32."""
    bits = x.contiguous().view(torch.int32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


@pytest.mark.parametrize(("centre", "spread"), [(0.0, 0.6), (0.2, 0.03), (0.2, 0.001)])
def test_tensor_cores_are_exact_enough(monkeypatch, centre, spread):
    """Factors rounded to ten bits, products summed in fp32: what a GPU computes there."""
    assert ten_bits(torch.tensor([1 + 2**-10, 1 + 2**-12])).tolist() == [1 + 2**-10, 1]
    generator = torch.Generator().manual_seed(4)
    cosine = (centre + spread * torch.randn(2, 300, 20, generator=generator)).requires_grad_()
    smooth = torch.randn(2, 96, 10, generator=generator)
    token = functional.interpolate(smooth, size=300, mode="linear").transpose(1, 2)

    def results():
        found = correlation_loss(cosine, token, Dino())
        slopes = [torch.autograd.grad(loss, cosine, retain_graph=True)[0] for loss in found]
        return torch.stack(found).detach(), slopes

    linear = functional.linear
    exact, exact_slopes = results()
    monkeypatch.setattr(
        losses.functional, "linear", lambda x, w: linear(ten_bits(x.to_dense()), ten_bits(w))
    )
    rounded, rounded_slopes = results()
    assert exact.abs().min() > 0 and not torch.equal(exact, rounded)
    assert (rounded / exact - 1).abs().max() < 1e-3
    for one, other in zip(rounded_slopes, exact_slopes, strict=True):
        assert 0 < (one - other).norm() / other.norm() < 1e-3


def test_tensor_cores_are_asked_for_there_only(monkeypatch):
    products = torch.backends.cuda.matmul
    before, seen = products.fp32_precision, []

    def watched(*arguments):
        seen.append(products.fp32_precision)
        return inner(*arguments)

    inner = losses.similarity_products
    monkeypatch.setattr(losses, "similarity_products", watched)
    correlation_loss(torch.rand(1, 4, 3), torch.rand(1, 4, 5), Dino())
    assert seen == ["tf32"] and products.fp32_precision == before
    with pytest.raises(ZeroDivisionError), tf32():
        assert 1 / 0
    assert products.fp32_precision == before
    assert torch.get_float32_matmul_precision() == "highest"
