"""Bad input, as a person meets it: one message, exit code 2, no traceback, nothing written."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scene_folders import label, matrix_text, photo, write_replica, write_semantic_nerf

from ovnerf.cli import main

Break = Callable[[Path], object]


def rewrite(name: str, text: str) -> Break:
    return lambda folder: (folder / name).write_text(text)


def remove(name: str) -> Break:
    return lambda folder: (folder / name).unlink()


def nan_pose(folder: Path) -> None:
    pose = np.eye(4)
    pose[0, 3] = np.inf
    (folder / "pose_300/pose_004.txt").write_text(matrix_text(pose))


def small_image(folder: Path) -> None:
    Image.fromarray(photo(3)[:20]).save(folder / "rgb_300/rgb_003.png")


def cut_image(folder: Path) -> None:
    path = folder / "rgb_300/rgb_005.png"
    path.write_bytes(path.read_bytes()[:60])


def few_frames(folder: Path) -> None:
    for index in range(9, 12):
        (folder / f"rgb_300/rgb_{index:03d}.png").unlink()


FRAMES: dict[str, tuple[Break, str]] = {
    "missing pose": (
        remove("pose_300/pose_007.txt"),
        "{folder}/pose_300: no pose for rgb_007.png, expected a .txt file with frame number 7",
    ),
    "non-finite pose": (
        nan_pose,
        "{folder}/pose_300/pose_004.txt: found a non-finite pose, expected 16 finite numbers",
    ),
    "short pose": (
        rewrite("pose_300/pose_004.txt", "1 0 0 0\n0 1 0 0\n0 0 1 0\n"),
        "{folder}/pose_300/pose_004.txt: found 12 numbers, expected 16",
    ),
    "mirrored pose": (
        rewrite("pose_300/pose_004.txt", matrix_text(np.diag([1.0, 1, -1, 1]))),
        "{folder}/pose_300/pose_004.txt: the 3x3 block is not a rotation (determinant -1.000)",
    ),
    "pose with words": (
        rewrite("pose_300/pose_004.txt", "one two\n"),
        "{folder}/pose_300/pose_004.txt, line 1: found 'one two', expected numbers",
    ),
    "image of another size": (
        small_image,
        "{folder}/rgb_300/rgb_003.png: found size 32x20, expected 32x24 as rgb_000.png",
    ),
    "unreadable image": (cut_image, "{folder}/rgb_300/rgb_005.png: not a readable image ("),
    "empty class list": (
        rewrite("classes.txt", "void\n\n"),
        "{folder}/classes.txt: the class list is empty, expected at least one class besides void",
    ),
    "duplicate class": (
        rewrite("classes.txt", "void\nchair\nwall\nchair\n"),
        "{folder}/classes.txt: class 'chair' appears twice (ids 1 and 3), expected once",
    ),
    "missing class list": (remove("classes.txt"), "{folder}/classes.txt: no such file, expected"),
    "intrinsics of the wrong shape": (
        rewrite("intrinsics.txt", "30 30 16 12\n"),
        "{folder}/intrinsics.txt: found a matrix of shape 1x4, expected 3x3 or 4x4",
    ),
    "intrinsics with ragged rows": (
        rewrite("intrinsics.txt", "30 0 16\n0 30\n0 0 1\n"),
        "{folder}/intrinsics.txt: found a matrix of shape 3x3",
    ),
    "intrinsics of another size": (
        rewrite("intrinsics.txt", "300 0 160\n0 300 120\n0 0 1\n"),
        "{folder}/intrinsics.txt: found focal lengths 300 and 300 and principal point (160, 120), "
        "which belong to photos of about 320x240, expected those of the photos, 32x24 pixels",
    ),
    "fewer than 10 frames": (few_frames, "{folder}: found 9 frames, expected at least 10"),
}


def refused(capsys: pytest.CaptureFixture, said: str, *arguments: str | Path) -> None:
    """The command says exactly this first and exits with 2."""
    assert main([str(part) for part in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {said}"), captured.err
    assert captured.err.count("error:") == 1
    assert "Traceback" not in captured.err
    assert captured.out == ""


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("case", FRAMES)
def test_sample_frames(tmp_path, capsys, case):
    folder = write_replica(tmp_path / "scene")
    damage, said = FRAMES[case]
    damage(folder)
    out = tmp_path / "frames.zarr"
    refused(capsys, said.format(folder=folder), "sample_frames", "--folder", folder, "--out", out)
    assert written(tmp_path) == ["scene"]


def test_missing_folder(tmp_path, capsys):
    folder = tmp_path / "nowhere"
    said = f"{folder}: no such scene folder"
    refused(capsys, said, "sample_frames", "--folder", folder, "--out", tmp_path / "frames.zarr")
    assert written(tmp_path) == []


def test_wrong_layout(tmp_path, capsys):
    folder = write_semantic_nerf(tmp_path / "scene")
    said = f"{folder / 'rgb_300'}: no such folder"
    refused(capsys, said, "sample_frames", "--folder", folder, "--out", tmp_path / "frames.zarr")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"frame": 20}, "--settings: frame: unknown key"),
        ({"width": "wide"}, "--settings: width: Input should be a valid integer"),
        ({"width": 0}, "--settings: width: Input should be greater than 0 (found 0)"),
        ({"test_every": 1}, "test_every: found 1, which leaves no training frame"),
        ({"frames": 8}, "{folder}: found 8 frames, expected at least 10"),
    ],
)
def test_settings_of_sample_frames(tmp_path, capsys, settings, said):
    folder = write_replica(tmp_path / "scene")
    command = ["sample_frames", "--folder", folder, "--out", tmp_path / "frames.zarr"]
    refused(capsys, said.format(folder=folder), *command, "--settings", json.dumps(settings))
    assert written(tmp_path) == ["scene"]


SEMANTIC_NERF: dict[str, tuple[Break, str]] = {
    "missing pose": (
        lambda folder: rewrite(
            "traj_w_c.txt", "\n".join((folder / "traj_w_c.txt").read_text().splitlines()[:11])
        )(folder),
        "{folder}/traj_w_c.txt: no pose for image rgb_11, found 11 lines, expected line 11",
    ),
    "empty class list": (
        rewrite("info_semantic.json", '{"classes": [{"id": 0, "name": "void"}]}'),
        "{folder}/info_semantic.json: the class list is empty",
    ),
    "duplicate id": (
        rewrite(
            "info_semantic.json", '{"classes": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}'
        ),
        "{folder}/info_semantic.json: class id 1 appears twice, expected once",
    ),
    "not a class list": (
        rewrite("info_semantic.json", "[]"),
        "{folder}/info_semantic.json: not a class list",
    ),
    "no camera": (
        remove("intrinsics.txt"),
        "{folder}: no intrinsics.txt, and images are 32x24",
    ),
}


@pytest.mark.parametrize("case", SEMANTIC_NERF)
def test_semantic_nerf(tmp_path, capsys, case):
    folder = write_semantic_nerf(tmp_path / "scene")
    damage, said = SEMANTIC_NERF[case]
    damage(folder)
    command = ["sample_frames", "--folder", folder, "--out", tmp_path / "frames.zarr"]
    layout = json.dumps({"layout": "semantic_nerf"})
    refused(capsys, said.format(folder=folder), *command, "--settings", layout)
    assert written(tmp_path) == ["scene"]


def unknown_label(folder: Path) -> None:
    ids = label(2)
    ids[3, 3] = 9
    Image.fromarray(ids).save(folder / "semantic_300/semantic_class_002.png")


def coloured_label(folder: Path) -> None:
    Image.fromarray(photo(2)).save(folder / "semantic_300/semantic_class_002.png")


def small_label(folder: Path) -> None:
    Image.fromarray(label(2)[:, :30]).save(folder / "semantic_300/semantic_class_002.png")


LABEL = "{folder}/semantic_300/semantic_class_002.png: "
TRUTH: dict[str, tuple[Break, str]] = {
    "label id outside the class list": (
        unknown_label,
        LABEL + "found label id 9, expected ids of {folder}/classes.txt (1 to 3) or 0 for void",
    ),
    "colour-coded labels": (coloured_label, LABEL + "found a label image with mode RGB"),
    "label of another size": (small_label, LABEL + "found size 30x24, expected 32x24"),
    "missing label": (
        remove("semantic_300/semantic_class_002.png"),
        "{folder}: no label image for rgb_002.png",
    ),
    "changed classes": (
        rewrite("classes.txt", "void\nchair\nfloor\nceiling\n"),
        "{folder}/classes.txt: the class list differs from that in {frames}",
    ),
    "changed frames": (
        lambda folder: few_frames(folder) or write_more(folder),
        "{folder}: the frames differ from those in {frames}",
    ),
}


def write_more(folder: Path) -> None:
    for index in range(20, 23):
        Image.fromarray(photo(index)).save(folder / f"rgb_300/rgb_{index:03d}.png")
        Image.fromarray(label(index)).save(folder / f"semantic_300/semantic_class_{index:03d}.png")
        (folder / f"pose_300/pose_{index:03d}.txt").write_text(matrix_text(np.eye(4)))


@pytest.mark.parametrize("case", TRUTH)
def test_read_truth(tmp_path, capsys, case):
    folder, frames = write_replica(tmp_path / "scene"), tmp_path / "frames.zarr"
    assert main(["sample_frames", "--folder", str(folder), "--out", str(frames)]) == 0
    capsys.readouterr()
    damage, said = TRUTH[case]
    damage(folder)
    command = ["--folder", folder, "--frames", frames, "--out", tmp_path / "truth.zarr"]
    refused(capsys, said.format(folder=folder, frames=frames), "read_truth", *command)
    assert written(tmp_path) == ["frames.zarr", "scene"]


def sheet(tmp_path: Path, *rows: str, config: str = "") -> Path:
    lines = ["dataset\tscene\tlayout\tpath", *rows]
    (tmp_path / "scenes.tsv").write_text("\n".join(lines) + "\n")
    (tmp_path / "config.yaml").write_text(f"scenes: {tmp_path}/scenes.tsv\n{config}")
    return tmp_path / "config.yaml"


def test_a_good_config_passes(tmp_path, capsys):
    folder = write_replica(tmp_path / "scene")
    config = sheet(tmp_path, f"mine\troom\treplica\t{folder}")
    assert main(["check", str(config)]) == 0
    assert json.loads(capsys.readouterr().out) == {str(config): ["mine/room"]}


def test_configs_are_laid_over_each_other_the_last_on_top(tmp_path, capsys):
    folder = write_replica(tmp_path / "scene")
    config = sheet(
        tmp_path, f"mine\troom\treplica\t{folder}", config="sample_frames:\n  width: 160"
    )
    over = tmp_path / "over.yaml"
    over.write_text("sample_frames:\n  width: 0\n", encoding="utf-8")
    refused(
        capsys, f"{config} + {over}: sample_frames.width: Input should be", "check", config, over
    )
    assert main(["check", str(over), str(config)]) == 0
    assert json.loads(capsys.readouterr().out) == {f"{over} + {config}": ["mine/room"]}


@pytest.mark.parametrize(
    ("rows", "config", "said"),
    [
        (
            ["mine\troom\treplica\tx", "mine\troom\treplica\ty"],
            "",
            "{tmp}/scenes.tsv: scene mine/room appears 2 times, expected once",
        ),
        (["mine\troom\tfolders\tx"], "", "{tmp}/scenes.tsv, row 2: layout: Input should be"),
        (["mine\troom\treplica\t"], "", "{tmp}/scenes.tsv, row 2: (row): Value error, give"),
        ([], "", "{tmp}/scenes.tsv: the scene sheet has no rows"),
        ([], "sample_frame: {}", "{tmp}/config.yaml: sample_frame: unknown key"),
        (
            [],
            "reconstruct:\n  iterations: many",
            "{tmp}/config.yaml: reconstruct.iterations: Input should be a valid integer",
        ),
    ],
)
def test_scene_sheet_and_config(tmp_path, capsys, rows, config, said):
    path = sheet(tmp_path, *rows, config=config)
    refused(capsys, said.format(tmp=tmp_path), "check", path)
