"""Found objects against the things of a toy room."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.objects import NO_THINGS, Box, compare, line, things
from ovnerf.toy.rooms import build_room


def cube(x: float, side: float = 2.0) -> Box:
    """A cube with its low corner at (x, 0, 0)."""
    low = np.array([x, 0.0, 0.0])
    return Box(low, low + side)


def test_overlap_of_boxes() -> None:
    assert cube(0).iou(cube(0)) == 1
    assert cube(0).iou(cube(1)) == pytest.approx(4 / 12)
    assert cube(0).iou(cube(3)) == 0
    assert cube(0).iou(cube(0, 1.0)) == pytest.approx(1 / 8)


def test_a_thing_is_found_once_and_by_the_surest() -> None:
    true = [cube(10), cube(0)]
    # One metre off, an IoU of 1/3; exact, but its thing is taken; far from all.
    found = compare([cube(1), cube(0), cube(6)], true)
    assert (found.things, found.objects, found.right) == (2, 3, 1)
    assert found.off_right == (1.0,) and found.off == (1.0, 0.0, 4.0)
    both = found + compare([], true)
    assert (both.things, both.objects) == (4, 3)
    assert line("a", "usual", both) == "| a | usual | 4 | 3 | 25 % | 33 % | 100 cm | 100 cm |"
    assert line("a", "usual", compare([], true)).endswith("| 0 % | - | - | - |")


def test_things_are_where_the_room_has_them() -> None:
    room = build_room(0)
    found = things(room)
    counts = {name: sum(one.name == name for one in room.objects) for name in found}
    assert {name: len(boxes) for name, boxes in found.items()} == counts
    assert found and not set(found) & set(NO_THINGS)
    low, high = room.mesh.vertices.min(0), room.mesh.vertices.max(0)
    for boxes in found.values():
        for box in boxes:
            assert (box.low >= low - 1e-9).all() and (box.high <= high + 1e-9).all()
            assert (box.high > box.low).all()
