import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ovnerf.training.batches import CropBatches, PixelBatches, crop_side, generator, permute
from ovnerf.training.semantic_data import labelled_photos


@given(count=st.integers(1, 700), key=st.integers(0, 2**40))
def test_permute_is_a_bijection(count, key):
    shuffled = permute(np.arange(count), count, key)
    assert np.array_equal(np.sort(shuffled), np.arange(count))


def test_permute_mixes_and_depends_on_the_key():
    index = np.arange(100_000)
    one, other = permute(index, 100_000, 1), permute(index, 100_000, 2)
    assert (one == other).mean() < 0.01
    assert abs(np.corrcoef(index, one)[0, 1]) < 0.02
    neighbours = abs(np.diff(one)).mean() / 100_000
    assert neighbours == pytest.approx(1 / 3, abs=0.02)  # as for independent draws


def unevenness(frames, size, batch, batches, seeds):
    """Variance of the pixels per frame over that of drawing without replacement."""
    count, drawn = frames * size[0] * size[1], batch * batches
    deviations = []
    for seed in range(seeds):
        source = PixelBatches(frames, *size, batch, seed)
        frame = torch.cat([source.at(step)[0] for step in range(batches)])
        deviations.append(torch.bincount(frame, minlength=frames) - drawn / frames)
    hypergeometric = drawn / frames * (1 - 1 / frames) * (count - drawn) / (count - 1)
    return torch.stack(deviations).square().mean().item() / hypergeometric


@pytest.mark.parametrize(
    ("frames", "size", "batch", "batches"),
    [
        (36, (120, 160), 1024, 60),  # a demo room
        (36, (120, 160), 1024, 6),
        (20, (48, 64), 64, 60),
        (71, (240, 320), 1024, 60),
    ],
)
def test_batches_are_as_even_over_frames_as_random_ones(frames, size, batch, batches):
    seeds = 30
    # The mean of n squared deviations differs from its expectation by sqrt(2 / n); n counts frames
    # and seeds, less one frame, because the counts of a seed have a fixed sum.
    tolerance = 4 * (2 / (seeds * (frames - 1))) ** 0.5
    assert abs(unevenness(frames, size, batch, batches, seeds) - 1) < tolerance < 0.25


def test_batches_are_as_even_over_rows_and_columns():
    """A chi-square of pixel rows and columns of 20 batches in a demo room; 95 % lie in 4 sigma."""
    source = PixelBatches(36, 120, 160, 1024, 0)
    _, row, column = torch.cat([torch.stack(source.at(step)) for step in range(20)], 1)
    for place, length in ((row, 120), (column, 160)):
        expected = 20 * 1024 / length
        found = (torch.bincount(place, minlength=length) - expected).square().sum() / expected
        freedom = length - 1
        assert abs(found.item() - freedom) < 4 * (2 * freedom) ** 0.5


def test_neighbouring_seeds_and_epochs_draw_other_batches():
    """Two batches of 1024 among 691 200 pixels share 1.5 pixels by chance."""
    one = PixelBatches(36, 120, 160, 1024, 0)
    epoch = 36 * 120 * 160 // 1024
    other = PixelBatches(36, 120, 160, 1024, 1)
    first = set(map(tuple, torch.stack(one.at(0)).T.tolist()))
    for batch in (one.at(epoch), other.at(0), other.at(1)):
        assert len(first & set(map(tuple, torch.stack(batch).T.tolist()))) < 8


def test_an_epoch_visits_every_pixel_once():
    batches = PixelBatches(images=3, height=4, width=5, batch=12, seed=0)
    seen = [torch.stack(batches.at(step)) for step in range(5)]
    pixels = torch.cat(seen, 1).T.tolist()
    assert len({tuple(pixel) for pixel in pixels}) == 60
    assert torch.stack(batches.at(5)).tolist() != seen[0].tolist()
    assert torch.equal(torch.stack(batches.at(2)), seen[2])


def test_crops_use_every_frame_before_any_again():
    crops = CropBatches(images=6, height=40, width=56, side=16, crops=2, grid=8, seed=1)
    frames, rows, columns = (
        torch.cat(part) for part in zip(*map(crops.at, range(30)), strict=True)
    )
    for epoch in frames.view(-1, 6):
        assert sorted(epoch.tolist()) == list(range(6))
    assert set(rows.tolist()) == {0, 8, 16, 24}
    assert set(columns.tolist()) == {0, 8, 16, 24, 32, 40}


def test_crop_side_of_the_method():
    assert crop_side(480, 640, 0.53) == 256
    assert crop_side(120, 160, 0.53) == 64
    assert crop_side(10, 12, 0.53) == 8


def test_generators_of_different_purposes_differ():
    draws = [
        torch.rand(1, generator=generator(*key)).item()
        for key in [(0, "jitter", 0), (0, "jitter", 1), (1, "jitter", 0), (0, "order", 0)]
    ]
    assert len(set(draws)) == 4


@pytest.mark.parametrize(("count", "share", "labelled"), [(90, 0.7, 63), (9, 0.8, 7), (1, 0.1, 1)])
def test_a_share_of_the_photos_is_labelled(count: int, share: float, labelled: int) -> None:
    """0.7 x 90 is a little less than 63 in binary numbers."""
    found = labelled_photos(count, share, 0)
    assert len(found) == labelled and len(set(found.tolist())) == labelled
