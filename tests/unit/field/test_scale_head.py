"""The semantic head with scales, and labels by relevancy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from field_fixtures import radiance_field, rays
from torch.nn.functional import normalize

from ovnerf.field.heads import ClipHead, ScaleHead, hats
from ovnerf.field.relevancy_rendering import ScaleTables, best_scales, render_relevancy
from ovnerf.field.rendering import ViewWeights, render_labels
from ovnerf.field.semantic_field import SemanticField

KNOTS = (0.0, 0.5, 1.0, 1.5)
VOID = 99


def test_hats_by_hand() -> None:
    found = hats(torch.tensor([0.375, 2, 0.5, -1]), torch.tensor(KNOTS))
    expected = [[0.25, 0.75, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0]]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_equal_last_layers_are_a_head_without_scale() -> None:
    torch.manual_seed(0)
    plain, scaled = ClipHead(9, 16, 7), ScaleHead(9, 16, 7, KNOTS)
    for name in ("first", "second"):
        getattr(scaled, name).load_state_dict(getattr(plain, name).state_dict())
    for third in scaled.third:
        third.load_state_dict(plain.third.state_dict())
    u, sigma = torch.randn(5, 10), torch.tensor([0, 0.3, 0.9, 1.5, 7])
    torch.testing.assert_close(scaled.features(u, sigma), u @ plain.matrix().T)
    torch.testing.assert_close(scaled.matrix(), plain.matrix())
    x = torch.randn(4, 9)
    torch.testing.assert_close(scaled(x), plain(x))


def test_composited_and_decoded_is_decoded_and_composited_at_one_scale() -> None:
    torch.manual_seed(1)
    head = ScaleHead(9, 16, 7, KNOTS)
    x, weight = torch.randn(6, 9), torch.rand(6)
    u = torch.cat([(weight[:, None] * x).sum(0), weight.sum()[None]])[None]
    decoded = torch.cat([x, torch.ones(6, 1)], -1) @ head.matrix_at(torch.tensor([0.7]))[0].T
    expected = (weight[:, None] * decoded).sum(0, keepdim=True)
    torch.testing.assert_close(head.features(u, torch.tensor([0.7])), expected)


@pytest.fixture(scope="module")
def scene() -> tuple[SemanticField, ViewWeights]:
    """A random field with a scale head and its own volume, and 300 rays."""
    radiance = radiance_field()
    draw = torch.Generator().manual_seed(3)
    torch.manual_seed(7)
    field = SemanticField(radiance, (4, 2, 2), 3, 16, 32, draw, (4, 2, 2), KNOTS)
    with torch.no_grad():  # so that rays differ: constants of the layers would outweigh them
        for layer in (field.clip.first, field.clip.second, *field.clip.third):
            layer.bias.zero_()
    origin, direction, _ = rays(300)
    samples, weight = radiance.samples_above_threshold(origin, direction)
    view = ViewWeights(origin, direction, samples.offset, samples.distance, weight)
    return field, view


def brute_force(
    field: SemanticField, u: torch.Tensor, text: torch.Tensor, phrases: torch.Tensor, sigmas: list
) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels by the definition, over an array of rays x scales x classes."""
    features = torch.stack(
        [normalize(field.clip.features(u, torch.full((len(u),), s)), dim=-1) for s in sigmas], 1
    )
    cosine, other = features @ text.T, features @ phrases.T
    pairs = torch.sigmoid(10 * (cosine[..., None] - other[:, :, None]))
    relevancy = pairs.amin(-1)
    seen = u[:, -1] > 0
    best = relevancy[seen].amax(0).argmax(0)
    chosen = relevancy[:, best, torch.arange(len(text))].argmax(-1)
    by_cosine = cosine.mean(1).argmax(-1)
    return chosen.where(seen, VOID), by_cosine.where(seen, VOID)


@torch.no_grad()
def test_labels_by_relevancy_equal_brute_force(scene: tuple[SemanticField, ViewWeights]) -> None:
    field, view = scene
    draw = torch.Generator().manual_seed(5)
    text = normalize(torch.randn(6, 16, generator=draw), dim=-1)
    phrases = normalize(torch.randn(4, 16, generator=draw), dim=-1)
    sigmas = torch.linspace(0, 1.5, 7)
    ((_, samples, weight),) = view.tiles(field.radiance.box)
    u = field.ray_features(samples, weight)
    expected = brute_force(field, u, text, phrases, sigmas.tolist())
    found = render_relevancy(field, view, text, phrases, sigmas, VOID)
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])
    assert (found[0] == VOID).any() and len(found[0].unique()) > 3


@torch.no_grad()
def test_at_one_scale_relevancy_is_the_cosine(scene: tuple[SemanticField, ViewWeights]) -> None:
    field, view = scene
    text = normalize(torch.randn(6, 16, generator=torch.Generator().manual_seed(6)), dim=-1)
    one = torch.tensor([0.8])
    labels, by_cosine = render_relevancy(field, view, text, text[:2], one, VOID)
    assert torch.equal(labels, by_cosine)
    order = torch.tensor([3, 1, 0, 5, 4, 2])
    permuted, _ = render_relevancy(field, view, text[order], text[:2], one, VOID)
    back = torch.cat([order, torch.tensor([VOID])])
    assert torch.equal(back[permuted.where(permuted != VOID, 6)], labels)
    assert len(render_labels(field, view, text, VOID)) == len(labels)


def test_each_class_at_its_best_scale_by_hand() -> None:
    """t / greatest n at two scales: A .30/.28, .24/.22; B .27/.28, .25/.22. A mean over scales
    prefers A (.27 to .26), relevancy B (.03 to .02)."""
    cosines = torch.tensor([[[0.30, 0.27, 0.28]], [[0.24, 0.25, 0.22]]])
    tables = GivenTables(torch.zeros(2, 1, 1), torch.zeros(2, 3, 1), 2, cosines)
    margins = torch.stack(list(tables.margins(torch.ones(1, 1))))
    torch.testing.assert_close(margins[:, 0], torch.tensor([[0.02, -0.01], [0.02, 0.03]]))
    assert best_scales(tables, [torch.ones(1, 1)])[1] == 1
    assert cosines[:, 0, :2].mean(0).argmax() == 0 and margins.amax(0).argmax() == 1
    # F.t .30 against phrases .25, .28, .2, .1.
    given = torch.tensor([[[0.30, 0.25, 0.28, 0.2, 0.1]]])
    one = GivenTables(torch.zeros(1, 1, 1), torch.zeros(1, 5, 1), 1, given)
    (margin,) = one.margins(torch.ones(1, 1))
    assert torch.sigmoid(10 * margin).item() == pytest.approx(0.549834, abs=1e-6)


@dataclass(frozen=True)
class GivenTables(ScaleTables):
    """Tables whose cosines (scales, rays, vectors) are given."""

    given: torch.Tensor

    def cosines(self, ray: torch.Tensor) -> Iterator[torch.Tensor]:
        return iter(self.given)
