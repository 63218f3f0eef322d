import numpy as np

from ovnerf.labels.void import VOID
from ovnerf.regions.truth import true_regions


def test_parts_of_classes_by_hand():
    label = np.array(
        [[0, 0, 1, 0], [0, 0, 1, 0], [VOID, VOID, 1, 0], [1, VOID, VOID, 1]], np.uint16
    )
    found = true_regions(label)
    # Class 0: left 4, right 3. Class 1: the upright 3 and the corner it touches, and 1 alone.
    assert found.area.tolist() == [4, 4, 3, 1]
    assert found.masks.sum(0).tolist() == (label != VOID).astype(int).tolist()
    assert found.masks[0, :2, :2].all()
    assert found.masks[1, 3, 3] and found.masks[1, 0, 2]
    assert found.score.tolist() == [1, 1, 1, 1]


def test_void_alone_gives_no_region():
    found = true_regions(np.full((3, 4), VOID, np.uint16))
    assert found.masks.shape == (0, 3, 4)
