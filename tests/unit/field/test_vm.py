import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ovnerf.field.reference import grid_products
from ovnerf.field.vm import VectorMatrixGrid, grid_resolution


def grid(resolution=(7, 5, 6), ranks=(3, 2, 2)):
    return VectorMatrixGrid(resolution, ranks, torch.Generator().manual_seed(0))


RANKS = st.tuples(*[st.integers(1, 20)] * 3)
"""Below, at and above eight, which the compiled loops compute at once."""


@given(seed=st.integers(0, 50), size=st.tuples(*[st.integers(2, 9)] * 3), ranks=RANKS)
def test_lookup_equals_grid_sample(seed, size, ranks):
    table = grid(size, ranks)
    points = torch.rand(40, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    points[:2] = torch.tensor([[-1.0, -1, -1], [1, 1, 1]])
    fast = table.features(points)
    slow = torch.cat(grid_products(table, points), -1)
    assert torch.allclose(fast, slow, atol=1e-6)
    with torch.no_grad():
        assert torch.allclose(table.density(points), slow.sum(-1), atol=5e-6)


@pytest.mark.parametrize("ranks", [(3, 2, 2), (7, 4, 12), (8, 24, 17)])
def test_gradients_equal_grid_sample(ranks):
    table = grid(ranks=ranks)
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    target = torch.randn(200, sum(ranks), generator=torch.Generator().manual_seed(2))
    fast = (table.features(points) * target).sum()
    slow = (torch.cat(grid_products(table, points), -1) * target).sum()
    for one, other in zip(
        torch.autograd.grad(fast, list(table.parameters())),
        torch.autograd.grad(slow, list(table.parameters())),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("ranks", [(3, 2, 2), (8, 24, 17)])
@pytest.mark.parametrize("points", [1, 2500])
def test_mapped_features_equal_a_linear_layer(ranks, points):
    """More points than a tile, and fewer."""
    table = grid(ranks=ranks)
    draw = torch.Generator().manual_seed(3)
    at = torch.rand(points, 3, generator=draw) * 2 - 1
    matrix = torch.randn(5, sum(ranks), generator=draw, requires_grad=True)
    target = torch.randn(points, 5, generator=draw)
    parts = [matrix, *table.parameters()]

    def slopes(mapped):
        return [mapped, *torch.autograd.grad((mapped * target).sum(), parts)]

    slow = slopes(torch.cat(grid_products(table, at), -1) @ matrix.T)
    for one, other in zip(slopes(table.mapped(at, matrix)), slow, strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm()
    with torch.no_grad():
        torch.testing.assert_close(table.mapped(at, matrix), slow[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("ranks", [(3, 2, 2), (8, 24, 17)])
def test_sums_along_rays_equal_those_of_grid_sample(ranks):
    """And their gradients, those of the weights as well."""
    table = grid(ranks=ranks)
    draw = torch.Generator().manual_seed(4)
    at = torch.rand(60, 3, generator=draw) * 2 - 1
    ray = torch.arange(60) // 5
    offset = torch.arange(0, 61, 5)
    weight = torch.rand(60, generator=draw, requires_grad=True)
    target = torch.randn(12, sum(ranks), generator=draw)
    parts = [weight, *table.parameters()]

    def slopes(sums):
        return [sums, *torch.autograd.grad((sums * target).sum(), parts)]

    products = weight[:, None] * torch.cat(grid_products(table, at), -1)
    slow = slopes(torch.zeros(12, sum(ranks)).index_add(0, ray, products))
    for one, other in zip(slopes(table.composited(at, weight, offset, ray)), slow, strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm()


def test_density_by_hand():
    table = grid((2, 2, 2), (1, 1, 1))
    with torch.no_grad():
        for plane, line in zip(table.planes, table.lines, strict=True):
            plane.copy_(torch.tensor([[0.0], [1], [2], [3]]))
            line.copy_(torch.tensor([[10.0], [20]]))
    # Middle of the cell: plane mean 1.5, line mean 15, three modes.
    middle = torch.zeros(1, 3)
    assert table.density(middle).item() == pytest.approx(3 * 1.5 * 15)
    # Corner x=1, y=-1, z=-1: planes xy and xz hold 1 at their (first axis high) corner, plane yz 0;
    # lines z, y hold 10, line x 20.
    corner = torch.tensor([[1.0, -1, -1]])
    assert table.density(corner).item() == pytest.approx(1 * 10 + 1 * 10 + 0 * 20)


@given(seed=st.integers(0, 50), value=st.floats(0, 2))
def test_a_started_grid_holds_the_value_and_the_noise_of_the_other_ranks(seed, value):
    table = grid()
    points = torch.rand(40, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    first = torch.tensor([0, 3, 5])  # of the ranks (3, 2, 2), side by side
    before = torch.cat(grid_products(table, points), -1)
    table.start_at(value)
    after = torch.cat(grid_products(table, points), -1)
    torch.testing.assert_close(after[:, first], torch.full((40, 3), value / 3))
    torch.testing.assert_close(after.index_fill(1, first, 0), before.index_fill(1, first, 0))
    others = before.sum(-1) - before[:, first].sum(-1)
    torch.testing.assert_close(table.density(points), value + others, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("native", ["0", "1"])
@pytest.mark.parametrize("ranks", [(3, 2, 2), (8, 24, 17)])
def test_total_variation_gradient_equals_autograd(monkeypatch, native, ranks):
    monkeypatch.setenv("OVNERF_NATIVE", native)
    table = grid(ranks=ranks)
    (0.7 * table.total_variation()).backward()
    expected = [plane.grad.clone() for plane in table.planes]
    for plane in table.planes:
        plane.grad = None
    table.add_total_variation_gradient(0.7)
    for plane, gradient in zip(table.planes, expected, strict=True):
        assert torch.allclose(plane.grad, gradient, atol=1e-9)


def test_total_variation_by_hand():
    table = grid((2, 2, 2), (1, 1, 1))
    with torch.no_grad():
        for plane in table.planes:
            plane.copy_(torch.tensor([[0.0], [1], [2], [3]]))
    # Per plane: rows differ by 2, columns by 1 -> 2 x (4 + 1); three planes; 1e-2.
    assert table.total_variation().item() == pytest.approx(1e-2 * 3 * 2 * 5)


def test_resize_keeps_a_linear_field():
    table = grid((3, 4, 5), (1, 1, 1))
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(3)) * 2 - 1
    with torch.no_grad():
        for mode in range(3):
            rows, columns = table.image(mode).shape[:2]
            ramp = torch.linspace(0, 1, rows)[:, None] + torch.linspace(0, 2, columns)
            table.planes[mode].copy_(ramp.reshape(-1, 1))
            table.lines[mode].copy_(torch.linspace(1, 3, len(table.lines[mode]))[:, None])
    before = table.features(points)
    table.resize((9, 11, 13))
    assert table.resolution == (9, 11, 13)
    assert torch.allclose(table.features(points), before, atol=1e-5)


def test_crop_keeps_values():
    table = grid((8, 8, 8))
    inner = torch.rand(30, 3, generator=torch.Generator().manual_seed(4)) * 0.8 - 0.4
    before = table.features(inner)
    low, high = [1, 2, 0], [7, 8, 8]
    table.crop(low, high)
    corner = torch.tensor([-1.0, -1, -1]) + 2 * torch.tensor(low) / 7
    far = torch.tensor([-1.0, -1, -1]) + 2 * (torch.tensor(high) - 1) / 7
    moved = (inner - corner) / (far - corner) * 2 - 1
    keep = moved.abs().amax(-1) <= 1
    assert keep.sum() > 10
    after = table.features(moved)
    assert torch.allclose(after[keep], before[keep], atol=1e-5)


@pytest.mark.parametrize(
    ("voxels", "edge"),
    [(2_097_156, 128), (7_012_260, 191), (23_446_895, 286), (78_399_380, 427), (262_144_000, 639)],
)
def test_resolution_schedule_of_the_method(voxels, edge):
    cube = torch.tensor([[-1.5] * 3, [1.5] * 3])
    assert grid_resolution(voxels, cube) == (edge, edge, edge)
