"""Numbers of pixels carried into space and back, against sums by hand."""

from __future__ import annotations

import torch
from field_fixtures import radiance_field, rays

from ovnerf.field.field import RadianceField
from ovnerf.field.lifting import Lifted
from ovnerf.field.rendering import ViewWeights

CORNERS = torch.tensor([[0.0, 0, 0], [2, 2, 2]])


def one_ray(*samples: tuple[float, float]) -> ViewWeights:
    """A ray along x through y = z = 0.5, with samples (distance, weight)."""
    distance, weight = torch.tensor(samples).unbind(-1)
    origin, direction = torch.tensor([[0.0, 0.5, 0.5]]), torch.tensor([[1.0, 0, 0]])
    return ViewWeights(origin, direction, torch.tensor([0, len(samples)]), distance, weight)


def test_means_and_their_way_back_by_hand() -> None:
    """Eight cells of side 1. Two views see the first cell with weights 0.5 and 0.25."""
    lifted = Lifted(CORNERS, 8, 2)
    assert lifted.size.tolist() == [2, 2, 2]
    lifted.add(one_ray((0.5, 0.5), (1.5, 0.25)), torch.tensor([[1.0, 0]]))
    lifted.add(one_ray((0.4, 0.25)), torch.tensor([[0.0, 4]]))
    found = lifted.render(one_ray((0.6, 0.5), (1.2, 0.5)))
    # First cell: (0.5 (1, 0) + 0.25 (0, 4)) / 0.75; second: (1, 0).
    expected = 0.5 * torch.tensor([[2 / 3, 4 / 3]]) + 0.5 * torch.tensor([[1.0, 0]])
    torch.testing.assert_close(found, expected)


def test_points_at_the_far_corner_are_inside() -> None:
    lifted = Lifted(CORNERS, 8, 1)
    corners = torch.tensor([[-1.0, -1, -1], [1, 1, 1], [1, -1, -1]])
    assert lifted.cells(corners).tolist() == [0, 7, 4]


def view_of(field: RadianceField, seed: int) -> ViewWeights:
    origin, direction, _ = rays(200, seed)
    samples, weight = field.samples_above_threshold(origin, direction)
    return ViewWeights(origin, direction, samples.offset, samples.distance, weight)


def test_a_constant_comes_back_as_opacity_where_it_was_seen() -> None:
    field = radiance_field()
    view, other = view_of(field, 4), view_of(field, 9)
    lifted = Lifted(field.box, 500, 1)
    lifted.add(view, torch.ones(200, 1))
    torch.testing.assert_close(lifted.render(view)[:, 0], view.opacity())
    assert (lifted.render(other)[:, 0] <= other.opacity() + 1e-5).all()
