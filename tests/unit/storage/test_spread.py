"""Some of many frames."""

from ovnerf.storage.spread import spread_evenly


def test_frames_are_spread_evenly() -> None:
    assert spread_evenly([3, 4, 5, 6, 7], 2) == [3, 5]
    assert spread_evenly([3, 4], 8) == [3, 4]
    assert spread_evenly([], 2) == []
