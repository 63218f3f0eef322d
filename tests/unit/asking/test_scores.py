"""Scores of queries: by hand, against scikit-learn, and LERF-OVS labels as they are published."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from asking_fixtures import DESCRIPTION, HEIGHT, RUN, WIDTH
from scene_formats import write_colmap
from sklearn.metrics import average_precision_score, roc_auc_score

from ovnerf.asking.description import read_description
from ovnerf.asking.lerf_ovs import read_lerf_labels
from ovnerf.asking.scores import (
    area_under_curve,
    average_precision,
    not_scored,
    score_rows,
    view_scores,
)
from ovnerf.asking.targets import (
    Target,
    Targets,
    boxes_of,
    label_target,
    targets_of_lerf,
    targets_of_truth,
)
from ovnerf.config.phrases import Phrase
from ovnerf.labels.void import VOID
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.frames import read_frames
from ovnerf.scenes.layouts import list_scene
from ovnerf.storage.stores import write_store


@pytest.mark.parametrize("levels", [3, 1000])
def test_precision_and_area_are_scikit_learns(levels: int) -> None:
    random = np.random.default_rng(2)
    truth = random.random(400) < 0.2
    score = (random.integers(0, levels, 400) / levels + 0.2 * truth).astype(np.float32)
    assert average_precision(truth, score) == pytest.approx(average_precision_score(truth, score))
    assert area_under_curve(truth, score) == pytest.approx(roc_auc_score(truth, score))
    assert average_precision(np.zeros(4, dtype=bool), score[:4]) == 0


def test_boxes_of_a_mask() -> None:
    mask = np.zeros((5, 6), dtype=bool)
    mask[0, 0] = mask[1, 1] = mask[4, 3:5] = True  # the first two touch at a corner
    assert boxes_of(mask) == ((0, 0, 2, 2), (3, 4, 5, 5))


def test_protocols_of_a_view_by_hand() -> None:
    mask = np.zeros((60, 80), dtype=bool)
    mask[40:60, 60:80] = True
    counted = np.ones_like(mask)
    counted[40:60, 70:80] = False
    target = Target(mask, counted, boxes_of(mask))
    score = np.full((60, 80), 0.2, dtype=np.float32)
    score[40:60, 60:80] = 0.6
    score[0, 0] = 0.9  # one wrong pixel is highest, but not of the means
    found = view_scores(score, target)
    assert (found["lerf_loc"], found["langsplat_loc"]) == (0, 1)
    assert found["iou@0.5"] == pytest.approx(200 / 201)
    score[0, 0] = 0.2
    assert view_scores(score, target)["lerf_loc"] == 1
    assert view_scores(score, target)["iou@0.5"] == 1


def test_in_softmax_the_pixels_that_a_phrase_won_count() -> None:
    """It won three pixels with shares below 0.5, of which two are true; a fourth is true, too."""
    mask = np.array([[True, True, True, False]])
    target = Target(mask, np.ones_like(mask), boxes_of(mask))
    found = view_scores(np.float32([[0.3, 0.4, 0.0, 0.3]]), target, softmax=True)
    assert found["iou@won"] == 2 / 4 and "iou@0.5" not in found


def test_the_map_of_langsplat_by_a_slow_mean() -> None:
    random = np.random.default_rng(3)
    score = random.random((40, 50)).astype(np.float32)
    mask = random.random((40, 50)) < 0.5
    padded = np.pad(score, ((15, 14), (15, 14)), mode="reflect")
    smooth = np.array(
        [[padded[y : y + 30, x : x + 30].mean() for x in range(50)] for y in range(40)]
    )
    mixed = (score + smooth) / 2
    chosen = (mixed - mixed.min()) / (mixed.max() - mixed.min()) > 0.7
    target = Target(mask, np.ones_like(mask), boxes_of(mask))
    expected = (chosen & mask).sum() / (chosen | mask).sum()
    assert view_scores(score, target)["langsplat_iou"] == pytest.approx(expected, abs=2e-3)


def test_rows_of_two_views() -> None:
    """`lamp` is in view a alone and scores higher there; `sky` is no class and gets no row."""
    label = {"a": np.uint16([[0, 0], [2, VOID]]), "b": np.uint16([[0, 0], [0, 0]])}
    classes, lamp, sky = ["wall", "table", "lamp"], Phrase(("lamp", "light")), Phrase(("sky",))
    targets = Targets("truth", ("a", "b"), lambda name, it: label_target(label[name], classes, it))
    maps = {
        "a": [np.float32([[0.1, 0.4], [0.7, 1.0]]), np.ones((2, 2), "f4")],
        "b": [np.float32([[0.1, 0.3], [0.2, 0.6]]), np.ones((2, 2), "f4")],
    }
    rows = score_rows([lamp, sky], targets, maps)
    found = {(row["phrase"], row["view"], row["protocol"]): row["value"] for row in rows}
    assert {key[0] for key in found} == {"lamp; light", ""}
    assert {key[1] for key in found} == {"a", ""}
    assert found["lamp; light", "a", "lerf_loc"] == 0  # the highest pixel, a void one, is outside
    assert found["lamp; light", "a", "iou@0.5"] == 100
    assert found["lamp; light", "", "pixel_ap"] == 100  # 0.7 is above all that count
    assert found["", "", "existence_auc"] == 100  # 0.7 in a, 0.6 in b
    assert found["", "", "pixel_ap"] == 100
    assert not_scored([lamp, sky], targets) == ["sky"]
    large = label_target(label["a"], classes, Phrase(("LAMP",)))
    assert large is not None and large.mask.tolist() == [[False, False], [True, False]]


def test_true_labels_are_those_of_their_own_class_list(tmp_path: Path) -> None:
    """The list was sorted after the training: 0 is lamp now, which was 2; `door` is new."""
    label = np.zeros((4, HEIGHT, WIDTH), dtype=np.uint16)
    label[0, 0, 0], label[0, 0, 1] = 3, VOID
    about = {"names": list("abcd"), "classes": ["lamp", "table", "wall", "door"]}
    write_store(tmp_path / "truth.zarr", "truth", {"label": label}, about, "t")
    targets = targets_of_truth(tmp_path / "truth.zarr", DESCRIPTION)
    assert targets.frames == ("a",)
    pixels = {}
    for word in about["classes"]:
        target = targets.at("a", Phrase((word,)))
        assert target is not None and target.counted.sum() == HEIGHT * WIDTH - 1
        pixels[word] = target.mask.sum()
    assert pixels == {"lamp": HEIGHT * WIDTH - 2, "table": 0, "wall": 0, "door": 1}


def write_labels(folder: Path, **changes: object) -> Path:
    """A file as LERF-OVS has it: an 8 x 6 photo `a`, a cup in its lower right corner."""
    found = {
        "category": "coffee cup",
        "group": 1,
        "segmentation": [[4, 3], [7, 3], [7, 5], [4, 5]],
        "area": 12.0,
        "bbox": [4.0, 3.0, 8.0, 6.0],
        "iscrowd": False,
        **changes,
    }
    folder.mkdir()
    info = {"name": "a.jpg", "width": 8, "height": 6, "depth": 3}
    (folder / "a.json").write_text(json.dumps({"info": info, "objects": [found]}))
    return folder


def test_lerf_labels_are_scaled_to_the_view(tmp_path: Path) -> None:
    (found,) = read_lerf_labels(write_labels(tmp_path / "labels"), (12, 16))["a"]
    assert found.category == "coffee cup" and found.box == (8, 6, 16, 12)
    expected = np.zeros((12, 16), dtype=bool)
    expected[6:, 8:] = True
    np.testing.assert_array_equal(found.mask, expected)
    targets = targets_of_lerf(tmp_path / "labels", DESCRIPTION)
    target = targets.at("a", Phrase(("mug", "coffee cup")))
    assert target is not None and target.mask.sum() == 30  # 4.5 of 9 rows: 5; 6 of 12 columns
    assert targets.at("a", Phrase(("mug",))) is None
    same = targets.at("a", Phrase(("Coffee  Cup",)))
    assert same is not None and (same.mask == target.mask).all() and same.boxes == target.boxes


def test_lerf_labels_of_photos_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="8x6, which has not the shape of the photos"):
        read_lerf_labels(write_labels(tmp_path / "labels"), (16, 12))


def test_hidden_files_are_no_labels(tmp_path: Path) -> None:
    folder = write_labels(tmp_path / "labels")
    (folder / "._a.json").write_bytes(b"\0\5\x16\7")
    assert list(read_lerf_labels(folder, (12, 16))) == ["a"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"bbox": [1, 2, 3]}, "cannot reshape"),
        ({"segmentation": [[1, 2], [3, 4]]}, "fewer than three corners"),
        ({"segmentation": "none"}, "could not convert"),
        ({"segmentation": [[4, 3], [9, 3], [9, 5]]}, "leaves the photo of 8x6"),
        ({"segmentation": [[0.5, 0.5], [0.9, 0.5], [0.9, 0.9]]}, "smaller than two pixels"),
        ({"bbox": [4, 3, 3, 3]}, "not x0, y0, x1, y1"),  # x, y, width, height
        ({"bbox": [0, 0, 3, 3]}, "beside its outline"),
    ],
)
def test_other_labels_are_refused(tmp_path: Path, changes: dict, told: str) -> None:
    write_labels(tmp_path / "labels", **changes)
    with pytest.raises(UserError, match=rf"a\.json: found .*{told}.*expected LERF-OVS"):
        read_lerf_labels(tmp_path / "labels", (6, 8))


def test_labels_of_other_frames_are_refused(tmp_path: Path) -> None:
    folder = write_labels(tmp_path / "labels")
    (folder / "a.json").rename(folder / "frame_00041.json")
    with pytest.raises(UserError, match="labels of a frame 'frame_00041'"):
        targets_of_lerf(folder, DESCRIPTION)
    with pytest.raises(UserError, match=r"found no \*\.json file"):
        read_lerf_labels(tmp_path, (6, 8))


def test_a_lerf_ovs_scene_is_a_colmap_scene_whose_labels_fit(tmp_path: Path) -> None:
    """`teatime/` and `label/teatime/`, as the benchmark's archive has them; half-size views."""
    labels = tmp_path / "label" / "teatime"
    labels.parent.mkdir()
    write_labels(labels)
    (labels / "a.json").rename(labels / "frame_00003.json")
    scene = write_colmap(tmp_path / "teatime", model="SIMPLE_PINHOLE", name="frame_{:05d}.jpg")
    shutil.move(scene / "classes.txt", tmp_path / "things.txt")
    listing = list_scene(scene, "colmap", classes=str(tmp_path / "things.txt"))
    frames = read_frames(listing, None, None, 10)
    height, width = frames.rgb.shape[1:3]
    run = RUN | {"names": list(frames.names), "height": height, "width": width}
    run |= {"split": frames.split.tolist(), "pose": frames.pose.tolist()}
    description = read_description({"run": run, "digest": "field-digest"}, Path("field"))
    targets = targets_of_lerf(labels, description)
    assert frames.names[3] == "frame_00003" and targets.frames == ("frame_00003",)
    found = targets.at("frame_00003", Phrase(("coffee cup",)))
    assert found is not None and found.mask.shape == (height, width)
    assert found.boxes == ((width / 2, height / 2, width, height),)
    assert found.mask[-1, -1] and not found.mask[0].any()
