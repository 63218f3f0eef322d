"""The head's start by least squares: the solution, its length, and the layers that hold it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ovnerf.field.heads import ClipHead
from ovnerf.labels.void import VOID
from ovnerf.training.fitted_start import best_factor, least_squares, set_affine


def test_the_fit_is_that_of_numpy() -> None:
    random = np.random.default_rng(0)
    ray = random.standard_normal((200, 6)).astype(np.float32)
    target = random.standard_normal((200, 9)).astype(np.float32)
    expected = np.linalg.lstsq(ray.astype(np.float64), target.astype(np.float64), rcond=None)[0].T
    found = least_squares(torch.from_numpy(ray), torch.from_numpy(target))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_vectors_that_an_affine_map_made_give_the_map() -> None:
    matrix = torch.tensor([[2.0, 0.0, 1.0], [0.0, -1.0, 3.0]])
    ray = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 1.0], [2.0, -1.0, 0.5]])
    torch.testing.assert_close(least_squares(ray, ray @ matrix.T), matrix, atol=1e-3, rtol=0)


def test_rays_that_leave_a_direction_open_give_finite_numbers() -> None:
    ray = torch.ones(5, 3)
    found = least_squares(ray, torch.ones(5, 2))
    assert found.isfinite().all()
    torch.testing.assert_close(ray @ found.T, torch.ones(5, 2), atol=1e-4, rtol=0)


def test_the_factor_is_that_of_least_cross_entropy() -> None:
    text, matrix = torch.eye(2), torch.eye(2)
    right = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    # Right everywhere: the longer the better, until the loss is 0 in f32. Wrong in one of four: it
    # is 3 log(1 + e^-m) + log(1 + e^m) at a margin of m, least at e^m = 3, m = 1.10; of the factors
    # 1 and 1.26 the former is nearer.
    assert best_factor(matrix, right, torch.tensor([0, 1]), text) > 15
    mixed = right[[0, 0, 0, 0]]
    assert best_factor(matrix, mixed, torch.tensor([0, 0, 0, 1]), text) == 1.0
    assert math.log(3) == pytest.approx(1.0986, abs=1e-4)
    # Void pixels have no say.
    label = torch.tensor([0, 0, VOID, VOID])
    assert best_factor(matrix, mixed, label, text) > 15


@pytest.mark.parametrize("width", [12, 5])
def test_three_layers_hold_the_map(width: int) -> None:
    torch.manual_seed(0)
    head, matrix = ClipHead(5, width, 7), torch.randn(7, 6)
    set_affine(head, matrix)
    torch.testing.assert_close(head.matrix(), matrix, atol=1e-5, rtol=1e-5)
    feature = torch.randn(4, 5)
    expected = feature @ matrix[:, :-1].T + matrix[:, -1]
    torch.testing.assert_close(head(feature), expected, atol=1e-5, rtol=1e-5)


def test_a_narrow_head_holds_the_nearest_map_of_its_rank() -> None:
    torch.manual_seed(0)
    head, matrix = ClipHead(5, 3, 7), torch.randn(7, 6)
    set_affine(head, matrix)
    left, values, right = np.linalg.svd(matrix[:, :-1].numpy())
    nearest = left[:, :3] * values[:3] @ right[:3]
    np.testing.assert_allclose(head.matrix()[:, :-1].detach(), nearest, atol=1e-5)


def test_every_layer_learns_beyond_the_rank_of_the_map() -> None:
    torch.manual_seed(0)
    head = ClipHead(3, 8, 4)
    set_affine(head, torch.randn(4, 4))
    head(torch.randn(6, 3)).square().sum().backward()
    gradient = head.third.weight.grad
    assert gradient is not None and gradient[:, 3:].abs().max() > 0
