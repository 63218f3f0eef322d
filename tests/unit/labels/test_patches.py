"""Small patches of label maps, against maps drawn by hand and a flood fill pixel by pixel."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ovnerf.labels.patches import without_small_patches
from ovnerf.labels.void import VOID


def small_pixels(labels, least):
    """Pixels in patches of fewer than `least`, by flood fill."""
    small = np.zeros(labels.shape, dtype=bool)
    for start in np.ndindex(labels.shape):
        patch, todo = {start}, [start]
        while todo:
            row, column = todo.pop()
            for down, right in [(1, 0), (-1, 0), (0, 1), (0, -1)]:
                near = (row + down, column + right)
                inside = 0 <= near[0] < labels.shape[0] and 0 <= near[1] < labels.shape[1]
                if inside and near not in patch and labels[near] == labels[start]:
                    patch.add(near)
                    todo.append(near)
        small[start] = len(patch) < least
    return small


@given(
    shape=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    classes=st.integers(1, 4),
    least=st.integers(0, 12),
    seed=st.integers(0, 2**32 - 1),
)
def test_pixels_of_small_patches_take_a_nearest_kept_label(shape, classes, least, seed):
    random = np.random.default_rng(seed)
    labels = random.choice(np.array([*range(classes), VOID], dtype=np.uint16), shape)
    small = small_pixels(labels, least)
    found = without_small_patches(labels, least)
    assert found.dtype == labels.dtype
    if small.all():
        np.testing.assert_array_equal(found, labels)
        return
    np.testing.assert_array_equal(found[~small], labels[~small])
    kept = np.argwhere(~small)
    for row, column in np.argwhere(small):
        away = ((kept - (row, column)) ** 2).sum(1)
        nearest = kept[away == away.min()]
        assert found[row, column] in labels[tuple(nearest.T)]


def test_what_is_small_and_what_takes_its_place():
    labels = np.array(
        [
            [1, 1, 1, 2, 2],
            [1, 3, 1, 2, 2],
            [1, 1, 1, 2, 3],
            [0, 1, 1, 2, 2],
        ],
        dtype=np.uint16,
    )
    cleaned = labels.copy()
    cleaned[1, 1], cleaned[2, 4], cleaned[3, 0] = 1, 2, 1
    np.testing.assert_array_equal(without_small_patches(labels, 2), cleaned)
    np.testing.assert_array_equal(without_small_patches(labels, 1), labels)


def test_pixels_that_touch_at_corners_are_apart():
    labels = np.full((4, 4), 5, dtype=np.uint16)
    labels[1, 1] = labels[2, 2] = 7
    assert not (without_small_patches(labels, 2) == 7).any()
