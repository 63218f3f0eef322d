"""Superpixels of images whose parts are known."""

import numpy as np
import pytest

from ovnerf.config.regions import Superpixels
from ovnerf.regions.superpixels import propose_superpixels, snapping_parts, superpixel_map

RED, GREEN, BLUE = (200, 20, 20), (20, 180, 20), (20, 20, 190)
SHARP = Superpixels(scales=(100.0,), sigma=0.0, min_share=0.01)


def flag(noise: int = 0) -> np.ndarray:
    """20 x 30 pixels: a red, a green and a blue column of 10 each, with noise of a fixed seed."""
    image = np.empty((20, 30, 3), np.uint8)
    image[:, :10], image[:, 10:20], image[:, 20:] = RED, GREEN, BLUE
    return image + np.random.default_rng(0).integers(0, noise + 1, image.shape, np.uint8)


@pytest.mark.parametrize("noise", [0, 8])
def test_parts_of_one_colour_are_the_superpixels(noise: int) -> None:
    number = superpixel_map(flag(noise), 100.0, SHARP)
    assert sorted(np.unique(number)) == [0, 1, 2]
    for column in (slice(0, 10), slice(10, 20), slice(20, 30)):
        assert len(np.unique(number[:, column])) == 1


def test_small_superpixels_join_a_neighbour() -> None:
    image = flag()
    image[5:7, 3:5] = (255, 255, 255)  # 4 of 600 pixels
    count = {
        share: superpixel_map(image, 1.0, SHARP.model_copy(update={"min_share": share})).max() + 1
        for share in (4 / 600, 5 / 600)
    }
    assert count == {4 / 600: 4, 5 / 600: 3}


def test_scales_come_in_their_order_and_each_covers_the_image() -> None:
    settings = SHARP.model_copy(update={"scales": (1e6, 100.0)})
    found = propose_superpixels(flag(), settings)
    assert found.masks.dtype == bool and found.masks.shape == (4, 20, 30)
    assert found.masks[0].all()  # at that scale everything is one
    assert (found.masks[1:].sum(0) == 1).all()
    assert found.area.tolist() == [600, 200, 200, 200]
    assert found.score.tolist() == [1] * 4


def test_an_image_of_one_colour_is_one_superpixel() -> None:
    assert propose_superpixels(np.zeros((8, 8, 3), np.uint8), SHARP).masks.all((1, 2)).all()


def test_snapping_parts_do_not_cross_edges() -> None:
    parts = snapping_parts(flag())
    assert not set(parts[:, :9].ravel()) & set(parts[:, 11:].ravel())
