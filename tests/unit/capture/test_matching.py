"""Features of photos that show little and of photos that show much."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from capture_fixtures import picture, walk

from ovnerf.capture.colmap import database, quiet
from ovnerf.capture.matching import add_features, add_photos, extractor
from ovnerf.config.capture import Capture


def stored_features(folder: Path, grey: np.ndarray, settings: Capture) -> int:
    """How many features the photo u8 (H, W) has in a database of its own."""
    folder.mkdir()
    cv2.imwrite(str(folder / "photo.png"), grey)
    add_photos(folder / "colmap.db", folder, ["photo.png"], None, settings)
    add_features(folder / "colmap.db", folder, settings)
    with database(folder / "colmap.db") as opened:
        (image,) = opened.read_all_images()
        return len(opened.read_keypoints(image.image_id))


def test_photos_that_a_killed_process_did_not_enter_are_entered(
    tmp_path: Path, rich: np.ndarray
) -> None:
    names = [f"{number}.png" for number in range(4)]
    for name in names:
        cv2.imwrite(str(tmp_path / name), rich)
    path = tmp_path / "colmap.db"
    add_photos(path, tmp_path, names[:2], None, Capture())
    add_photos(path, tmp_path, names, 0.9, Capture())
    with database(path) as opened:
        assert sorted(image.name for image in opened.read_all_images()) == names
        assert {image.camera_id for image in opened.read_all_images()} == {1}
        assert opened.num_cameras() == 1
    add_features(path, tmp_path, Capture(features=50))
    add_photos(path, tmp_path, names, 0.9, Capture())
    with database(path) as opened:
        assert opened.num_descriptors() > 0  # what was done is not undone


def found(grey: np.ndarray, features: int, contrast: float | None = None) -> int:
    return len(extractor(features, contrast).extract_from_uint8_array(grey)[0])


@pytest.fixture(scope="module")
def rich() -> np.ndarray:
    """A photo of textured walls, u8 (H, W)."""
    quiet()
    return cv2.cvtColor(picture(walk(1)[0]), cv2.COLOR_RGB2GRAY)


def test_a_photo_that_shows_little_gets_fainter_features_too(tmp_path: Path, rich: np.ndarray):
    faint = (128 + (rich.astype(float) - 128) / 6).round().astype(np.uint8)
    usual, weaker = found(faint, 800), found(faint, 800, 0.001)
    assert 0 < usual < 100 < weaker
    assert stored_features(tmp_path / "faint", faint, Capture(features=800)) == weaker


def test_a_photo_that_shows_much_is_searched_once(tmp_path: Path, rich: np.ndarray):
    usual = found(rich, 800)
    assert 400 < usual < found(rich, 800, 0.001)
    assert stored_features(tmp_path / "rich", rich, Capture(features=800)) == usual
