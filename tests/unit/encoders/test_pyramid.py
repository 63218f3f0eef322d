"""The CLIP pyramid against hand-worked counts and a literal dense map."""

import numpy as np
import pytest
import torch
from features_fixtures import scores_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ovnerf.encoders import pyramid
from ovnerf.encoders.pyramid import (
    PyramidFeatures,
    class_scores,
    window_boxes,
    window_grid,
    window_grids,
    window_scales,
)
from ovnerf.runtime.errors import UserError
from ovnerf.storage.stores import open_store, write_store


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (640, 480, [(96, 24, 17, 24), (68, 17, 26, 35), (48, 12, 37, 51)]),
        (648, 484, [(96, 24, 18, 24), (69, 17, 26, 36), (48, 12, 38, 51)]),
        (504, 378, [(75, 18, 18, 25), (54, 13, 26, 36), (37, 9, 39, 53)]),
    ],
)
def test_grids_of_the_paper_sizes(width, height, expected):
    grids = window_grids(height, width, (5, 7, 10), 0.25, 0.25)
    assert [(grid.side, grid.stride, grid.rows, grid.columns) for grid in grids] == expected


def test_stride_is_at_least_one_pixel_and_small_images_are_refused():
    assert window_grid(12, 16, 5, 0.25, 0.25).stride == 1
    with pytest.raises(UserError, match="scale 10 needs images of at least 10 pixels"):
        window_grid(8, 16, 10, 0.25, 0.25)


@given(
    height=st.integers(12, 60),
    width=st.integers(12, 60),
    stride=st.sampled_from([0.1, 0.25, 0.5, 1.0]),
    jitter=st.sampled_from([0.0, 0.25, 0.6]),
    frame=st.integers(0, 3),
)
def test_boxes_contain_their_nominal_window_and_cover_the_image(
    height, width, stride, jitter, frame
):
    grids = window_grids(height, width, (3, 7), stride, jitter)
    boxes, scale = window_boxes(height, width, grids, 5, frame), window_scales(grids)
    assert boxes.dtype == np.int16
    for k, grid in enumerate(grids):
        own = boxes[scale == k]
        assert len(own) == grid.count
        covered = np.zeros((height, width), dtype=int)
        for number, (x0, y0, x1, y1) in enumerate(own):
            row, column = divmod(number, grid.columns)
            left, top = column * grid.stride, row * grid.stride
            assert max(left - grid.jitter, 0) <= x0 <= left
            assert max(top - grid.jitter, 0) <= y0 <= top
            right, bottom = left + grid.side, top + grid.side
            assert min(right, width) <= x1 <= min(right + grid.jitter, width)
            assert min(bottom, height) <= y1 <= min(bottom + grid.jitter, height)
            covered[y0:y1, x0:x1] += 1
        assert covered.min() >= 1


def test_jitter_depends_on_seed_and_frame_only():
    grids = window_grids(48, 64, (3, 5), 0.25, 0.25)
    first = window_boxes(48, 64, grids, 1, 2)
    assert np.array_equal(first, window_boxes(48, 64, grids, 1, 2))
    assert not np.array_equal(first, window_boxes(48, 64, grids, 1, 3))
    assert not np.array_equal(first, window_boxes(48, 64, grids, 2, 2))


def test_jitter_takes_every_value_up_to_and_including_its_limit():
    (grid,) = window_grids(480, 640, (10,), 0.25, 0.25)
    boxes = window_boxes(480, 640, (grid,), 0, 0).reshape(grid.rows, grid.columns, 4)
    outward = np.arange(5, 45) * grid.stride - boxes[5:30, 5:45, 0]
    assert set(np.unique(outward)) == set(range(grid.jitter + 1)) == set(range(13))


def dense_means(embedding, box, scale, height, width):
    """Every pixel's mean embedding by painting whole windows: (K, H, W, D)."""
    count = int(scale.max()) + 1
    total = np.zeros((count, height, width, embedding.shape[1]))
    hits = np.zeros((count, height, width, 1))
    for vector, (x0, y0, x1, y1), k in zip(embedding, box, scale, strict=True):
        total[k, y0:y1, x0:x1] += vector
        hits[k, y0:y1, x0:x1] += 1
    return total / hits


def clip_store(path, height, width, scales, stride, jitter, frames, channels=6):
    """A `features` store of random embeddings."""
    grids = window_grids(height, width, scales, stride, jitter)
    scale = window_scales(grids)
    random = np.random.default_rng(3)
    shape = (len(frames), len(scale), channels)
    arrays = {
        "embedding": random.standard_normal(shape).astype(np.float16),
        "box": np.stack([window_boxes(height, width, grids, 0, frame) for frame in frames]),
        "scale": scale,
    }
    attributes = {
        "frames": frames,
        "shape": [height, width],
        "scales": list(scales),
        "stride": stride,
        "jitter": jitter,
    }
    write_store(path, "features", arrays, attributes, "random")
    return open_store(path, "features"), arrays


@pytest.mark.parametrize(
    ("height", "width", "scales", "stride", "jitter"),
    [
        (48, 64, (3, 5, 8), 0.25, 0.25),
        (37, 53, (2, 7), 0.5, 0.25),
        (30, 41, (5,), 0.3, 0.6),
        (20, 20, (1, 10), 1.0, 0.0),
    ],
)
def test_means_of_every_pixel_match_the_dense_map(tmp_path, height, width, scales, stride, jitter):
    frames = [1, 4, 5]
    path = tmp_path / "features.zarr"
    group, arrays = clip_store(path, height, width, scales, stride, jitter, frames)
    features = PyramidFeatures(group)
    grid = np.stack(np.meshgrid(range(3), range(height), range(width), indexing="ij"), -1)
    slot, row, column = torch.from_numpy(grid.reshape(-1, 3)).unbind(1)
    found = features.means(slot, column, row).numpy()
    dense = [
        dense_means(arrays["embedding"][slot].astype(float), box, arrays["scale"], height, width)
        for slot, box in enumerate(arrays["box"])
    ]
    expected = np.stack(dense).transpose(0, 2, 3, 1, 4).reshape(found.shape)
    assert np.abs(found - expected).max() < 1e-5 * np.ptp(expected)
    unit = features.lookup(slot, column, row)
    torch.testing.assert_close(unit.norm(dim=-1), torch.ones(unit.shape[:2]))


def test_lookup_of_shuffled_pixels_and_of_a_subset_of_frames(tmp_path):
    group, _ = clip_store(tmp_path / "features.zarr", 48, 64, (3, 5), 0.25, 0.25, [0, 2, 7])
    whole, part = PyramidFeatures(group), PyramidFeatures(group, frames=[7, 2])
    slot, of_part = torch.tensor([2, 1, 1, 2]), torch.tensor([0, 1, 1, 0])
    column, row = torch.tensor([0, 63, 31, 5]), torch.tensor([47, 0, 20, 9])
    found = whole.means(slot, column, row)
    assert torch.equal(found, part.means(of_part, column, row))
    assert torch.equal(found.flip(0), whole.means(slot.flip(0), column.flip(0), row.flip(0)))
    with pytest.raises(UserError, match=r"no features of frames \[1\]"):
        PyramidFeatures(group, frames=[1, 2])


@pytest.mark.parametrize("tile_bytes", [1, 20_000, 10**9])
def test_class_scores_match_the_dense_map_for_any_tile(tmp_path, monkeypatch, tile_bytes):
    height, width = 37, 53
    group, arrays = clip_store(tmp_path / "features.zarr", height, width, (3, 7), 0.25, 0.25, [4])
    text = torch.nn.functional.normalize(torch.randn(5, 6), dim=1)
    dense = dense_means(
        arrays["embedding"][0].astype(float), arrays["box"][0], arrays["scale"], height, width
    )
    unit = dense / np.linalg.norm(dense, axis=-1, keepdims=True)
    expected = np.einsum("khwd,cd->kchw", unit, text.double().numpy())
    monkeypatch.setattr(pyramid, "TILE_BYTES", tile_bytes)
    found = scores_of(PyramidFeatures(group), 0, text).numpy()
    assert np.abs(found - expected).max() < 1e-5 * np.ptp(expected)


def test_class_scores_of_two_windows_by_hand():
    # Two windows overlap in columns 1-2; the middle feature is the mean of (2, 0) and (0, 2).
    embedding = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    box = torch.tensor([[0, 0, 3, 1], [1, 0, 4, 1]])
    scores = class_scores(embedding, box, torch.tensor([0, 0]), torch.eye(2), 1, 4)
    half = 0.5**0.5
    expected = torch.tensor([[[[1.0, half, half, 0.0]], [[0.0, half, half, 1.0]]]])
    torch.testing.assert_close(scores, expected)


def test_zero_embeddings_score_zero():
    zero = torch.zeros(1, 2)
    scores = class_scores(zero, torch.tensor([[0, 0, 2, 2]]), torch.zeros(1), torch.eye(2), 2, 2)
    assert torch.equal(scores, torch.zeros(1, 2, 2, 2))


@settings(max_examples=10)
@given(seed=st.integers(0, 99))
def test_class_scores_do_not_depend_on_window_order(seed):
    grids = window_grids(24, 32, (3,), 0.25, 0.25)
    box = torch.from_numpy(window_boxes(24, 32, grids, 0, 0))
    scale = torch.from_numpy(window_scales(grids))
    generator = torch.Generator().manual_seed(seed)
    embedding = torch.randn(len(box), 4, generator=generator).half()
    order = torch.randperm(len(box), generator=generator)
    text = torch.eye(4)
    first = class_scores(embedding, box, scale, text, 24, 32)
    assert torch.equal(first, class_scores(embedding[order], box[order], scale, text, 24, 32))


def test_cells_are_interpolated_by_hand(tmp_path):
    """Cells of 4 pixels, (1, 0) left and (0, 1) right: column 3 lies at (3.5 - 2) / 4 = 0.375."""
    write_store(
        tmp_path / "features.zarr",
        "features",
        {
            "embedding": np.array([[[2, 0], [0, 1]]], dtype="f2"),
            "box": np.array([[[0, 0, 4, 4], [4, 0, 8, 4]]], dtype="i2"),
            "scale": np.zeros(2, dtype="u1"),
        },
        {"frames": [0], "shape": [4, 8], "scales": [1], "stride": 1.0, "jitter": 0.0},
        "cells",
    )
    features = PyramidFeatures(open_store(tmp_path / "features.zarr", "features"))
    column, zero = torch.tensor([0, 3, 5, 7]), torch.zeros(4, dtype=torch.long)
    found = features.interpolated(zero, column, zero)
    share = torch.tensor([0, 0.375, 0.875, 1])
    torch.testing.assert_close(found, torch.stack([1 - share, share], -1))
