"""Run-length masks: exact round trip, and small enough to keep."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numcodecs import Zstd

from ovnerf.regions.runlength import Regions, decode, encode, encode_all
from ovnerf.storage.stores import open_store, write_store


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    share=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_round_trip(height, width, share, seed):
    mask = np.random.default_rng(seed).random((height, width)) < share
    coded = encode(mask)
    assert coded.dtype == np.uint8
    assert np.array_equal(decode(coded, mask.shape), mask)


def test_runs_by_hand():
    # Row by row, background first. One character per run, "0" + length; from the fourth run on
    # minus the run two before.
    assert encode(np.array([[0, 1, 1, 0], [0, 0, 1, 1]], dtype=bool)).tobytes() == b"1230"
    assert encode(np.ones((1, 3), dtype=bool)).tobytes() == b"03"
    assert encode(np.zeros((1, 3), dtype=bool)).tobytes() == b"3"


def blobs(count, height, width, seed=0):
    """Wavy ellipses whose areas spread as SAM's do: most small, a few large."""
    random = np.random.default_rng(seed)
    masks = np.zeros((count, height, width), dtype=bool)
    for mask in masks:
        radius = min(height, width) * np.exp(random.normal(-2.7, 0.8))
        cy, cx = random.uniform(0, height), random.uniform(0, width)
        reach = 5 * radius  # no wave goes further
        top, left = max(0, int(cy - reach)), max(0, int(cx - reach))
        window = mask[top : int(cy + reach) + 1, left : int(cx + reach) + 1]
        y, x = np.indices(window.shape) + np.array([top, left])[:, None, None]
        angle = np.arctan2(y - cy, x - cx)
        wave = sum(
            random.normal(0, 0.08) * np.sin(n * angle + random.uniform(0, 6)) for n in range(2, 9)
        )
        window[...] = np.hypot(y - cy, (x - cx) / random.uniform(0.6, 1.8)) < radius * (1 + wave)
    return masks


def test_a_view_of_150_regions_stays_under_20_kb():
    masks = blobs(150, 480, 640)
    assert 0.005 < masks.mean() < 0.05
    arrays = encode_all(masks)
    assert sum(len(Zstd(level=3).encode(array)) for array in arrays.values()) < 20_000


def test_store_of_ragged_frames(tmp_path):
    masks = {3: blobs(4, 20, 30), 5: np.zeros((0, 20, 30), dtype=bool), 8: blobs(2, 20, 30, 1)}
    parts = [encode_all(each) for each in masks.values()]
    arrays = {}
    for name in ("runs", "run_bytes"):
        arrays[name] = np.concatenate([part[name] for part in parts])
        arrays[f"{name}_offset"] = np.cumsum([0] + [len(part[name]) for part in parts])
    path = tmp_path / "regions.zarr"
    write_store(path, "regions", arrays, {"frames": list(masks), "shape": [20, 30]}, "blobs")
    regions = Regions(open_store(path, "regions"))
    for frame, expected in masks.items():
        assert np.array_equal(regions.masks(frame), expected)
