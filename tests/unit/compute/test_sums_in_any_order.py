import pytest
import torch

from ovnerf.compute.order import UNITS, any_order, sum_in_any_order


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize(("entries", "rows"), [(1, 3), (40, 3), (20_000, 2), (20_000, 700)])
def test_sums_are_those_of_double_precision(entries, rows, size):
    draw = torch.Generator().manual_seed(entries)
    index = torch.randint(rows, (entries,), generator=draw)
    value = size * torch.randn(entries, 3, generator=draw)
    wanted = torch.zeros(rows, 3, dtype=torch.float64).index_add_(0, index, value.double())
    found = sum_in_any_order(value, index, rows)
    # Half a unit for each entry, and single precision of every entry and of the result.
    sizes = torch.zeros_like(wanted).index_add_(0, index, value.double().abs())
    bound = 0.5 * entries * float(value.abs().max()) / UNITS + 2.0**-23 * (sizes + wanted.abs())
    assert found.dtype == torch.float32 and ((found - wanted).abs() <= bound).all()


def test_the_order_changes_no_byte():
    """In single precision it does."""
    draw = torch.Generator().manual_seed(0)
    index, value = torch.randint(9, (5000,), generator=draw), torch.randn(5000, 2, generator=draw)
    other = torch.randperm(5000, generator=draw)
    one, two = (sum_in_any_order(value[at], index[at], 9) for at in (slice(None), other))
    assert torch.equal(one, two)
    plain = [torch.zeros(9, 2).index_add_(0, index[at], value[at]) for at in (slice(None), other)]
    assert not torch.equal(*plain)


def test_a_row_without_entries_and_entries_of_zero():
    found = sum_in_any_order(torch.zeros(2, 1), torch.tensor([0, 2]), 4)
    assert found.tolist() == [[0], [0], [0], [0]]


def test_a_gradient_that_is_no_number_stays_one():
    """It must not become a number: a training ends with a message where its loss is not finite."""
    rows = torch.tensor([[1.0], [float("nan")]])
    assert not torch.isfinite(sum_in_any_order(rows, torch.tensor([0, 1]), 2)).any()


def test_the_ordered_mode_is_back_afterwards():
    torch.set_deterministic_debug_mode("warn")
    try:
        with any_order():
            assert torch.get_deterministic_debug_mode() == 0
        assert torch.get_deterministic_debug_mode() == 1
    finally:
        torch.set_deterministic_debug_mode("default")
