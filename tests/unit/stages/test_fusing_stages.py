"""Depth and fused labels as stages, on a scene whose views all look from one place."""

import numpy as np
import pytest
from features_fixtures import FRAMES, HEIGHT, WIDTH, tiny_labels, write_regions
from test_feature_stages import TRAIN, Killed, check_resume, kill_after

from ovnerf.field.covisibility import DepthViews
from ovnerf.labels.fusing import class_profiles, own_shares, pixel_shares
from ovnerf.labels.rsr import RegionRanker
from ovnerf.labels.void import VOID
from ovnerf.regions.runlength import Regions
from ovnerf.runtime.errors import UserError
from ovnerf.stages import fuse_labels
from ovnerf.storage.stores import open_store, read, write_store


@pytest.fixture
def stores(tiny_scene, tmp_path):
    """Inputs of `fuse_labels`; the truth is every view's label, held-out views say lamp."""
    labels = tiny_labels()
    labels[[0, 10]] = 2
    every = list(range(FRAMES))
    depth = np.full((FRAMES, HEIGHT, WIDTH), 2, np.float32)
    write_store(tmp_path / "depth.zarr", "depth", {"distance": depth}, {"frames": every}, "d")
    about = {"frames": every, "classes": ["wall", "table", "lamp"]}
    write_store(tmp_path / "labels.zarr", "labels", {"clip": labels, "rsr": labels}, about, "l")
    write_regions(
        tmp_path / "regions.zarr", dict.fromkeys(every, np.zeros((0, HEIGHT, WIDTH), bool))
    )
    names = ("frames", "depth", "labels", "regions")
    return {name: tmp_path / f"{name}.zarr" for name in names}


def test_training_views_vote_and_held_out_views_do_not(stores, tmp_path, monkeypatch):
    def stage(out):
        return fuse_labels.run(**stores, out=out)

    group = check_resume(monkeypatch, tmp_path / "fused.zarr", stage, 2 * len(TRAIN))
    assert group.attrs["frames"] == TRAIN
    # No regions: every view's own label is a vote. The table covers columns 8 + f to 40 + f.
    nothing = np.zeros((0, HEIGHT, WIDTH), bool)
    first = voted(tiny_labels()[TRAIN], nothing, by_profiles=True)
    expected = voted([first] * len(TRAIN), nothing, by_profiles=False)
    assert (expected[30, [9, 11, 16, 42, 46]] == [0, 0, 1, 1, 0]).all()
    for slot in range(len(TRAIN)):
        assert (read(group, "label", slot) == expected).all()


def mean_of(shares):
    """Mean f64 (H W, C) of shares of views that all see the same pixels."""
    dense = [np.where(one.row[:, None] < 0, 0, one.table[one.row]) for one in shares]
    return np.mean(dense, axis=0)


def voted(label_maps, masks, by_profiles, own=None, classes=3):
    """Labels u16 (H, W) by the mean shares of views that all see the same pixels.

    Args:
        masks: regions (m, H, W) of every view.
        by_profiles: docs/method.md#fused-labels, step 4; else the greatest share.
        own: first labels that the regions' shares need the support of, where they do.
    """
    regions = mean_of(pixel_shares(labels, RegionRanker(masks), classes) for labels in label_maps)
    if own is not None:
        regions = regions * (mean_of(own_shares(labels, classes) for labels in own) + 0.02)
        regions /= regions.sum(1, keepdims=True)
    score = regions
    if by_profiles:
        own = mean_of(own_shares(labels, classes) for labels in label_maps)
        views = min(16, len(label_maps))  # so often are the same pixels seen
        found = class_profiles(
            *(np.tile(part, (views, 1)).astype(np.float32) for part in (regions, own))
        )
        score = regions @ np.log(found.regions).T + 0.3 * own @ np.log(found.own).T
        score += np.log(found.frequency) / 6
    label = np.where(regions.any(1), score.argmax(1), VOID)
    return label.astype(np.uint16).reshape(HEIGHT, WIDTH)


def test_fused_labels_vote_once_more_and_a_kill_costs_one_round_only(stores, tmp_path, monkeypatch):
    random = np.random.default_rng(3)
    labels = np.tile(np.arange(WIDTH) * 3 // WIDTH, (FRAMES, HEIGHT, 1)).astype(np.uint16)
    noisy = random.random(labels.shape) < 0.85
    labels[noisy] = random.integers(0, 3, noisy.sum())
    masks = np.zeros((40, HEIGHT, WIDTH), dtype=bool)
    for mask in masks:
        row, column = random.integers(0, HEIGHT - 6), random.integers(0, WIDTH - 6)
        mask[row : row + 6, column : column + 6] = True
    about = {"frames": list(range(FRAMES)), "classes": ["wall", "table", "lamp"]}
    write_store(tmp_path / "labels.zarr", "labels", {"clip": labels, "rsr": labels}, about, "r")
    write_regions(tmp_path / "regions.zarr", dict.fromkeys(range(FRAMES), masks))
    first = voted(labels[TRAIN], masks, by_profiles=True)
    second = voted([first] * len(TRAIN), masks, by_profiles=False)
    assert (first != second).mean() > 0.01
    assert (first != voted(labels[TRAIN], masks, by_profiles=False)).mean() > 0.005
    out = tmp_path / "fused.zarr"
    with monkeypatch.context() as patch:
        kill_after(patch, len(TRAIN) + 2)
        with pytest.raises(Killed):
            fuse_labels.run(**stores, out=out)
    with monkeypatch.context() as patch:
        done = kill_after(patch, FRAMES * 2)
        fuse_labels.run(**stores, out=out)
    assert len(done) == len(TRAIN) - 2
    assert {path.name for path in tmp_path.glob("fused*")} == {"fused.zarr"}
    for slot in range(len(TRAIN)):
        assert (read(open_store(out, "fused"), "label", slot) == second).all()


def test_regions_that_fit_badly_need_the_support_of_own_labels(stores, tmp_path):
    """Every region holds a leg of a table, two columns of eight, and more of the wall."""
    random = np.random.default_rng(5)
    truth = np.tile((np.arange(WIDTH) % 8 < 2).astype(np.uint16), (HEIGHT, 1))
    labels = np.tile(truth, (FRAMES, 1, 1))
    noisy = random.random(labels.shape) < 0.1
    labels[noisy] = random.integers(0, 3, noisy.sum())
    strip = np.tile(np.arange(WIDTH) // 8, (HEIGHT, 1))
    masks = np.stack([strip == number for number in range(WIDTH // 8)])
    about = {"frames": list(range(FRAMES)), "classes": ["wall", "table", "lamp"]}
    write_store(tmp_path / "labels.zarr", "labels", {"clip": labels, "rsr": labels}, about, "r")
    write_regions(tmp_path / "regions.zarr", dict.fromkeys(range(FRAMES), masks))
    told = fuse_labels.run(**stores, out=tmp_path / "fused.zarr")
    assert told["region_agreement"] < 0.92 * told["first_agreement"]
    assert "other" in told["warning"]
    first = voted(labels[TRAIN], masks, True, labels[TRAIN])
    second = voted([first] * len(TRAIN), masks, False, labels[TRAIN])
    fused = open_store(tmp_path / "fused.zarr", "fused")
    assert fused.attrs["agreement"]["regions"] == told["region_agreement"]
    for slot in range(len(TRAIN)):
        assert (read(fused, "label", slot) == second).all()
    assert (second == truth).mean() > 0.99
    heard_alone = voted(labels[TRAIN], masks, True)
    assert not (heard_alone == 1).any()


@pytest.mark.parametrize(
    ("first", "regions", "heard"),
    [
        (50.0, 46.0, fuse_labels.alone),
        (50.0, 45.9, fuse_labels.supported),
        (50.0, 80.0, fuse_labels.alone),
        (None, 80.0, fuse_labels.alone),
        (50.0, None, fuse_labels.alone),
    ],
)
def test_regions_are_heard_alone_unless_views_agree_less_by_them(first, regions, heard):
    assert fuse_labels.who_is_heard({"first": first, "regions": regions}) is heard


def test_profiles_are_taken_from_some_pixels_of_sixteen_evenly_spread_views(stores, monkeypatch):
    monkeypatch.setattr(fuse_labels, "PROFILE_PIXELS", HEIGHT * WIDTH // 3)
    slots = 18  # 8 and 17 are left out: the sixteen are at steps of 18/16, rounded down
    said = np.zeros(slots, dtype=np.uint16)
    said[[8, 17]], said[3] = 2, 1
    far = 2 * 1.5 ** np.arange(slots, dtype=np.float32)  # so that no view sees another's points
    views = DepthViews(
        np.tile(np.eye(4), (slots, 1, 1)),
        np.array([[40.0, 0, WIDTH / 2], [0, 40, HEIGHT / 2], [0, 0, 1]]),
        np.tile(far[:, None, None], (1, HEIGHT, WIDTH)),
    )
    regions = Regions(open_store(stores["regions"], "regions"))  # none in any frame
    voters = fuse_labels.Voters([1] * slots, views, regions, ["wall", "table", "lamp"])
    maps = [np.full((HEIGHT, WIDTH), label) for label in said]
    own = [own_shares(labels, 3) for labels in maps]
    pixels = fuse_labels.PROFILE_PIXELS
    expected = np.array([15 * pixels + 1, pixels + 1, 1]) / (16 * pixels + 3)
    np.testing.assert_allclose(
        voters.profiles(voters.shares(maps.__getitem__), own, fuse_labels.alone).frequency,
        expected,
        rtol=1e-12,
    )


def test_labels_of_frames_without_regions_are_refused(stores, tmp_path):
    write_regions(stores["regions"], {1: np.zeros((0, HEIGHT, WIDTH), bool)})
    with pytest.raises(UserError, match="holds no regions of frame 2"):
        fuse_labels.run(**stores, out=tmp_path / "fused.zarr")
