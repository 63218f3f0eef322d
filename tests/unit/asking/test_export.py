"""Files of a run for other programs, each read back by another reader than ours."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import trimesh
from asking_fixtures import (
    CLASSES,
    DESCRIPTION,
    HEIGHT,
    TEXT,
    WIDTH,
    asked_field,
    write_field,
    write_run,
)
from pycocotools.coco import COCO
from safetensors import SafetensorError, safe_open

from ovnerf.asking import cloud_files, label_files, mesh
from ovnerf.asking.label_files import LabelMaps
from ovnerf.asking.mesh import Mesh, write_mesh_glb, write_mesh_ply
from ovnerf.asking.run import open_run
from ovnerf.asking.text import made_again
from ovnerf.cli import main
from ovnerf.evaluation.figures import palette
from ovnerf.field.rendering import render_labels, view_weights
from ovnerf.labels.patches import without_small_patches
from ovnerf.labels.void import VOID
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.nerfstudio.listing import list_files
from ovnerf.scenes.nerfstudio.reader import READER
from ovnerf.storage.stores import write_store

PLAIN = ["cloud", "features", "cameras", "labels"]


def make_run(scene: Path, **changes: object) -> Path:
    """A run folder in the layout of results, with points, and frames of its scene."""
    folder = write_run(scene, **changes)
    rgb = np.random.default_rng(0).integers(0, 256, (4, HEIGHT, WIDTH, 3), dtype=np.uint8)
    write_store(scene / "frames.zarr", "frames", {"rgb": rgb}, {"names": list("abcd")}, "f")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("results") / "demo/room")


@pytest.fixture(scope="module")
def exported(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything but the mesh, labels of all views."""
    out = tmp_path_factory.mktemp("taken") / "exported"
    settings = json.dumps({"products": PLAIN, "views": "all"})
    assert main(["export", str(made), "--out", str(out), "--settings", settings]) == 0
    return out


def test_the_cloud_is_the_points(made: Path, exported: Path) -> None:
    points = open_run(made).points
    cloud = trimesh.load(exported / "cloud.ply")
    np.testing.assert_allclose(cloud.vertices, points.xyz, atol=1e-3 * points.voxel_size)
    np.testing.assert_array_equal(cloud.colors[:, :3], points.rgb)
    data = cloud.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(data["label"].ravel(), points.label)
    np.testing.assert_array_equal(data["views"].ravel(), points.views)
    told = data["instance"].ravel()
    np.testing.assert_array_equal(told, cloud_files.objects_of_labels(points))
    normal = np.stack([data[name].ravel() for name in ("nx", "ny", "nz")], 1)
    np.testing.assert_array_equal(normal, points.normal)
    cosine = np.sort((TEXT @ points.matrix) @ points.feature.T, axis=0)
    expected = 1 / (1 + np.exp(-10 * (cosine[-1] - cosine[-2])))
    np.testing.assert_allclose(data["confidence"].ravel(), expected, atol=1e-5)
    header = (exported / "cloud.ply").read_bytes().partition(b"end_header")[0].decode().splitlines()
    assert "comment frame: world, unit: metres" in header
    assert [line for line in header if "comment class" in line] == [
        f"comment class {index} {name}" for index, name in enumerate(CLASSES)
    ]
    told = json.loads((exported / "classes.json").read_text())
    assert [one["name"] for one in told["classes"]] == CLASSES and told["void"] == VOID


def test_objects_are_groups_of_one_label_that_touch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_files, "LEAST_POINTS", 2)
    cell = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 0, 3], [5, 0, 0], [5, 1, 1], [9, 9, 9]])
    label = np.array([1, 1, 0, 0, 1, 1, 0], dtype=np.uint16)
    points = type("Few", (SimpleNamespace,), {"__len__": lambda self: 7})(
        label=label, cell=cell.astype(np.int32)
    )
    # The smaller label comes first; the last point is alone.
    found = cloud_files.objects_of_labels(points)
    np.testing.assert_array_equal(found, [1, 1, 0, 0, 2, 2, -1])


def test_coordinates_are_double_where_floats_would_move_them() -> None:
    near = np.array([[0.1, 2.3, -4.5]])
    assert cloud_files.stored_coordinates(near, 0.01).dtype == np.float32
    far = near + np.array([500_000.0, 5_000_000.0, 0.0])  # a national grid
    np.testing.assert_array_equal(cloud_files.stored_coordinates(far, 0.01), far)


def test_the_note_beside_the_features_says_how_to_read_them(
    made: Path,
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    points = open_run(made).points
    with safe_open(exported / "points.safetensors", "numpy") as file:
        about = json.loads(file.metadata()["about"])
        feature, matrix = file.get_tensor("feature"), file.get_tensor("matrix")
        np.testing.assert_array_equal(file.get_tensor("xyz"), points.xyz)
        np.testing.assert_array_equal(file.get_tensor("label"), points.label)
    assert (about["units"], about["classes"]) == ("metres", CLASSES)
    np.testing.assert_allclose(np.linalg.norm(feature @ matrix.T, axis=1), 1, atol=2e-3)
    # Who may read one file of an export may read all of them, the one of safetensors as well.
    assert (exported / "points.safetensors").stat().st_mode == (
        exported / "points.txt"
    ).stat().st_mode
    note = (exported / "points.txt").read_text()
    assert len(note.splitlines()) == 10
    monkeypatch.chdir(exported)
    example = tmp_path / "example.py"
    lines = [line[4:] for line in note.splitlines() if line.startswith("    ")]
    example.write_text("\n".join(lines))
    runpy.run_path(str(example))
    like = points.feature @ (points.matrix.T @ TEXT[0])
    assert capsys.readouterr().out.strip() == str(points.xyz[like.argmax()])


def test_a_full_disk_is_told_by_its_exit_code(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(cloud_files, "save_file", full)
    settings = '{"products": ["features"]}'
    out = tmp_path / "exported"
    assert main(["export", str(made), "--out", str(out), "--settings", settings]) == 74
    said = capsys.readouterr().err
    assert "points.safetensors: No space left on device\n  hint: free some space" in said
    assert list(tmp_path.iterdir()) == []


def test_the_cameras_are_a_scene_that_our_reader_reads(made: Path, exported: Path) -> None:
    listing = list_files(exported)
    assert listing.names == DESCRIPTION.names
    np.testing.assert_allclose(READER.poses(listing), DESCRIPTION.pose, atol=1e-6)
    read = READER.intrinsics(listing, WIDTH, HEIGHT)
    np.testing.assert_allclose(read, DESCRIPTION.intrinsics, atol=1e-6)
    photos = np.random.default_rng(0).integers(0, 256, (4, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for frame, path in enumerate(listing.images):
        np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], photos[frame])
    told = json.loads((exported / "transforms.json").read_text())
    assert told["ply_file_path"] == "cloud.ply"
    assert told["test_filenames"] == ["images/a.png"] and len(told["train_filenames"]) == 3


def test_labels_are_what_the_field_renders(made: Path, exported: Path) -> None:
    field = asked_field()
    for frame, name in enumerate(DESCRIPTION.names):
        view = view_weights(field.radiance, DESCRIPTION.camera(DESCRIPTION.pose[frame]))
        expected = render_labels(field, view, torch.from_numpy(TEXT), VOID).numpy()
        label = cv2.imread(str(exported / f"labels/{name}.png"), cv2.IMREAD_UNCHANGED)
        assert label.dtype == np.uint16
        np.testing.assert_array_equal(label, expected.reshape(HEIGHT, WIDTH))
        colour = cv2.imread(str(exported / f"labels_colour/{name}.png"))[..., ::-1]
        known = label != VOID
        np.testing.assert_array_equal(colour[known], palette(3)[label[known]])


def rendered(frame: int, text: np.ndarray) -> np.ndarray:
    """The label map of a frame among text vectors, by the field's own rendering."""
    field = asked_field()
    view = view_weights(field.radiance, DESCRIPTION.camera(DESCRIPTION.pose[frame]))
    found = render_labels(field, view, torch.from_numpy(text), VOID).numpy()
    return found.reshape(HEIGHT, WIDTH).astype(np.uint16)


def write_views(folder: Path, **about: object) -> np.ndarray:
    """`views.zarr` of a run that holds frame 0 alone, with noise for labels; returns these."""
    label = np.random.default_rng(1).integers(0, 3, (1, HEIGHT, WIDTH)).astype(np.uint16)
    told = {"frames": [0], "classes": CLASSES, "semantics": "field-digest", **about}
    write_store(folder / "views.zarr", "views", {"label": label}, told, "v")
    return label[0]


def test_labels_are_the_scored_ones_where_there_are_such(tmp_path: Path) -> None:
    """Frame 0 is in the store; the others are made by its settings, so small patches go."""
    folder, out = make_run(tmp_path / "room"), tmp_path / "out"
    share = 4.5 / (HEIGHT * WIDTH)
    scored = write_views(folder, settings={"text_bank": "bare", "least_patch": share})
    settings = json.dumps({"products": ["labels"], "views": "all"})
    assert main(["export", str(folder), "--out", str(out), "--settings", settings]) == 0
    label = [cv2.imread(str(out / f"labels/{name}.png"), cv2.IMREAD_UNCHANGED) for name in "abcd"]
    np.testing.assert_array_equal(label[0], scored)
    plain = [rendered(frame, TEXT) for frame in (1, 2, 3)]
    for found, whole in zip(label[1:], plain, strict=True):
        np.testing.assert_array_equal(found, without_small_patches(whole, 4.5))
    assert any((found != whole).any() for found, whole in zip(label[1:], plain, strict=True))


def test_a_blank_prompt_that_wins_is_void(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store asks for it, or, where there is none, the training had it.

    Its vector is twice that of the wall, so it wins where the wall would.
    """
    folder = make_run(tmp_path / "one")
    write_views(folder, frames=[], settings={"blank_prompt": True})
    text = replace(made_again(DESCRIPTION), blank=2 * TEXT[0])
    monkeypatch.setattr(label_files, "class_text", lambda description, features: text)
    whole = rendered(1, TEXT)
    expected = np.where(whole == 0, VOID, whole)
    assert 0 < (whole == 0).sum() < whole.size
    trained = make_run(tmp_path / "other", blank_prompt=True)
    for run in (folder, trained):
        np.testing.assert_array_equal(LabelMaps(open_run(run)).of(1), expected)


def test_views_of_another_field_are_refused_and_those_of_an_older_version_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = make_run(tmp_path / "room")
    label = np.zeros((1, HEIGHT, WIDTH), dtype=np.uint16)
    write_store(folder / "views.zarr", "views", {"label": label}, {"frames": [0]}, "v")
    np.testing.assert_array_equal(LabelMaps(open_run(folder)).of(0), rendered(0, TEXT))
    assert "views.zarr: not used for labels" in capsys.readouterr().err
    shutil.rmtree(folder / "views.zarr")
    write_views(folder, semantics="another", settings={})
    with pytest.raises(UserError, match=r"views\.zarr: made from another field than"):
        LabelMaps(open_run(folder)).of(0)


def test_coco_masks_are_the_label_images(exported: Path) -> None:
    coco = COCO(exported / "coco.json")
    assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == CLASSES
    assert len(coco.imgs) == 4
    for image in coco.imgs.values():
        path = exported / "labels" / image["file_name"]
        label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        found = np.full_like(label, VOID)
        for one in coco.loadAnns(coco.getAnnIds(image["id"])):
            mask = coco.annToMask(one).astype(bool)
            rows, columns = np.nonzero(mask)
            low = [columns.min(), rows.min()]
            size = [np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert (one["area"], one["bbox"]) == (mask.sum(), [*low, *size])
            assert one["id"] > 0
            found[mask] = one["category_id"]
        np.testing.assert_array_equal(found, label)


FAR = Mesh(
    vertex=np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    + np.array([500_000.25, 5e6 + 0.125, 0]),
    face=np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]),
    rgb=np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]], dtype=np.uint8),
    label=np.array([0, 1, 2, 1], dtype=np.uint16),
    cell=0.01,
)


def test_a_mesh_far_from_the_origin_keeps_its_place(tmp_path: Path) -> None:
    write_mesh_ply(tmp_path / "mesh.ply", DESCRIPTION, FAR)
    read = trimesh.load(tmp_path / "mesh.ply", process=False)
    np.testing.assert_array_equal(read.vertices, FAR.vertex)
    np.testing.assert_array_equal(read.faces, FAR.face)
    np.testing.assert_array_equal(read.visual.vertex_colors[:, :3], FAR.rgb)
    data = read.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(data["label"].ravel(), FAR.label)
    write_mesh_glb(tmp_path / "mesh.glb", FAR)
    content = (tmp_path / "mesh.glb").read_bytes()
    assert content[:4] == b"glTF"
    (length,) = struct.unpack("<I", content[12:16])
    told = json.loads(content[20 : 20 + length])
    (node,) = [one for one in told["nodes"] if "mesh" in one]
    (primitive,) = told["meshes"][node["mesh"]]["primitives"]
    place = told["accessors"][primitive["attributes"]["POSITION"]]
    moved = np.array(node["matrix"]).reshape(4, 4)[3, :3]
    np.testing.assert_array_equal(moved + place["min"], FAR.vertex.min(0))
    np.testing.assert_array_equal(moved + place["max"], FAR.vertex.max(0))
    assert "COLOR_0" in primitive["attributes"]
    colour = told["accessors"][primitive["attributes"]["COLOR_0"]]
    view = told["bufferViews"][colour["bufferView"]]
    assert (colour["componentType"], colour["normalized"]) == (5121, True)  # bytes
    start = 20 + length + 8 + view["byteOffset"]
    stored = np.frombuffer(content[start : start + 16], np.uint8).reshape(4, 4)
    # The last is 10, 20, 30 in sRGB: 10 / 12.92 is 0.8; 20 and 30 are 1.8 and 3.3 of 255.
    expected = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [1, 2, 3]]
    assert stored[:, :3].tolist() == expected and (stored[:, 3] == 255).all()


@pytest.mark.parametrize(
    ("product", "module", "work"), [("mesh", mesh, "depths"), ("labels", LabelMaps, "of")]
)
def test_an_export_that_is_asked_to_end_does_so_after_a_view(
    made: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    product: str,
    module: object,
    work: str,
) -> None:
    plain, seen = getattr(module, work), []

    def of_a_view(*arguments: Any) -> Any:
        seen.append(1)
        os.kill(os.getpid(), signal.SIGTERM)
        return plain(*arguments)

    monkeypatch.setattr(module, work, of_a_view)
    settings = json.dumps({"products": [product], "views": "all"})
    asked = ["export", str(made), "--out", str(tmp_path / "out"), "--settings", settings]
    assert main(asked) == 75
    assert f"export {product}: stopped as asked" in capsys.readouterr().err
    assert seen == [1] and not list(tmp_path.iterdir())


def test_a_mesh_takes_colour_and_label_of_the_nearest_point(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = open_run(made).points
    moved = points.xyz[[2, 0]] + 1e-6
    far = points.xyz[1] + np.array([0.0, 0.0, 1e-6])
    corner = np.array([*moved, far]), np.array([[0, 1, 2]])
    monkeypatch.setattr(mesh, "surface", lambda volume: corner)
    out = tmp_path / "exported"
    settings = '{"products": ["mesh"], "mesh_cell": 0.5}'
    assert main(["export", str(made), "--out", str(out), "--settings", settings]) == 0
    read = trimesh.load(out / "mesh.ply", process=False)
    np.testing.assert_array_equal(read.visual.vertex_colors[:, :3], points.rgb[[2, 0, 1]])
    data = read.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(data["label"].ravel(), points.label[[2, 0, 1]])
    assert len(trimesh.load(out / "mesh.glb", force="mesh").faces) == 1
    assert {path.name for path in out.glob("[!.]*")} == {"classes.json", "mesh.ply", "mesh.glb"}


def test_a_field_alone_is_exported_without_photos(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write_field(tmp_path / "alone")
    out = tmp_path / "exported"
    settings = '{"products": ["cameras"]}'
    assert main(["export", str(tmp_path / "alone"), "--out", str(out), "--settings", settings]) == 0
    closing = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert closing["photos"] == 0 and "photos that are not there" in closing["warning"]
    told = json.loads((out / "transforms.json").read_text())
    assert "ply_file_path" not in told and not (tmp_path / "alone/points.zarr").exists()


@pytest.mark.parametrize(
    ("changes", "settings", "told"),
    [
        ({"space": "ndc"}, {"products": ["mesh"]}, "mesh: found a forward-facing scene"),
        ({"split": [0] * 4}, {"products": ["labels"]}, "labels: found no held-out view"),
        ({}, {"products": ["film"]}, "products.0: Input should be 'cloud'"),
        ({}, {"mesh_cell": 0}, "mesh_cell: Input should be greater than 0"),
        ({"names": list("abce")}, {"products": ["cameras"]}, "frames.zarr: its frames differ from"),
    ],
)
def test_what_cannot_be_exported_ends_in_one_message(
    made: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    changes: dict[str, object],
    settings: dict[str, object],
    told: str,
) -> None:
    folder = tmp_path / "room/toy/ovnerf/seed0"
    write_field(folder / "semantics", **changes)
    (tmp_path / "room/frames.zarr").symlink_to(made.parents[2] / "frames.zarr")
    out = tmp_path / "exported"
    assert main(["export", str(folder), "--out", str(out), "--settings", json.dumps(settings)]) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("error:") == 1
    assert not out.exists() and not list(tmp_path.glob(".exported.*.tmp"))


def test_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "found no trained field" in capsys.readouterr().err
