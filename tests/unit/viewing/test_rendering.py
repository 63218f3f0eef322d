"""Cameras, steps, cache and order of the viewer's pictures."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from asking_fixtures import DESCRIPTION, asked_field

from ovnerf.asking.views import View, render_camera
from ovnerf.field.field import RadianceField
from ovnerf.viewing import cameras
from ovnerf.viewing.cameras import Viewpoint, bands, ray_camera
from ovnerf.viewing.desk import Desk
from ovnerf.viewing.rendering import Cache, Renderer, join, nbytes, steps

CPU = torch.device("cpu")
VIEWPOINT = Viewpoint(DESCRIPTION.pose[0], 1.2, 4 / 3)


def renderer(limit: int = 10**9) -> Renderer:
    """A renderer of the small field whose clock stands still, so that all steps are quick."""
    run = SimpleNamespace(field=asked_field(), description=DESCRIPTION)
    return Renderer(run, Cache(limit), threading.Lock(), lambda: 0.0, 1.0)  # type: ignore[arg-type]


def never() -> bool:
    """Nothing newer is wished."""
    return False


def test_sizes_follow_the_window() -> None:
    assert Viewpoint(np.eye(4), 1.0, 2.0).size(640) == (320, 640)
    assert Viewpoint(np.eye(4), 1.0, 0.5).size(640) == (640, 320)


def test_parts_joined_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    field = asked_field()
    (whole,) = bands(DESCRIPTION, VIEWPOINT, 24, CPU)
    monkeypatch.setattr(cameras, "BAND_RAYS", 24 * 5)
    parts = list(bands(DESCRIPTION, VIEWPOINT, 24, CPU))
    assert [part.height for part in parts] == [5, 5, 5, 3]
    joined = join([render_camera(field, DESCRIPTION, part) for part in parts])
    expected = render_camera(field, DESCRIPTION, whole)
    assert expected.opacity.max() > 0.1
    for name in ("rgb", "depth", "opacity", "feature"):
        np.testing.assert_allclose(getattr(joined, name), getattr(expected, name), atol=1e-5)


def test_a_window_like_a_photo_shows_the_photo() -> None:
    description = DESCRIPTION
    fov = 2 * np.arctan(description.height / 2 / description.intrinsics[1, 1])
    viewpoint = Viewpoint(description.pose[1], fov, description.width / description.height)
    (camera,) = bands(description, viewpoint, description.width, CPU)
    np.testing.assert_allclose(camera.intrinsics, description.intrinsics, atol=1e-5)
    assert (camera.height, camera.width) == (description.height, description.width)


@pytest.mark.parametrize("direction", [[0, 0, 2.0], [1, 0, 0], [-0.3, 0.4, -0.2]])
def test_one_ray_goes_where_it_is_told(direction: list[float]) -> None:
    origin = np.array([0.5, 1.0, 2.0])
    start, along = ray_camera(DESCRIPTION, origin, np.array(direction), CPU).rays()
    expected = (origin - np.array([1.0, 2.0, 3.0])) * 2.0  # The similarity of the fixture.
    np.testing.assert_allclose(start[0], expected, atol=1e-6)
    np.testing.assert_allclose(along[0], np.array(direction) / np.linalg.norm(direction), atol=1e-6)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (1.0, [80, 160, 320, 640]),  # 80 x 60 = 4800 rays: too slow, yet there is nothing less.
        (16_000.0, [80, 160, 320, 640]),  # 4800 rays in 0.3 s.
        (64_000.0, [160, 320, 640]),  # 160 x 120 = 19 200 rays in 0.3 s.
        (1e9, [640]),
    ],
)
def test_the_first_step_takes_a_third_of_a_second(rate: float, expected: list[int]) -> None:
    assert steps(640, 4 / 3, rate) == expected


def test_views_end_with_the_finished_one_which_is_kept() -> None:
    one = renderer()
    widths = [view.depth.shape[1] for view in one.views(VIEWPOINT, 16, never)]
    assert widths == [2, 4, 8, 16]
    assert [view.depth.shape[1] for view in one.views(VIEWPOINT, 16, never)] == [16]


def test_a_kept_view_marches_no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    one = renderer()
    (*_, first) = one.views(VIEWPOINT, 16, never)
    monkeypatch.delattr(RadianceField, "samples_above_threshold")
    (again,) = one.views(VIEWPOINT, 16, never)
    assert again is first


def test_work_is_given_up_between_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cameras, "BAND_RAYS", 16 * 4)
    answers = iter([False, False, False, True])  # One part each of 2, 4 and 8 pixels; then newer.
    one = renderer()
    views = list(one.views(VIEWPOINT, 16, lambda: next(answers)))
    assert [view.depth.shape[1] for view in views] == [2, 4, 8]
    assert next(answers, None) is None and not one.cache.kept


def test_the_cache_stays_within_its_limit_over_500_moves() -> None:
    view = View(
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 28), np.float32),
    )
    assert nbytes(view) == 16 * (3 + 4 + 4 + 4 * 28) == 1968
    cache = Cache(5 * 1968 + 100)
    for move in range(500):
        cache.put(move, view)
        assert cache.get(0) is view
        assert len(cache.kept) == min(move + 1, 5)
    # The first was looked at after every move, so it stayed.
    assert list(cache.kept) == [496, 497, 498, 499, 0]
    assert cache.size == 5 * 1968
    assert cache.get(100) is None


def test_a_view_that_is_kept_twice_counts_once() -> None:
    """Two of 12 bytes fit into 30, and the one that was put again is the latest."""
    view = View(*(np.zeros((1, 1, 3), np.uint8) for _ in range(4)))
    assert nbytes(view) == 12
    cache = Cache(30)
    for key in "abaa":
        cache.put(key, view)
    assert list(cache.kept) == ["b", "a"] and cache.size == 24
    cache.put("c", view)
    assert list(cache.kept) == ["a", "c"] and cache.size == 24


def test_of_a_window_only_the_newest_wish_counts() -> None:
    desk: Desk[str] = Desk()
    desk.put(1, "old")
    desk.put(2, "other")
    desk.put(1, "new")
    assert desk.take() == (1, "new")
    assert not desk.outdated(1) and desk.outdated(2)
    desk.put(1, "newer")
    assert desk.outdated(1)
    assert [desk.take(), desk.take()] == [(2, "other"), (1, "newer")]


def test_a_closed_window_is_forgotten_and_a_closed_desk_ends_the_work() -> None:
    desk: Desk[str] = Desk()
    desk.put(1, "closed in the middle")
    desk.drop(1)
    desk.drop(1)
    taken: list[object] = []
    waiting = threading.Thread(target=lambda: taken.append(desk.take()))
    waiting.start()
    desk.close()
    waiting.join(timeout=30)
    assert taken == [None] and desk.outdated(7)
