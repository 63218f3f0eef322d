"""Losses of the compared systems, from values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from ovnerf.training.crops import CachedTokens
from ovnerf.training.system_losses import (
    between_scales,
    dominant_share,
    huber_loss,
    jensen_shannon,
    min_max,
    rda_loss,
    squared_loss,
)


def test_jensen_shannon_by_hand() -> None:
    log_p = torch.tensor([[0.5, 0.5]]).log()
    log_q = torch.tensor([[0.9, 0.1]]).log()
    assert jensen_shannon(log_p, log_q).tolist() == pytest.approx([0.101749], abs=1e-6)
    assert jensen_shannon(log_q, log_p).tolist() == pytest.approx([0.101749], abs=1e-6)


def test_rda_by_hand() -> None:
    cosine = torch.tensor([[[0.2, 0.4], [0.4, 0.1]]])
    low = torch.tensor([[[0.1, 0.2], [0.0, 0.1]]])
    high = torch.tensor([[[0.3, 0.4], [0.4, 0.3]]])
    relevancy = min_max(cosine, low, high)
    torch.testing.assert_close(relevancy, torch.tensor([[[0.5, 1], [1, 0]]]))
    scales = torch.tensor([[0.75, 0.25]])
    selected = torch.einsum("rk,rkc->rc", scales, relevancy)
    torch.testing.assert_close(selected, torch.tensor([[0.625, 0.75]]))
    expected = torch.tensor([[0.468791, 0.531209]])
    torch.testing.assert_close(selected.softmax(-1), expected, atol=1e-6, rtol=0)
    logits = torch.tensor([[0, math.log(3)]], requires_grad=True)
    loss = rda_loss(logits, scales, relevancy)
    assert loss.item() == pytest.approx(0.0263030, abs=1e-7)
    loss.backward()
    assert logits.grad[0].tolist() == pytest.approx([-0.0488084, 0.0488084], abs=1e-6)


def test_rda_reaches_the_scales() -> None:
    scales = torch.tensor([[0.75, 0.25]], requires_grad=True)
    relevancy = torch.tensor([[[0.5, 1], [1, 0]]])
    rda_loss(torch.tensor([[0, 2.0]]), scales, relevancy).backward()
    assert scales.grad.abs().min() > 0.01


def test_rda_lies_between_nothing_and_ln_2() -> None:
    relevancy = torch.tensor([[[0.2, 0.7, 0.1]]])
    assert rda_loss(relevancy[:, 0] + 5, torch.ones(1, 1), relevancy).item() == pytest.approx(0)
    far = torch.tensor([[-200.0, 0.0]]), torch.tensor([[0.0, -200.0]])
    assert jensen_shannon(*far).item() == pytest.approx(math.log(2), rel=1e-6)


def test_equal_extremes_give_no_relevancy() -> None:
    half = torch.full((1, 1, 2), 0.5)
    assert min_max(half, half, half).tolist() == [[[0, 0]]]


def test_the_dominant_share_by_hand() -> None:
    logits = torch.tensor([[1.0, 0, 0], [0, 1, 0], [3, 2, 1], [0.5, 0.4, 0]])
    assert dominant_share(logits).item() == 0.75


def test_the_squared_loss_by_hand_and_by_the_gram_matrix() -> None:
    feature, target = torch.tensor([[1.0, 2]]), torch.tensor([[0.6, 0.8]])
    assert squared_loss(feature, target).item() == pytest.approx(1.6)
    assert 0.01 * squared_loss(feature, target).item() == pytest.approx(0.016)
    draw = torch.Generator().manual_seed(0)
    u, matrix = torch.randn(1, 4, generator=draw), torch.randn(2, 4, generator=draw)
    by_gram = (u @ (matrix.T @ matrix) @ u.T - 2 * (u @ matrix.T @ target.T) + 1).item()
    assert squared_loss(u @ matrix.T, target).item() == pytest.approx(by_gram, rel=1e-5)


def test_the_huber_loss_by_hand() -> None:
    feature, target = torch.tensor([[3.0, 4]]), torch.tensor([[0.6, 0]])
    loss = huber_loss(feature, target).item()
    assert loss == pytest.approx(0.32)
    assert 0.1 * loss == pytest.approx(0.1 * (0.5 * (1 + 0.36) - 0.36))
    far = huber_loss(torch.tensor([[2.0, 0]]), torch.tensor([[-0.6, 0.8]])).item()
    assert far == pytest.approx(1.21875 + 0.32)


def test_between_two_scales_by_hand() -> None:
    pyramid = torch.tensor([[[1.0, 0], [0, 1], [0, -1]]])
    found = between_scales(pyramid, torch.tensor([0]), torch.tensor([0.25]))
    torch.testing.assert_close(found, torch.tensor([[0.75, 0.25]]))
    assert found.norm().item() == pytest.approx(0.7906, abs=1e-4)
    last = between_scales(pyramid, torch.tensor([1]), torch.tensor([0.5]))
    assert last.tolist() == [[0, 0]]


def test_tokens_of_pixels_are_unit_vectors_of_their_squares() -> None:
    token = torch.tensor([[[[3.0, 4], [0, 2]]]])  # one photo, 8 x 16 pixels
    zero = torch.zeros(3, dtype=torch.long)
    found = CachedTokens(token).at(zero, torch.tensor([0, 7, 9]), torch.tensor([7, 8, 17]))
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8], [0, 1], [0, 1]]))
    assert squared_loss(torch.tensor([[1.0, 0]]), found[:1]).item() == pytest.approx(0.8)
