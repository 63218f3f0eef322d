"""Textures: range, determinism, and the values that can be read off a definition."""

import numpy as np
import pytest

from ovnerf.toy import textures

RED, BLUE = (0.8, 0.0, 0.0), (0.0, 0.0, 0.6)

EVERY = {
    "plain": textures.plain(RED),
    "stripes": textures.stripes(RED, BLUE, 0.3, 0),
    "checker": textures.checker(RED, BLUE, 0.2, (0, 1)),
    "marbled": textures.marbled(RED, BLUE, 0.2, 1),
    "wood": textures.wood(RED, BLUE, 0, 1),
    "planks": textures.planks(RED, BLUE, 0.2, 0, 1),
    "bricks": textures.bricks(RED, BLUE, 0.15, 1),
    "book_spines": textures.book_spines((RED, BLUE), 0.1, 1),
    "slats": textures.slats(RED, BLUE, 0.12),
    "dots": textures.dots(RED, BLUE, 0.3, (0, 1)),
    "painting": textures.painting((RED, BLUE, RED, BLUE), 0.6, 1),
}


@pytest.mark.parametrize("name", sorted(EVERY))
def test_textures_are_functions_of_the_point(name: str) -> None:
    points = np.random.default_rng(0).uniform(-3, 3, (500, 3))
    colour = EVERY[name](points)
    assert colour.shape == (500, 3) and np.isfinite(colour).all()
    assert colour.min() >= 0 and colour.max() <= 1.1
    np.testing.assert_array_equal(EVERY[name](points[::-1])[::-1], colour)


def test_stripes_and_checker_where_they_should_be() -> None:
    points = np.array([[0.0, 0, 0], [0.15, 0, 0], [0.3, 0, 0]])
    # One period is 0.3 m, half of it in each colour, so steps of 0.15 m alternate.
    colour = EVERY["stripes"](points)
    np.testing.assert_allclose(colour[0], colour[2])
    assert {tuple(row) for row in colour[:2].round(6).tolist()} == {RED, BLUE}
    centres = np.array([[0.0, 0.0, 0], [0.2, 0.0, 0], [0.2, 0.2, 0]])
    board = EVERY["checker"](centres).round(6)
    assert tuple(board[0]) == tuple(board[2]) != tuple(board[1])


def test_hash_is_uniform_and_depends_on_the_seed() -> None:
    cells = np.stack(np.meshgrid(np.arange(-50, 50), np.arange(-50, 50)), -1).reshape(-1, 2)
    values = textures.hashed(cells, 3)
    assert values.min() >= 0 and values.max() < 1
    assert abs(values.mean() - 0.5) < 0.02 and abs(values.std() - 12**-0.5) < 0.02
    assert (values != textures.hashed(cells, 4)).mean() > 0.99


def test_border_frames_a_rectangle() -> None:
    texture = textures.border(textures.plain(RED, 0), BLUE, (1.0, 0.5), 0.1)
    colour = texture(np.array([[0, 0, 0], [0.95, 0, 0], [0, -0.45, 0]], float))
    np.testing.assert_allclose(colour, [RED, BLUE, BLUE])
