"""Objects: groups against scipy.ndimage, boxes of known boxes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ovnerf.asking.instances import find_instances, groups, horizontal_axes, upright_box
from ovnerf.asking.voxels import keys_of

UP = np.array([0.0, 0.0, 1.0])


@pytest.mark.parametrize("share", [0.03, 0.08, 0.3])
def test_groups_are_those_of_a_dense_grid(share: float) -> None:
    grid = np.random.default_rng(1).random((14, 13, 12)) < share
    cell = np.argwhere(grid) - 6
    assert (np.diff(keys_of(cell)) > 0).all()
    label, count = ndimage.label(grid, np.ones((3, 3, 3)))
    found = list(groups(cell.astype(np.int32), 1))
    assert len(found) == count and sum(map(len, found)) == len(cell)
    for group in found:
        assert len({label[tuple(place)] for place in cell[group] + 6}) == 1
    large = [group for group in found if len(group) >= 3]
    assert [g.tolist() for g in groups(cell.astype(np.int32), 3)] == [g.tolist() for g in large]
    assert not list(groups(np.zeros((0, 3), dtype=np.int32), 1))


def corners(size: list[float], rotation: Rotation, centre: np.ndarray) -> np.ndarray:
    """The eight corners of a turned box, and points inside it."""
    unit = np.stack(np.meshgrid([-0.5, 0, 0.5], [-0.5, 0.5], [-0.5, 0.5], indexing="ij"), -1)
    return rotation.apply(unit.reshape(-1, 3) * size) + centre


@pytest.mark.parametrize("degrees", [0, 17, 45, 90, 133])
@pytest.mark.parametrize("up", [UP, np.array([0, -1.0, 0]), np.array([0.6, 0, 0.8])])
def test_the_box_of_an_upright_box_is_itself(degrees: float, up: np.ndarray) -> None:
    first, second = horizontal_axes(up)
    frame = Rotation.from_matrix(np.stack([first, second, up], 1))
    rotation = frame * Rotation.from_euler("z", degrees, degrees=True)
    points = corners([2.0, 0.5, 1.2], rotation, np.array([3.0, -2, 1]))
    box = upright_box(points.T, up)
    np.testing.assert_allclose(box.centre, [3, -2, 1], atol=1e-5)
    np.testing.assert_allclose(box.size, [2.0, 0.5, 1.2], atol=1e-5)
    # The quaternion turns the box's own axes into the world's: its corners are the points'.
    own = Rotation.from_quat(box.quaternion).inv().apply(points - box.centre)
    np.testing.assert_allclose(np.abs(own).max(0), box.size / 2, atol=1e-5)
    np.testing.assert_allclose(Rotation.from_quat(box.quaternion).apply([0, 0, 1]), up, atol=1e-12)


def test_boxes_of_points_on_a_line_and_of_one_point() -> None:
    line = np.array([[0, 0, 0], [1, 1, 0], [2, 2, 0.0]])
    box = upright_box(line.T, UP)
    np.testing.assert_allclose(box.size, [8**0.5, 0, 0], atol=1e-6)
    np.testing.assert_allclose(box.centre, [1, 1, 0], atol=1e-6)
    alone = upright_box(np.array([[3.0], [4], [5]]), UP)
    assert alone.size.tolist() == [0, 0, 0] and alone.centre.tolist() == [3, 4, 5]


def test_instances_by_hand() -> None:
    """Two rows of voxels with a gap, and a single voxel that is too small."""
    cell = np.array([[0, 0, k] for k in range(10)] + [[0, 5, k] for k in range(20)] + [[9, 9, 9]])
    xyz = cell + 0.5
    score = np.full(len(cell), 0.6, dtype=np.float32)
    score[:10] = np.linspace(0.5, 0.95, 10)  # top decile: one point
    score[12:14] = 0.8, 0.9  # of 20 points: these two
    chosen = np.arange(len(cell))
    found = find_instances(xyz, cell.astype(np.int32), score, chosen, 2, UP)
    assert [len(one.index) for one in found] == [10, 20]
    assert [one.score for one in found] == pytest.approx([0.95, 0.85])
    assert found[1].centroid.tolist() == [0.5, 5.5, 10.0]
    assert found[1].surface.tolist() == [0.5, 5.5, 9.5]
    assert (found[1].low.tolist(), found[1].high.tolist()) == ([0.5, 5.5, 0.5], [0.5, 5.5, 19.5])
    assert found[1].index.tolist() == [*range(10, 30)]
    assert not find_instances(xyz, cell.astype(np.int32), score, chosen[:0], 2, UP)


def test_boxes_leave_out_the_outermost_points_and_fragments_are_no_objects() -> None:
    """A plate of 10 x 10 voxels, a bridge of 2 on it, 10 voxels and 11 voxels apart from it."""
    plate = [[x, y, 0] for x in range(10) for y in range(10)]
    rows = [*plate, [9, 9, 1], [9, 9, 2], *([40, 0, k] for k in range(10))]
    rows += [[60, 0, k] for k in range(11)]
    cell = np.array(rows, dtype=np.int32)
    score = np.where(np.arange(len(cell)) < 102, 0.7, 0.6).astype(np.float32)
    found = find_instances(cell.astype(float), cell, score, np.arange(len(cell)), 2, UP)
    assert [len(one.index) for one in found] == [102, 11]  # 10 < a tenth of 102
    # Two of 102 points are left out at either end; at the others' ends there are ten.
    assert (found[0].low.tolist(), found[0].high.tolist()) == ([0, 0, 0], [9, 9, 0])
    np.testing.assert_allclose(sorted(found[0].box.size), [0, 9, 9], atol=1e-5)
    assert found[1].high.tolist() == [60, 0, 10]  # of so few none is
