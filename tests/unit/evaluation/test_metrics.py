"""Scores against numbers worked out by hand, scikit-learn and torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, jaccard_score
from sklearn.metrics import confusion_matrix as reference_matrix
from torchmetrics.functional.classification import multiclass_jaccard_index
from torchmetrics.functional.image import structural_similarity_index_measure

from ovnerf.evaluation.metrics import (
    class_iou,
    confusion_matrix,
    image_scores,
    mean_scores,
    multi_label_scores,
    pooled_scores,
    psnr,
    ssim,
)
from ovnerf.labels.void import VOID


def labels(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint16)


def test_worked_check_of_method_9_1():
    # Classes a=0, b=1. Truth a a b void; prediction a VOID b anything: two of three right,
    # IoU a = 1/2, b = 1, and the predicted void enters with 0.
    matrix = confusion_matrix(labels(0, 0, 1, VOID), labels(0, VOID, 1, 1), 2)
    assert matrix.tolist() == [[1, 0, 1], [0, 1, 0]]
    assert image_scores(matrix) == pytest.approx((0.5, 2 / 3))
    # Pooled: void is no class, so the mean is over a and b.
    assert pooled_scores(matrix) == pytest.approx((0.75, 2 / 3))


def test_void_truth_is_free():
    matrix = confusion_matrix(labels(0, 0, 1, VOID), labels(0, 0, 1, 0), 2)
    assert image_scores(matrix) == (1.0, 1.0)
    assert pooled_scores(matrix) == (1.0, 1.0)


def test_class_predicted_but_absent_counts_zero_and_absent_class_is_dropped():
    # Truth a a a b, prediction a a c b of classes a b c d: IoU a = 2/3, b = 1, c = 0, d dropped.
    matrix = confusion_matrix(labels(0, 0, 0, 1), labels(0, 0, 2, 1), 4)
    assert np.allclose(class_iou(matrix), [2 / 3, 1, 0, np.nan], equal_nan=True)
    assert image_scores(matrix) == pytest.approx(((2 / 3 + 1 + 0) / 3, 0.75))


def test_ids_beyond_the_class_list_are_void():
    assert confusion_matrix(labels(0, 1), labels(2, 9), 2).tolist() == [[0, 0, 1], [0, 0, 1]]


def test_images_without_a_labelled_pixel_are_left_out():
    empty = confusion_matrix(labels(VOID, VOID), labels(0, 1), 2)
    assert image_scores(empty) is None
    assert pooled_scores(empty) is None
    assert mean_scores([None, (0.5, 1.0), (1.0, 0.0)]) == (0.75, 0.5)
    assert mean_scores([None]) is None


def test_protocols_differ_as_stated():
    # Image 1: all right on class a. Image 2: truth b b, prediction a b.
    first = confusion_matrix(labels(0, 0), labels(0, 0), 2)
    second = confusion_matrix(labels(1, 1), labels(0, 1), 2)
    # per image: mean of 1 and (0 + 1/2) / 2; pooled: a = 2/3, b = 1/2.
    assert mean_scores([image_scores(first), image_scores(second)]) == pytest.approx((0.625, 0.75))
    assert pooled_scores(first + second) == pytest.approx((7 / 12, 0.75))


maps = st.integers(2, 6).flatmap(
    lambda classes: st.tuples(
        st.just(classes),
        st.lists(
            st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1)),
            min_size=1,
            max_size=60,
        ),
    )
)


@settings(max_examples=60)
@given(maps)
def test_agrees_with_scikit_learn_and_torchmetrics(case):
    classes, pairs = case
    truth, predicted = (labels(*column) for column in zip(*pairs, strict=True))
    matrix = confusion_matrix(truth, predicted, classes)
    everything = list(range(classes))
    assert (matrix[:, :-1] == reference_matrix(truth, predicted, labels=everything)).all()
    present = sorted(set(truth.tolist()) | set(predicted.tolist()))
    expected = jaccard_score(truth, predicted, labels=present, average="macro", zero_division=0)
    assert pooled_scores(matrix)[0] == pytest.approx(expected)
    assert image_scores(matrix)[0] == pytest.approx(expected)
    assert pooled_scores(matrix)[1] == pytest.approx(accuracy_score(truth, predicted))
    per_class = multiclass_jaccard_index(
        torch.tensor(predicted.astype(int)),
        torch.tensor(truth.astype(int)),
        num_classes=classes,
        average="none",
    )
    assert np.allclose(class_iou(matrix)[present], per_class.numpy()[present])


@settings(max_examples=40)
@given(maps, st.integers(1, 5))
def test_matrices_add_up(case, cut):
    classes, pairs = case
    truth, predicted = (labels(*column) for column in zip(*pairs, strict=True))
    parts = [
        confusion_matrix(truth[part], predicted[part], classes)
        for part in (slice(None, cut), slice(cut, None))
    ]
    assert (sum(parts) == confusion_matrix(truth, predicted, classes)).all()


def test_psnr_by_hand():
    black = np.zeros((12, 12, 3), np.uint8)
    assert psnr(black, black) == float("inf")
    # An error of 51 of 255 everywhere: MSE 0.04, 13.979 dB.
    assert psnr(black, black + 51) == pytest.approx(13.9794, abs=1e-4)


def test_ssim_agrees_with_torchmetrics():
    generator = np.random.default_rng(0)
    first = generator.integers(0, 256, (40, 33, 3), dtype=np.uint8)
    second = np.clip(first + generator.normal(0, 30, first.shape), 0, 255).astype(np.uint8)
    one, other = (torch.from_numpy(image / 255).permute(2, 0, 1)[None] for image in (first, second))
    _, everywhere = structural_similarity_index_measure(
        one, other, data_range=1.0, return_full_image=True
    )
    # Where the window fits: torchmetrics' mean also counts windows that reach over the edge.
    expected = float(everywhere[..., 5:-5, 5:-5].mean())
    assert ssim(first, second) == pytest.approx(expected, abs=1e-9)
    assert ssim(first, first) == pytest.approx(1.0)


def test_ssim_by_hand():
    # Even images a = 0.2 and b = 0.4 have no variance: (2 ab + c1) / (a^2 + b^2 + c1).
    dark = np.full((12, 12, 3), 51, np.uint8)
    assert ssim(dark, 2 * dark) == pytest.approx(0.1601 / 0.2001, abs=1e-9)


def test_multi_label_by_hand():
    # Classes a b c d; pixels of a, of a and b, of none, of b; predicted a, b, c and nothing.
    # Jaccard: a 1/2, b 1/2, c 0, d 0 (absent from both). Right: the first pixel alone.
    belongs = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]], dtype=bool)[None]
    assert multi_label_scores(belongs, labels(0, 1, 2, VOID)[None]) == pytest.approx((0.25, 0.25))


@settings(max_examples=50)
@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_multi_label_against_scikit_learn(classes, seed):
    random = np.random.default_rng(seed)
    belongs = random.random((4, 5, classes)) < random.random(classes)
    predicted = random.integers(0, classes, (4, 5)).astype(np.uint16)
    truth, chosen = belongs.reshape(-1, classes), np.eye(classes, dtype=bool)[predicted.ravel()]
    miou, accuracy = multi_label_scores(belongs, predicted)
    each = [
        jaccard_score(truth[:, index], chosen[:, index], zero_division=0)
        for index in range(classes)
    ]
    assert miou == pytest.approx(np.mean(each))
    assert accuracy == pytest.approx(accuracy_score(truth, chosen))
