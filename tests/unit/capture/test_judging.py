"""Which photos are matched, and what is said of a reconstruction, by numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ovnerf.capture.mapping import Graph, grouped
from ovnerf.capture.pairs import chosen_pairs, likeness, most_alike, neighbours
from ovnerf.capture.verdict import Found, judge
from ovnerf.config.capture import Capture
from ovnerf.runtime.errors import UserError

NAMES = [f"{number:02d}" for number in range(20)]


def test_neighbours_are_near_in_time_or_a_power_of_two_farther() -> None:
    near = {(0, 1), (1, 2), (2, 3), (3, 4), (0, 2), (1, 3), (2, 4)}
    assert neighbours(5, 2) == near | {(0, 4)}
    assert neighbours(3, 10) == {(0, 1), (0, 2), (1, 2)}


def descriptors(places: list[int]) -> dict[str, np.ndarray]:
    """SIFT-like descriptors of photos at places, each of which has patterns of its own."""
    patterns = np.random.default_rng(0).integers(0, 256, (max(places) + 1, 60, 128))
    noise = np.random.default_rng(1)
    return {
        NAMES[at]: np.clip(patterns[place] + noise.integers(-3, 4, (60, 128)), 0, 255).astype("u1")
        for at, place in enumerate(places)
    }


def test_a_walk_that_comes_back_is_closed() -> None:
    """Twelve photos of twelve places, the last of which is the first again."""
    found = descriptors([*range(11), 0])
    alike = likeness(list(found.values()), seed=0)
    assert (0, 11) in most_alike(alike, each=1, apart=3)
    video = chosen_pairs(found, True, Capture(overlap=2, loops=1))
    assert ("00", "11") in video and len(video) < 12 * 11 / 2
    assert len(chosen_pairs(found, False, Capture())) == 12 * 11 / 2


def test_photos_are_grouped_by_their_ties() -> None:
    assert grouped(list("abcde"), [(3, 4), (0, 2), (2, 3)]) == [["a", "c", "d", "e"], ["b"]]


def found(registered: int, others: tuple[list[str], ...] = (), angle: float = 9.0) -> Found:
    return Found(20, NAMES[:registered], list(others), angle)


WHOLE = Graph([NAMES], links=50, flat=0.2)
REFUSED = {
    "flat": (Graph([NAMES], 50, 0.95), found(4), "95 % of the pairs of photos show no depth"),
    "two parts": (
        Graph([NAMES[:11], NAMES[11:]], 50, 0.2),
        found(11),
        "2 parts that could not be joined: 00 to 10 (11) and 11 to 19 (9)",
    ),
    "two models": (
        WHOLE,
        found(10, (NAMES[10:15],)),
        "2 parts that could not be joined: 00 to 09 (10) and 10 to 14 (5)",
    ),
    "too few": (WHOLE, found(11), "found places for 11 of 20 photos, expected at least 60 %"),
    "none": (Graph([[name] for name in NAMES], 0, 0.0), found(0), "found places for 0 of 20"),
    "no parallax": (WHOLE, found(20, angle=0.4), "seen under 0.4 degrees"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_reconstruction_that_is_no_good_is_one_message(name: str) -> None:
    graph, result, expected = REFUSED[name]
    with pytest.raises(UserError) as caught:
        judge("walk.mp4", graph, result, 0.6)
    assert expected in caught.value.message and caught.value.hint


def test_a_good_one_passes_even_where_some_photos_stand_apart() -> None:
    judge("walk.mp4", Graph([NAMES[:15], NAMES[15:]], 50, 0.95), found(15), 0.6)
