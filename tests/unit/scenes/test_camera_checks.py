"""Which cameras can be those of the photos, and which distortion a lens can have."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ovnerf.runtime.errors import UserError
from ovnerf.scenes.lens import Lens, bend, checked_lens, one_lens, same_lens
from ovnerf.scenes.pinhole import (
    camera_warnings,
    check_camera_size,
    checked_camera,
    field_of_view,
    other_photos,
)

WIDTH, HEIGHT = 640, 480


def camera(fx: float, fy: float, cx: float = 320, cy: float = 240) -> np.ndarray:
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def test_the_field_of_view_is_measured_across_the_longer_side():
    # The tangents of half the angles are 320 / 320, 320 / 240 and (100 / 100, 540 / 100).
    assert field_of_view(camera(320, 500), 640, 480) == pytest.approx(90)
    assert field_of_view(camera(500, 240, 240, 320), 480, 640) == pytest.approx(106.2602047)
    aside = field_of_view(camera(100, 100, 100, 240), 640, 480)
    assert aside == pytest.approx(45 + np.degrees(np.arctan(5.4)))


@pytest.mark.parametrize(
    ("matrix", "found"),
    [
        (camera(500, 500), ""),
        (camera(500, 500, 300, 255), ""),
        (camera(250, 250, 160, 120), "photos of about 320x240"),
        (camera(1000, 1000, 640, 480), "photos of about 1280x960"),
        (camera(1170, 1170, 648, 484), "photos of about 1296x968"),
        (camera(500, 500, 240, 320), "photos turned on their side, 480x640"),
        (camera(0.8, 1.1, 0.5, 0.5), "photos whose size is 1 (normalised intrinsics)"),
        (camera(1.6, 2.1, 0.0, 0.0), "photos whose size is 1 (normalised intrinsics)"),
        # Photos cropped on one side only have their centre off in one direction.
        (camera(500, 500, 160, 240), ""),
        (camera(500, 500, 200, 120), ""),
        # 0.8 of the size may also be a crop: a warning, no refusal.
        (camera(400, 400, 256, 192), ""),
    ],
)
def test_cameras_of_other_photos_are_recognised_by_their_centre(matrix, found):
    assert other_photos(matrix, WIDTH, HEIGHT) == found


def test_a_square_photo_has_no_side_to_be_turned_on():
    assert other_photos(camera(500, 500, 250, 250), 500, 500) == ""


def test_what_is_rare_is_a_warning():
    assert camera_warnings(camera(500, 500, 383, 240), WIDTH, HEIGHT) == []
    # 10 % of 640 columns are 64.
    (centre,) = camera_warnings(camera(500, 500, 385, 240), WIDTH, HEIGHT)
    assert "(385.0, 240.0) is far from the middle of the 640x480 photos" in centre
    # 320 / tan 75 degrees is 85.7, 320 / tan 5 degrees is 3657.6.
    assert camera_warnings(camera(86, 86), WIDTH, HEIGHT) == []
    (wide,) = camera_warnings(camera(85, 85), WIDTH, HEIGHT)
    assert "150.2 degrees across" in wide
    assert camera_warnings(camera(3657, 3657), WIDTH, HEIGHT) == []
    (narrow,) = camera_warnings(camera(3700, 3700), WIDTH, HEIGHT)
    assert "9.9 degrees across" in narrow


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (camera(np.inf, 500), "found focal lengths inf and 500"),
        (camera(500, -500), "found focal lengths 500 and -500"),
        (camera(500, 500, 640, 100), r"principal point \(640, 100\) lies outside the 640x480"),
        (camera(500, 1001), "found focal lengths 500 and 1001, expected nearly the same"),
        # 2 atan(320 / 27) is 170.4 degrees.
        (camera(27, 27), "170.4 degrees across photos of 640x480"),
        (camera(40000, 40000), "0.9 degrees across photos of 640x480"),
        (camera(500, 500).T, r"found \[0.0, 500.0, 0.0\] and \[320.0, 240.0, 1.0\]"),
    ],
)
def test_cameras_that_cannot_be(matrix, said):
    with pytest.raises(UserError, match=f"camera.txt: .*{said}"):
        checked_camera(matrix, "camera.txt", WIDTH, HEIGHT)


def test_skew_below_a_hundredth_of_a_pixel_is_rounding():
    # At the lower edge, 240 rows from the centre, skew s moves a pixel by 240 s / fy.
    matrix = camera(500, 480)
    matrix[0, 1] = 0.019
    assert checked_camera(matrix, "camera.txt", WIDTH, HEIGHT)[0, 1] == 0
    matrix[0, 1] = 0.021
    with pytest.raises(UserError, match=r"found skew 0\.021, expected 0"):
        checked_camera(matrix, "camera.txt", WIDTH, HEIGHT)


def test_a_size_that_is_turned_says_so():
    check_camera_size("file", (640.0, 480.0), (640, 480))
    with pytest.raises(UserError) as caught:
        check_camera_size("file", (480, 640), (640, 480))
    assert caught.value.message == (
        "file: found a camera of 480x640, expected 640x480 as the photos"
    )
    assert "turned on their side" in caught.value.hint


def test_bending_agrees_with_opencv_and_with_differences():
    distortion = (-0.2, 0.05, 0.01, -0.02, 0.003)
    generator = np.random.default_rng(0)
    x, y = generator.uniform(-0.6, 0.6, (2, 50))
    seen, area = bend(x, y, distortion)
    points = np.stack([x, y, np.ones_like(x)], -1)
    projected, _ = cv2.projectPoints(
        points, np.zeros(3), np.zeros(3), np.eye(3), np.array(distortion)
    )
    np.testing.assert_allclose(seen, projected[:, 0], atol=1e-12)
    step = 1e-6
    along = (bend(x + step, y, distortion)[0] - bend(x - step, y, distortion)[0]) / (2 * step)
    down = (bend(x, y + step, distortion)[0] - bend(x, y - step, distortion)[0]) / (2 * step)
    np.testing.assert_allclose(area, np.linalg.det(np.stack([along, down], -1)), atol=1e-8)


@pytest.mark.parametrize(
    ("focal", "distortion"),
    [
        # Published calibrations: TUM RGB-D freiburg1, EuRoC, a phone.
        (517.0, (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
        (458.0, (-0.2834, 0.0740, 0.0002, 0.00002, 0.0)),
        (700.0, (0.05, -0.08, 0.001, -0.001, 0.0)),
        # Folds at a radius of 1.054 (its square is 1 / 0.9), seen at 0.7027; the corner, 400 / 570
        # from the centre, is seen at 0.7018.
        (570.0, (-0.3, 0.0, 0.0, 0.0, 0.0)),
    ],
)
def test_real_lenses_pass(focal, distortion):
    lens = Lens(camera(focal, focal), distortion)
    assert checked_lens(lens, "camera.txt", WIDTH, HEIGHT) is lens


@pytest.mark.parametrize(
    ("distortion", "said"),
    [
        # The corner is seen at 400 / 500 = 0.8; 0.7027 is 88 % of that.
        ((-0.3, 0.0, 0.0, 0.0, 0.0), "k1 -0.3, which folds the photos over at 88 % of the way"),
        # Folds at 1 / sqrt(150) = 0.0816, seen at two thirds of that: 0.0544, 7 % of 0.8.
        ((-50.0, 0.0, 0.0, 0.0, 0.0), "k1 -50, which folds the photos over at 7 % of the way"),
        # 1 - 5 r^4 is 0 at r = 0.6687, seen at 4 / 5 of that: 0.535, 67 % of 0.8.
        ((0.0, -1.0, 0.0, 0.0, 0.0), "k2 -1, which folds the photos over at 67 % of the way"),
        ((50.0, 0.0, 0.0, 0.0, 0.0), "k1 50, which moves the corner of the photos further"),
        ((0.0, 0.0, 0.3, 0.0, 0.0), "p1 0.3, whose distortion cannot be undone"),
        ((0.0, 0.0, 0.0, 1.0, 0.0), "p2 1, whose distortion cannot be undone"),
        ((0.0, 0.0, 0.0, 0.0, np.inf), "k3 inf, expected finite numbers"),
    ],
)
def test_distortion_that_no_lens_has(distortion, said):
    lens = Lens(camera(500, 500), distortion)
    with pytest.raises(UserError, match=f"camera.txt: found .*{said}"):
        checked_lens(lens, "camera.txt", WIDTH, HEIGHT)


def test_one_camera_up_to_rounding():
    first = Lens(camera(500, 500), (0.1, 0.0, 0.0, 0.0, 0.0))
    rounded = Lens(camera(500.0004, 500, 320.0002), (0.1000005, 0.0, 0.0, 0.0, 0.0))
    zoomed = Lens(camera(500.001, 500), (0.1, 0.0, 0.0, 0.0, 0.0))
    assert same_lens(first, rounded)
    assert one_lens("file", [("a", first), ("b", rounded)], "") is first
    with pytest.raises(UserError) as caught:
        one_lens("file", [("a", first), ("b", rounded), ("c", zoomed)], "")
    assert caught.value.message == (
        "file: found different cameras, fx 500 fy 500 cx 320 cy 240 distortion k1 0.1 (a) and "
        "fx 500.001 fy 500 cx 320 cy 240 distortion k1 0.1 (c), expected one camera"
    )
