"""The simulated encoder: its text geometry and both dials."""

import numpy as np
import pytest

from ovnerf.config.features import CacheFeatures, Simulated
from ovnerf.encoders.simulated import (
    check_truth,
    class_shares,
    confused_classes,
    simulated_embeddings,
    simulated_text,
)
from ovnerf.labels.void import VOID
from ovnerf.runtime.errors import UserError
from ovnerf.stages import cache_features
from ovnerf.storage.stores import open_store, read


def dials(**changes):
    return Simulated(kind="simulated", **changes)


@pytest.mark.parametrize(("classes", "width", "tolerance"), [(20, 64, 1e-6), (56, 32, 0.02)])
def test_mean_pairwise_cosine_of_the_text(classes, width, tolerance):
    banks = simulated_text(classes, dials(width=width, text_cosine=0.7))
    rows = banks.bare
    assert rows.shape == (classes, width)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    cosine = (rows @ rows.T)[~np.eye(classes, dtype=bool)]
    assert abs(cosine.mean() - 0.7) < tolerance
    np.testing.assert_allclose(rows @ banks.blank, np.sqrt(0.7), atol=1e-6)
    assert np.array_equal(banks.ensemble, banks.bare)


def test_shares_by_hand():
    label = np.array([[0, 0, 1], [2, VOID, 1]], dtype=np.uint16)
    box = np.array([[0, 0, 3, 2], [1, 0, 3, 2], [1, 1, 2, 2]], dtype=np.int16)
    expected = [[2 / 6, 2 / 6, 1 / 6], [1 / 4, 2 / 4, 0], [0, 0, 0]]
    np.testing.assert_allclose(class_shares(label, box, 3), expected)


def test_clean_embedding_is_the_share_weighted_sum():
    settings = dials(width=8)
    text = simulated_text(3, settings).bare
    label = np.array([[0, 0, 1, VOID]], dtype=np.uint16)
    box = np.array([[0, 0, 4, 1], [3, 0, 4, 1]], dtype=np.int16)
    found = simulated_embeddings(label, box, 0, text, settings)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[0], (2 * text[0] + text[1]) / 4, atol=1e-6)
    assert not found[1].any()


def test_noise_length_is_relative_to_the_unit_embedding():
    settings = dials(width=64, noise=0.5)
    text = simulated_text(2, settings).bare
    label = np.zeros((4, 4), dtype=np.uint16)
    box = np.tile(np.array([[0, 0, 4, 4]], dtype=np.int16), (2000, 1))
    noise = simulated_embeddings(label, box, 0, text, settings) - text[0]
    assert abs(np.linalg.norm(noise, axis=1).mean() - 0.5) < 0.01
    assert np.abs(noise.mean(0)).max() < 0.01


def test_confusion_is_per_view_and_class_at_the_given_rate():
    settings = dials(confusion=0.3)
    drawn = np.stack([confused_classes(10, frame, settings) for frame in range(2000)])
    assert drawn.min() == 0 and drawn.max() == 9
    wrong = drawn != np.arange(10)
    np.testing.assert_allclose(wrong.mean(0), 0.3, atol=0.04)
    assert np.array_equal(drawn[7], confused_classes(10, 7, settings))
    # Each wrong class is equally likely: 0.3 / 9 of all draws.
    np.testing.assert_allclose((drawn[:, 0] == 4).mean(), 0.3 / 9, atol=0.015)


def test_confusion_in_all_views_is_the_same_in_each():
    settings = dials(confusion=0.3, confused_in="all_views")
    first = confused_classes(2000, 0, settings)
    assert all(np.array_equal(first, confused_classes(2000, frame, settings)) for frame in (1, 9))
    assert (first != np.arange(2000)).mean() == pytest.approx(0.3, abs=0.03)


def test_confusion_moves_every_window_of_the_view_alike():
    settings = dials(width=8, confusion=1.0)
    text = simulated_text(2, settings).bare
    label, box = np.zeros((2, 4), dtype=np.uint16), np.array([[0, 0, 2, 2], [2, 0, 4, 2]])
    found = simulated_embeddings(label, box, 3, text, settings)
    np.testing.assert_allclose(found, np.stack([text[1], text[1]]), atol=1e-3)


def test_one_class_cannot_be_confused():
    assert confused_classes(1, 0, dials(confusion=1.0)).tolist() == [0]


def test_scenes_without_labels_are_refused():
    with pytest.raises(UserError, match="no labelled pixel"):
        check_truth(np.full((1, 2, 2), VOID, dtype=np.uint16), 3, "truth.zarr")


def test_label_maps_of_cells_are_the_truth_without_noise(tmp_path, tiny_scene):
    frames, truth = tiny_scene
    out = tmp_path / "features.zarr"
    encoder = {"kind": "simulated", "width": 16, "cell": 4, "label_map": True}
    section = CacheFeatures.model_validate({"encoder": encoder})
    cache_features.run(frames=frames, out=out, settings=section, truth=truth)
    group = open_store(out, "features")
    assert group["embedding"].shape[1] == 12 * 16 and group.attrs["scales"] == [12]
    found, label = read(group, "label"), read(open_store(truth, "truth"), "label")[1:10]
    known = label != VOID
    assert (found[:9][known] == label[known]).mean() > 0.9
    inner = label[0, 28:, 12:40]  # rows of whole cells inside the table
    assert (found[0, 28:, 12:40] == inner).mean() > 0.9


def test_label_maps_need_cells():
    with pytest.raises(ValueError, match="`label_map` needs `cell`"):
        Simulated(kind="simulated", label_map=True)
