"""Work on several threads."""

import threading

import pytest
import torch

from ovnerf.compute.threads import in_parts, on_each


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize(("count", "smallest"), [(0, 1), (1, 1), (7, 1), (7, 3), (1000, 256)])
def test_parts_cover_all_in_order(threads, count, smallest):
    parts = in_parts(lambda begin, end: (begin, end), count, smallest)
    assert [number for begin, end in parts for number in range(begin, end)] == list(range(count))
    assert len(parts) == max(1, min(threads, count // smallest))


def test_threads_do_not_pile_up(threads):
    """Whatever the sizes of the work, there are no more of them than torch has."""
    before = threading.active_count()
    for count in range(1, 20):
        in_parts(lambda *_: None, count, 1)
        on_each(str, range(count))
    assert threading.active_count() <= before + 2 * threads


def test_the_calling_thread_takes_the_first_part(threads):
    idents = in_parts(lambda *_: threading.get_ident(), 3, 1)
    assert idents[0] == threading.get_ident()


def test_results_come_in_the_order_of_the_items(threads):
    assert on_each(lambda item: item * item, range(9)) == [n * n for n in range(9)]
    assert on_each(str, []) == []


def test_items_run_at_once_each_on_one_thread_without_autograd(threads):
    """Each item waits for the others, so all of them must run at the same time."""
    meet = threading.Barrier(threads)
    weight = torch.ones(2, 2, requires_grad=True)

    def work(_item):
        meet.wait(timeout=60)
        return torch.get_num_threads(), torch.mm(weight, weight, out=torch.empty(2, 2))

    found = on_each(work, range(threads))
    assert [inner for inner, _ in found] == [1] * threads
    assert not any(product.requires_grad for _, product in found)
    assert torch.get_num_threads() == threads and torch.is_grad_enabled()


def test_an_error_of_an_item_reaches_the_caller(threads):
    def work(item):
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 0"):
        on_each(work, range(3))
    assert on_each(abs, [-1, -2]) == [1, 2]
