"""Relevancy against LERF's own form, softmax by hand."""

from __future__ import annotations

import numpy as np
import torch

from ovnerf.asking.relevancy import cosines, relevancy, softmax


def test_cosines_are_those_of_the_whole_vectors() -> None:
    random = np.random.default_rng(0)
    matrix, feature, text = (random.standard_normal(size) for size in ((16, 5), (7, 5), (3, 16)))
    slow = np.array([[t @ (matrix @ u) for u in feature] for t in text])
    np.testing.assert_allclose(cosines(feature, text @ matrix), slow)


def test_relevancy_is_the_minimum_of_lerfs_two_way_softmaxes() -> None:
    random = torch.Generator().manual_seed(0)
    positive, negative = (
        torch.rand(50, generator=random) * 0.3,
        torch.rand(4, 50, generator=random) * 0.3,
    )
    pairs = torch.stack([torch.stack([positive, one]) for one in negative])
    slow = torch.softmax(10 * pairs, dim=1)[:, 0].amin(0)
    found = relevancy(positive.numpy().copy(), negative.amax(0).numpy())
    np.testing.assert_allclose(found, slow.numpy(), atol=1e-6)
    assert relevancy(np.float32([0.2]), np.float32([0.2])).tolist() == [0.5]


def test_softmax_by_hand() -> None:
    phrases = np.float32([[0.1, 0.0], [0.0, 0.1]])
    negatives = np.float32([[0.0, 0.2]])
    shares, winner = softmax(phrases, negatives)
    assert winner.tolist() == [0, -1]
    e = np.exp
    np.testing.assert_allclose(shares[0, 0], e(1) / (e(1) + 2), rtol=1e-6)
    np.testing.assert_allclose(shares[:, 1], [1 / (1 + e(1) + e(2)), e(1) / (1 + e(1) + e(2))])
