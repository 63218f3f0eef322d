"""Asking a run: from its folder to objects, files and pictures; what is loaded and marched when."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from asking_fixtures import CLASSES, DESCRIPTION, HEIGHT, TEXT, WIDTH, write_field, write_run
from matplotlib.figure import Figure
from PIL import Image
from pydantic import ValidationError

import ovnerf
from ovnerf.asking import answer_files, asker, run, views
from ovnerf.asking.report import rows, table
from ovnerf.asking.run import Run, find_run, open_run
from ovnerf.cli import main
from ovnerf.config.phrases import Phrase
from ovnerf.config.query import Query
from ovnerf.field import field as field_module
from ovnerf.geometry.camera import Camera
from ovnerf.runtime.errors import UserError
from ovnerf.storage.stores import write_store

FEW = {"min_points": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder in the layout of results, with points, and truth of its scene."""
    scene = tmp_path_factory.mktemp("results") / "demo/room"
    folder = write_run(scene)
    label = np.zeros((4, HEIGHT, WIDTH), dtype=np.uint16)
    label[:, 5:, 3:9] = 1
    names = {"names": ["a", "b", "c", "d"], "classes": CLASSES}
    write_store(scene / "truth.zarr", "truth", {"label": label}, names, "t")
    return folder


def test_a_class_is_where_its_label_is(made: Path) -> None:
    """The simulated encoder compares a class with the others, so relevancy above 0.5 is argmax."""
    opened = open_run(made, Query(**FEW))
    for index, name in enumerate(CLASSES):
        answer = opened.query(name)
        assert answer.negatives == tuple(other for other in CLASSES if other != name)
        np.testing.assert_array_equal(answer.relevancy > 0.5, opened.points.label == index)
        scores = TEXT @ opened.points.matrix @ opened.points.feature.T
        gap = scores[index] - np.delete(scores, index, 0).max(0)
        np.testing.assert_allclose(answer.relevancy, 1 / (1 + np.exp(-10 * gap)), atol=1e-5)
        chosen = {int(point) for one in answer.instances for point in one.index}
        assert chosen <= {*np.flatnonzero(answer.relevancy >= 0.5).tolist()}
        assert bool(chosen) == answer.found
    assert any(opened.query(name).found for name in CLASSES)


def test_points_of_another_class_belong_to_no_phrase_that_names_a_class(made: Path) -> None:
    opened = open_run(made, Query(**FEW))
    label = opened.points.label
    for words, own in ((("table",), label == 1), (("desk", "lamp", "wall"), label != 1)):
        np.testing.assert_array_equal(opened.asker.of_another_class(Phrase(words)), ~own)
    assert not opened.asker.of_another_class(Phrase(("desk",))).any()
    own = opened.asker.of_another_class(Phrase(("Table",)))
    np.testing.assert_array_equal(own, label != 1)
    settings = Query(threshold=0, **FEW)  # every point is like enough
    commonest = int(np.bincount(label).argmax())
    answer = open_run(made, settings).query(CLASSES[commonest])
    chosen = np.concatenate([one.index for one in answer.instances])
    assert (label[chosen] == commonest).all() and (answer.relevancy > 0).all()


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ([0, 0, 0, 0, 1, 1], 0.25),  # 0.9 and 0.8 are a wall's: the table has 0.3 and 0.2
        ([0, 0, 0, 0, 0, 1], 0.2),
        ([0, 0, 0, 0, 0, 0], 0.0),
    ],
)
def test_what_is_not_found_has_the_score_of_points_that_may_answer(
    made: Path, label: list[int], expected: float
) -> None:
    asked = open_run(made, Query(**FEW)).asker
    few = {name: getattr(asked.points, name)[:6] for name in ("xyz", "cell", "feature")}
    asked.points = replace(asked.points, label=np.uint16(label), **few)
    score = np.float32([0.9, 0.8, 0.1, 0.0, 0.3, 0.2])
    answer = asked.answer(Phrase(("table",)), score)
    assert not answer.found and answer.score == pytest.approx(expected)


def test_softmax_gives_each_point_to_one_phrase(made: Path) -> None:
    opened = open_run(made, Query(mode="softmax", **FEW))
    answers = opened.answers([Phrase((name,)) for name in CLASSES[:2]])
    shares = np.stack([answer.relevancy for answer in answers])
    assert ((shares > 0).sum(0) <= 1).all()
    np.testing.assert_array_equal((shares > 0).any(0), opened.points.label < 2)


def test_what_is_asked_for_is_no_rival_of_itself(made: Path) -> None:
    opened = open_run(made, Query(mode="softmax", **FEW))
    phrases = [Phrase(("table",), ("wall", "lamp")), Phrase(("lamp", "light"))]
    assert opened.asker.rivals(phrases) == ["wall"]


def test_where_all_words_are_asked_each_competes_with_the_other_phrases_alone(made: Path) -> None:
    opened = open_run(made, Query(mode="softmax", **FEW))
    phrases = [Phrase((name,)) for name in CLASSES]
    assert opened.asker.rivals(phrases) == []
    shares = np.stack([answer.relevancy for answer in opened.answers(phrases)])
    np.testing.assert_array_equal(shares.argmax(0), opened.points.label)
    assert shares.dtype == np.float32 and ((shares > 0).sum(0) == 1).all()
    (alone,) = opened.answers([Phrase(tuple(CLASSES))])
    assert (alone.relevancy == 1).all() and alone.negatives == ()


def test_a_phrase_among_the_negatives_does_not_compete_with_itself(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asker, "has_text_encoder", lambda description: True)
    opened = open_run(made, Query(negatives=("object", "stuff"), **FEW))
    opened.asker.vectors.known = {"object": TEXT[0], "Object": TEXT[0], "stuff": TEXT[1]}
    for word in ("object", "Object"):
        answer = opened.query(word)
        assert answer.negatives == ("stuff",)
        gap = (TEXT[0] - TEXT[1]) @ opened.points.matrix @ opened.points.feature.T
        np.testing.assert_allclose(answer.relevancy, 1 / (1 + np.exp(-10 * gap)), atol=1e-5)
    assert opened.query("stuff | stuff, object").negatives == ("object",)
    assert opened.asker.negatives(Phrase(("table",))) == ("object", "stuff")


def test_negatives_of_the_settings_are_cleaned_as_phrases_are() -> None:
    assert Query(negatives=(" things ", "cafe\u0301")).negatives == ("things", "caf\u00e9")
    for word, told in [
        ("", "word 2: found an empty word"),
        (" \t", "word 2: found an empty word"),
        ("stu\u200bff", r"word 2: found U\+200B \(ZERO WIDTH SPACE\)"),
    ]:
        with pytest.raises(ValidationError, match=told):
            Query(negatives=("object", word))


def test_own_negatives_and_synonyms_count(made: Path) -> None:
    opened = open_run(made, Query(**FEW))
    both = opened.query("table; lamp").relevancy
    assert opened.query("table; lamp").negatives == ("wall",)
    alone = [opened.query(f"{name} | wall").relevancy for name in ("table", "lamp")]
    np.testing.assert_allclose(both, np.maximum(*alone), atol=1e-6)


def test_the_same_words_with_other_negatives_are_told_apart(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers"
    assert main(["query", str(made), "table", "table | wall", "--out", str(out)]) == 0
    lines = list(csv.DictReader((out / "answers.csv").open(encoding="utf-8")))
    assert list(dict.fromkeys(row["phrase"] for row in lines)) == ["table", "table | wall"]
    scores = list(csv.DictReader((out / "query_metrics.csv").open(encoding="utf-8")))
    assert {row["phrase"] for row in scores} == {"table", "table | wall", ""}
    assert (out / "table.ply").exists() and (out / "table-2.ply").exists()
    softmax = open_run(made, Query(mode="softmax", **FEW))
    same = [Phrase(("table",)), Phrase(("Table",), ("wall",))]
    with pytest.raises(UserError, match=r"'Table \| wall': found the same words in 'table'"):
        softmax.answers(same)


def test_a_word_is_the_same_in_capitals(made: Path) -> None:
    opened = open_run(made, Query(**FEW))
    answer, small = opened.query("TABLE; Lamp"), opened.query("table; lamp")
    assert answer.negatives == ("wall",)
    np.testing.assert_array_equal(answer.relevancy, small.relevancy)
    softmax = open_run(made, Query(mode="softmax", **FEW))
    assert softmax.asker.rivals([Phrase(("Wall",)), Phrase(("lamp",))]) == ["table"]


def test_the_closing_line_lists_phrases_without_truth(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`door` is asked for with a made-up vector; the scene has no such class."""
    plain = asker.Vectors.class_vector
    monkeypatch.setattr(
        asker.Vectors,
        "class_vector",
        lambda self, word: TEXT[0] if word == "door" else plain(self, word),
    )
    arguments = ["query", str(made), "--out", str(tmp_path / "answers")]
    assert main([*arguments, "Table", "door"]) == 0
    closing = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert closing["not_scored"] == {"truth": ["door"]}
    assert main([*arguments, "Table"]) == 0
    assert "not_scored" not in json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_new_phrase_marches_no_ray_and_encodes_once(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marched = []
    plain = field_module.RadianceField.march
    monkeypatch.setattr(
        field_module.RadianceField, "march", lambda *a, **k: marched.append(1) or plain(*a, **k)
    )
    opened = open_run(made, Query(**FEW))
    view = opened.render(DESCRIPTION.pose[0])
    assert marched
    marched.clear()
    encoded: list[str] = []
    monkeypatch.setattr(asker, "has_text_encoder", lambda description: True)

    def encode(prompts: list[str]) -> torch.Tensor:
        encoded.extend(prompts)
        return torch.from_numpy(TEXT[[len(prompt) % 3 for prompt in prompts]])

    opened.asker.vectors.open_encoder = lambda description: encode
    first = opened.query("something")
    again = opened.query("something else; something")
    scores = opened.asker.view_scores([first.phrase, again.phrase], view)
    assert [score.shape for score in scores] == [(HEIGHT, WIDTH)] * 2
    assert encoded == [*Query().negatives, "something", "something else"]
    assert not marched


def test_a_view_scores_0_where_a_ray_meets_nothing(made: Path) -> None:
    opened = open_run(made, Query(**FEW))
    view = opened.render(DESCRIPTION.pose[0])
    blind = views.View(view.rgb, view.depth, np.zeros_like(view.opacity), view.feature)
    (score,) = opened.asker.view_scores([Phrase(("wall",))], blind)
    assert not score.any() and score.dtype == np.float32


def test_a_render_is_what_the_field_renders(made: Path) -> None:
    """Depth in the unit of the poses: the camera is 1.5 from the centre of a box 1.5 wide."""
    view = open_run(made).render(DESCRIPTION.pose[0])
    assert view.rgb.shape == (HEIGHT, WIDTH, 3) and view.feature.shape == (HEIGHT, WIDTH, 10)
    seen = view.opacity > 0.5
    assert (view.depth[seen] > 0.5).all() and (view.depth[seen] < 3).all()


def test_a_camera_far_from_the_field_sees_it(made: Path) -> None:
    """30 metres back, 60 in scene units; the box is about 3 of these wide."""
    pose = DESCRIPTION.pose[0].copy()
    pose[:3, 3] -= 30 * pose[:3, 2]
    description = open_run(made).description
    camera = description.camera(pose)
    zoomed = Camera(
        camera.pose,
        camera.intrinsics * torch.tensor([[20.0, 1, 1], [1, 20, 1], [1, 1, 1]]),
        HEIGHT,
        WIDTH,
    )
    view = views.render_camera(open_run(made).field, description, zoomed)
    seen = view.opacity[3:6, 4:8]
    assert (seen > 0.5).any() and (abs(view.depth[3:6, 4:8][seen > 0.5] - 31.5) < 1.5).all()


def test_a_frame_that_is_not_there_is_one_message(made: Path) -> None:
    opened = open_run(made)
    with pytest.raises(UserError, match=r"safetensors: found no frame 'bb' among its 4") as told:
        opened.render_frame("bb")
    assert "did you mean 'b'?" in str(told.value.hint)
    view = opened.render_frame("b")
    np.testing.assert_array_equal(view.rgb, opened.render(DESCRIPTION.pose[1]).rgb)


def test_points_are_made_where_they_are_missing(made: Path, tmp_path: Path) -> None:
    """A folder that holds the field's file alone can be asked."""
    shutil.copy(made / "semantics/field.safetensors", tmp_path)
    opened = open_run(tmp_path, Query(**FEW))
    assert len(opened.points) > 0 and (tmp_path / "points.zarr").is_dir()
    opened.query("table")


def test_points_of_another_run_are_refused(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "points.zarr", tmp_path / "points.zarr")
    write_field(tmp_path / "semantics")
    opened = open_run(tmp_path)
    changed = opened.description.__class__(**{**vars(opened.description), "digest": "other"})
    with pytest.raises(UserError, match=r"points\.zarr: made from another field than"):
        run.open_points(tmp_path / "points.zarr", changed)


def test_the_command_prints_a_table_and_writes_the_files(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "answers"
    arguments = ["query", str(made), "--out", str(out), "--settings", '{"min_points": 2}']
    assert main([*arguments, "table", "lamp | wall"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[:4] == ["phrase", "found", "how", "sure"]
    assert "where: x y z (metres)" in printed[0] and printed[1].startswith("table")
    closing = json.loads(printed[-1])
    assert (closing["phrases"], closing["views"]) == (2, 1)
    content = json.loads((out / "answers.json").read_text())
    assert (content["frame"], content["units"], content["up"]) == ("world", "metres", [0, 0, 1])
    first, second = content["answers"]
    assert (first["files"], second["files"], second["negatives"]) == ("table", "lamp", ["wall"])
    opened = open_run(made, Query(**FEW))
    answer = opened.query("table")
    assert first["found"] == answer.found
    for told, one in zip(first["instances"], answer.instances, strict=True):
        assert told["centroid"] == one.centroid.tolist()
        assert told["upright_box"]["quaternion_xyzw"] == one.box.quaternion.tolist()
    lines = list(csv.DictReader((out / "answers.csv").open()))
    assert sum(row["phrase"] == "table" for row in lines) == max(1, len(answer.instances))
    picture = np.asarray(Image.open(out / "table/a.png").convert("RGB"))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
    cloud = trimesh.load(out / "table.ply")
    np.testing.assert_array_equal(cloud.vertices, opened.points.xyz)
    np.testing.assert_array_equal(cloud.colors[:, :3], opened.points.rgb)
    data = cloud.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(data["score"].ravel(), answer.relevancy)
    scores = list(csv.DictReader((out / "query_metrics.csv").open()))
    assert {row["phrase"] for row in scores} == {"table", ""}  # no view shows a lamp
    assert {"iou@0.5", "lerf_loc", "pixel_ap"} <= {row["protocol"] for row in scores}


def test_pictures_and_scores_of_softmax_have_no_threshold_of_relevancy(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A threshold of 0.9 changes nothing: a pixel that a phrase won belongs to it."""
    shown: list[tuple[np.ndarray, float]] = []
    plain = answer_files.score_picture

    def seen(rgb: np.ndarray, score: np.ndarray, threshold: float, *others: Any) -> Figure:
        shown.append((score, threshold))
        return plain(rgb, score, threshold, *others)

    monkeypatch.setattr(answer_files, "score_picture", seen)
    settings = json.dumps({"mode": "softmax", "threshold": 0.9, "min_points": 2})
    out = tmp_path / "answers"
    assert main(["query", str(made), *CLASSES, "--out", str(out), "--settings", settings]) == 0
    assert len(shown) == 3
    for score, threshold in shown:
        np.testing.assert_array_equal(score >= threshold, score > 0)
    opened = open_run(made)
    view = opened.render_frame("a")
    cosine = (TEXT @ opened.points.matrix) @ view.feature.reshape(HEIGHT * WIDTH, -1).T
    won = (cosine.argmax(0) == 1).reshape(HEIGHT, WIDTH) & (view.opacity > 0)
    true = np.zeros((HEIGHT, WIDTH), dtype=bool)
    true[5:, 3:9] = True
    lines = list(csv.DictReader((out / "query_metrics.csv").open(encoding="utf-8")))
    (row,) = (one for one in lines if (one["phrase"], one["protocol"]) == ("table", "iou@won"))
    assert float(row["value"]) == pytest.approx(
        100 * (won & true).sum() / (won | true).sum(), abs=1e-3
    )
    assert not any(one["protocol"] == "iou@0.5" for one in lines)


def test_a_query_that_is_asked_to_end_does_so_after_a_view(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, seen = run.render_view, []

    def render(*arguments: Any) -> views.View:
        seen.append(1)
        os.kill(os.getpid(), signal.SIGTERM)
        return plain(*arguments)

    monkeypatch.setattr(run, "render_view", render)
    assert main(["query", str(made), "table", "--out", str(tmp_path / "answers")]) == 75
    assert "query: stopped as asked" in capsys.readouterr().err
    assert seen == [1] and not list(tmp_path.iterdir())


def test_coordinates_are_as_fine_as_the_points_whatever_the_unit(made: Path) -> None:
    """The room in a unit of ten kilometres: a voxel is 0.000033 wide, the table's x 0.0000612."""
    asked = open_run(made, Query(**FEW)).asker
    (answer,) = asked.answers([Phrase((CLASSES[int(np.bincount(asked.points.label).argmax())],))])
    small = replace(answer.instances[0], centroid=np.array([6.123456e-5, -2.5e-5, 1.0]))
    answer = replace(answer, instances=[small])
    (row,) = rows([answer], 3.3e-5)
    assert (row["x"], row["y"], row["z"]) == ("0.0000612", "-0.0000250", "1.0000000")
    (row,) = rows([answer], 0.033)
    assert (row["x"], row["z"]) == ("0.0001", "1.0000")
    asked.points = replace(asked.points, voxel_size=3.3e-5)
    assert " 0.00006 -0.00003 1.00000 " in table(asked, [answer])[1]


def test_the_table_names_what_is_not_found(made: Path) -> None:
    opened = open_run(made, Query(min_points=10_000))
    lines = table(opened.asker, opened.answers([Phrase(("table",))]))
    assert len(lines) == 2 and lines[1].split()[:2] == ["table", "no"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "found no phrase"),
        (["sky"], "phrase 'sky': the encoder `simulated`"),
        (["table | sky"], "phrase 'sky': the encoder `simulated`"),
        (["  "], "found an empty phrase"),
        (["| wall"], "found only negatives"),
        (["table", "table"], "again"),
        (["wall; table; lamp"], "phrase 'wall; table; lamp': found nothing to compare it with"),
        (["table | Table"], "phrase 'table': found nothing to compare it with but its own words"),
        (["table", "--phrases", "p.txt"], "more than one place"),
        (["table", "--labels", "labels"], "found no --out"),
    ],
)
def test_bad_questions_end_in_one_message(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str], told: str
) -> None:
    out = [] if "--labels" in arguments else ["--out", str(tmp_path / "answers")]
    assert main(["query", str(made), *arguments, *out]) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("error:") == 1
    assert not (tmp_path / "answers").exists()


def test_a_folder_without_a_field_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"found no trained field, expected semantics/field"):
        open_run(tmp_path)


def test_a_run_keeps_its_neighbours_however_it_is_named(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = made.parents[2] / "truth.zarr"
    (tmp_path / "link").symlink_to(made)
    monkeypatch.chdir(made / "semantics")
    for name in (made, Path(".."), Path("../../seed0"), tmp_path / "link"):
        found = find_run(name).truth
        assert found is not None and found.samefile(truth)


def test_a_phrase_that_is_too_long_is_named(made: Path) -> None:
    vectors = asker.Vectors(DESCRIPTION, {}, "bare")

    def too_long(prompts: list[str]) -> torch.Tensor:
        raise UserError("class list: found a prompt of 99 tokens, expected at most 77", "shorten")

    vectors.encode = too_long
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asker, "has_text_encoder", lambda description: True)
        with pytest.raises(UserError, match=r"^phrase 'x+': found a prompt of 99 tokens") as told:
            vectors["x" * 300]
    assert told.value.hint == "use fewer words"


def test_importing_the_package_is_cheap_and_opens_runs(made: Path) -> None:
    assert isinstance(ovnerf.open_run(made), Run)
    program = "import sys, ovnerf; print({'torch', 'numpy', 'ovnerf.asking'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
