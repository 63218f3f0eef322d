"""Reading ahead: order, overlap, errors, and threads that end."""

from __future__ import annotations

import threading

import pytest

from ovnerf.runtime.prefetch import prefetch


def own_threads() -> int:
    return sum(thread.name == "ahead" for thread in threading.enumerate())


def test_items_come_in_order_and_the_thread_ends():
    assert list(prefetch(range(20), 3)) == list(range(20))
    assert list(prefetch([])) == []
    assert own_threads() == 0


def test_the_next_item_is_made_while_this_one_is_worked_on():
    made = [threading.Event() for _ in range(3)]

    def items():
        for index, event in enumerate(made):
            event.set()
            yield index

    iterator = prefetch(items(), 1)
    assert next(iterator) == 0
    assert made[1].wait(5)
    iterator.close()
    assert own_threads() == 0


def test_no_more_is_made_than_asked_for():
    made = []
    iterator = prefetch((made.append(index) or index for index in range(100)), 2)
    assert [next(iterator) for _ in range(3)] == [0, 1, 2]
    iterator.close()
    assert len(made) <= 3 + 2 + 1


def test_an_error_comes_where_its_item_would_have():
    def items():
        yield 1
        raise ValueError("broken photo")

    iterator = prefetch(items())
    assert next(iterator) == 1
    with pytest.raises(ValueError, match="broken photo"):
        next(iterator)
    assert own_threads() == 0
