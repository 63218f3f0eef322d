"""Bad data in the formats of other tools: one message naming the file, nothing written."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scene_formats
from PIL import Image
from scene_folders import matrix_text, photo

from ovnerf.cli import main
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.layouts import list_scene
from ovnerf.scenes.llff.reader import table as llff_table
from ovnerf.scenes.pairing import frame_names, listed_photo
from ovnerf.scenes.sens import check_fits

Break = Callable[[Path], object]


def edit_json(
    folder: Path, change: Callable[[dict], object], name: str = "transforms.json"
) -> None:
    path = folder / name
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def bad_colour(folder: Path) -> None:
    """A recording whose fourth photo is not an image."""
    path = folder / "scene.sens"
    content = path.read_bytes()
    start = [i for i in range(len(content) - 2) if content[i : i + 3] == b"\xff\xd8\xff"][3]
    path.write_bytes(content[:start] + b"garbage" + content[start + 7 :])


def patch(path: Path, offset: int, data: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[offset : offset + len(data)] = data
    path.write_bytes(content)


def save_poses(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path = folder / "poses_bounds.npy"
    np.save(path, change(np.load(path)))


def mirrored(rows: np.ndarray) -> np.ndarray:
    rows[:, 0:15:5] *= -1
    return rows


def fisheye(folder: Path) -> None:
    import pycolmap

    scene = pycolmap.Reconstruction(str(folder / "sparse/0"))
    scene.camera(1).model = pycolmap.CameraModelId.OPENCV_FISHEYE
    scene.camera(1).params = [30, 30, 16, 12, 0.1, 0, 0, 0]
    scene.write_binary(str(folder / "sparse/0"))


def another_camera(folder: Path) -> None:
    path = folder / "sparse/0/cameras.txt"
    path.write_text(path.read_text() + "2 PINHOLE 32 24 40 40 16 12\n")
    path = folder / "sparse/0/images.txt"
    lines = path.read_text().splitlines()
    position = next(i for i, line in enumerate(lines) if line.endswith("view_3.png"))
    lines[position] = lines[position].replace(" 1 view_3.png", " 2 view_3.png")
    path.write_text("\n".join(lines) + "\n")
    for name in ("rigs.txt", "frames.txt"):
        (folder / "sparse/0" / name).unlink(missing_ok=True)


NERFSTUDIO = scene_formats.write_nerfstudio
SENS = scene_formats.write_sens
LLFF = scene_formats.write_llff
SCANNET = scene_formats.write_scannet
COLMAP = scene_formats.write_colmap
SLAM = scene_formats.write_nice_slam

FRAMES: dict[str, tuple[Callable[[Path], Path], str, Break, str]] = {
    "sens cut inside a frame": (
        SENS,
        "scannet",
        lambda f: cut(f / "scene.sens", 4000),
        "{folder}/scene.sens: the file ends inside frame ",
    ),
    "sens cut inside the header": (
        SENS,
        "scannet",
        lambda f: cut(f / "scene.sens", 100),
        "{folder}/scene.sens: the file ends inside the cameras, after 100 bytes",
    ),
    "sens of another version": (
        SENS,
        "scannet",
        lambda f: patch(f / "scene.sens", 0, struct.pack("<I", 3)),
        "{folder}/scene.sens: found .sens version 3, expected 4",
    ),
    "sens with a damaged header": (
        SENS,
        "scannet",
        lambda f: patch(f / "scene.sens", 4, struct.pack("<Q", 2**40)),
        "{folder}/scene.sens: found a sensor name of 1099511627776 bytes",
    ),
    "sens with raw colour": (
        SENS,
        "scannet",
        lambda f: patch(f / "scene.sens", 12 + 15 + 256, struct.pack("<i", 0)),
        "{folder}/scene.sens: found raw colour images, expected jpeg or png",
    ),
    "sens with a damaged photo": (
        SENS,
        "scannet",
        bad_colour,
        "{folder}/scene.sens, frame 3: not a readable image (",
    ),
    "two recordings": (
        SENS,
        "scannet",
        lambda f: (f / "other.sens").write_bytes(b""),
        "{folder}: found no folder color and 2 .sens files",
    ),
    "every pose lost": (
        lambda f: SENS(f, lost=tuple(range(3, 12))),
        "scannet",
        lambda f: None,
        "{folder}: found 3 frames, expected at least 10",
    ),
    "no colour camera": (
        SCANNET,
        "scannet",
        lambda f: (f / "intrinsic/intrinsic_color.txt").unlink(),
        "{folder}/intrinsic/intrinsic_color.txt: no such file, expected a 4x4 camera matrix",
    ),
    "camera of the full-size photos": (
        SCANNET,
        "scannet",
        lambda f: (f / "intrinsic/intrinsic_color.txt").write_text(
            "1170 0 648 0\n0 1170 484 0\n0 0 1 0\n0 0 0 1\n"
        ),
        "{folder}/intrinsic/intrinsic_color.txt: found focal lengths 1170 and 1170 and "
        "principal point (648, 484), which belong to photos of about 1296x968, expected",
    ),
    "mirrored ScanNet pose": (
        SCANNET,
        "scannet",
        lambda f: (f / "pose/3.txt").write_text(matrix_text(np.diag([1.0, 1, -1, 1]))),
        "{folder}/pose/3.txt: the 3x3 block is not a rotation",
    ),
    "fewer LLFF poses than images": (
        LLFF,
        "llff",
        lambda f: save_poses(f, lambda rows: rows[:-1]),
        "{folder}/poses_bounds.npy: found 11 poses for 12 photos in {folder}/images",
    ),
    "LLFF rows of 15": (
        LLFF,
        "llff",
        lambda f: save_poses(f, lambda rows: rows[:, :15]),
        "{folder}/poses_bounds.npy: found shape (12, 15), expected (images, 17)",
    ),
    "cut LLFF poses": (
        LLFF,
        "llff",
        lambda f: cut(f / "poses_bounds.npy", 50),
        "{folder}/poses_bounds.npy: not a readable array (",
    ),
    "mirrored LLFF poses": (
        LLFF,
        "llff",
        lambda f: save_poses(f, mirrored),
        "{folder}/poses_bounds.npy, row 0: the 3x3 block is not a rotation (determinant -1.000)",
    ),
    "LLFF of another aspect": (
        LLFF,
        "llff",
        lambda f: save_poses(f, lambda rows: rows * np.where(np.arange(17) == 9, 2, 1)),
        "{folder}/poses_bounds.npy: found cameras of 64x24, expected the aspect ratio",
    ),
    "masks of a view that is not there": (
        LLFF,
        "llff",
        lambda f: (f / "segmentations/40").mkdir(),
        "{folder}/segmentations/40: found masks of view 40, expected views 0 to 11",
    ),
    "half a COLMAP model": (
        COLMAP,
        "colmap",
        lambda f: (f / "sparse/0/points3D.bin").unlink(),
        "{folder}: no COLMAP model, looked in sparse, sparse/0, ",
    ),
    "cut COLMAP model": (
        COLMAP,
        "colmap",
        lambda f: cut(f / "sparse/0/images.bin", 90),
        "{folder}/sparse/0: not a readable COLMAP model (",
    ),
    "fisheye COLMAP camera": (
        COLMAP,
        "colmap",
        fisheye,
        "{folder}/sparse/0/cameras.bin: found camera model OPENCV_FISHEYE, expected one of",
    ),
    "two COLMAP cameras": (
        lambda f: COLMAP(f, text=True),
        "colmap",
        another_camera,
        "{folder}/sparse/0/cameras.txt: found different cameras, fx 30 fy 30 cx 16 cy 12 (photo "
        "view_11.png) and fx 40 fy 40 cx 16 cy 12 (photo view_3.png), expected one camera",
    ),
    "photos of another size than COLMAP saw": (
        COLMAP,
        "colmap",
        lambda f: [
            Image.fromarray(photo(i)[::2, ::2]).save(f / f"images/view_{i}.png") for i in range(12)
        ],
        "{folder}/sparse/0/cameras.bin: found a camera of 32x24, expected 16x12",
    ),
    "transforms.json that is not JSON": (
        NERFSTUDIO,
        "nerfstudio",
        lambda f: cut(f / "transforms.json", 80),
        "{folder}/transforms.json: not a list of frames (JSONDecodeError",
    ),
    "frame without a matrix": (
        NERFSTUDIO,
        "nerfstudio",
        lambda f: edit_json(f, lambda c: c["frames"][2].pop("transform_matrix")),
        "{folder}/transforms.json, frame view_9: no transform_matrix of numbers",
    ),
    "no focal length": (
        NERFSTUDIO,
        "nerfstudio",
        lambda f: edit_json(f, lambda c: c.pop("fl_x")),
        "{folder}/transforms.json: found neither fl_x nor camera_angle_x",
    ),
    "fisheye transforms": (
        NERFSTUDIO,
        "nerfstudio",
        lambda f: edit_json(f, lambda c: c.update(camera_model="OPENCV_FISHEYE")),
        "{folder}/transforms.json: found camera_model OPENCV_FISHEYE",
    ),
    "two cameras in transforms": (
        NERFSTUDIO,
        "nerfstudio",
        lambda f: edit_json(f, lambda c: c["frames"][0].update(fl_x=99.0)),
        "{folder}/transforms.json: found different cameras, fx 30 fy 30 cx 16 cy 12 (frame view_0) "
        "and fx 99 fy 30 cx 16 cy 12 (frame view_11), expected one camera",
    ),
    "transforms of another size": (
        NERFSTUDIO,
        "nerfstudio",
        lambda f: edit_json(f, lambda c: c.update(w=64)),
        "{folder}/transforms.json: found a camera of 64x24, expected 32x24",
    ),
    "photo that transforms name and is not there": (
        NERFSTUDIO,
        "nerfstudio",
        lambda f: (f / "images/view_5.png").unlink(),
        "{folder}/images/view_5.png: no such image",
    ),
    "no class list at all": (
        NERFSTUDIO,
        "nerfstudio",
        lambda f: (f / "classes.txt").unlink(),
        "{folder}: the scene has no class list, and none is asked for",
    ),
    "trajectory shorter than the photos": (
        SLAM,
        "nice_slam",
        lambda f: (f / "traj.txt").write_text(
            "\n".join((f / "traj.txt").read_text().splitlines()[:9])
        ),
        "{folder}/traj.txt: no pose for image frame000009, found 9 lines",
    ),
    "camera file without a camera": (
        SLAM,
        "nice_slam",
        lambda f: (f / "cam_params.json").write_text("{}"),
        "{folder}/cam_params.json: not a camera (KeyError",
    ),
}

TRUTH: dict[str, tuple[Callable[[Path], Path], str, Break, str]] = {
    "no label table": (
        SCANNET,
        "scannet",
        lambda f: (f.parent / "scannetv2-labels.combined.tsv").unlink(),
        "{folder}: no scannetv2-labels.combined.tsv, which explains the label ids",
    ),
    "label table without columns": (
        SCANNET,
        "scannet",
        lambda f: (f.parent / "scannetv2-labels.combined.tsv").write_text("id\tname\n1\twall\n"),
        "{folder}/../scannetv2-labels.combined.tsv, line 1: found the columns id, name, expected",
    ),
    "label outside the table": (
        SCANNET,
        "scannet",
        lambda f: Image.fromarray(np.full((24, 32), 77, np.uint16)).save(f / "label-filt/4.png"),
        "{folder}/label-filt/4.png: found label id 77",
    ),
    "label of another shape": (
        SCANNET,
        "scannet",
        lambda f: Image.fromarray(np.zeros((24, 24), np.uint16)).save(f / "label-filt/4.png"),
        "{folder}/label-filt/4.png: found size 24x24, expected the aspect ratio of the photos",
    ),
    "label with three channels": (
        SCANNET,
        "scannet",
        lambda f: Image.fromarray(photo(1)).save(f / "label-filt/4.png"),
        "{folder}/label-filt/4.png: found a label image with mode RGB",
    ),
    "mask of a class that is not in the list": (
        LLFF,
        "llff",
        lambda f: (f / "segmentations/00/wall.png").rename(f / "segmentations/00/sky.png"),
        "{folder}/segmentations/00/sky.png: found a mask of 'sky', expected a class of",
    ),
    "view without masks": (
        LLFF,
        "llff",
        lambda f: [path.unlink() for path in (f / "segmentations/04").iterdir()],
        "{folder}/segmentations/04: found no masks",
    ),
    "masks of two sizes": (
        LLFF,
        "llff",
        lambda f: Image.fromarray(np.zeros((12, 16), np.uint8)).save(
            f / "segmentations/04/wall.png"
        ),
        "{folder}/segmentations/04/",
    ),
}


def refused(capsys: pytest.CaptureFixture, said: str, *arguments: object) -> None:
    assert main([str(part) for part in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {said}"), captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("case", FRAMES)
def test_frames(tmp_path, capsys, case):
    write, layout, damage, said = FRAMES[case]
    folder = write(tmp_path / "scene")
    damage(folder)
    command = ("sample_frames", "--folder", folder, "--out", tmp_path / "frames.zarr")
    settings = json.dumps({"layout": layout})
    refused(capsys, said.format(folder=folder), *command, "--settings", settings)
    assert not list(tmp_path.glob("*.zarr*"))


@pytest.mark.parametrize("case", TRUTH)
def test_truth(tmp_path, capsys, case):
    write, layout, damage, said = TRUTH[case]
    folder = write(tmp_path / "scene")
    settings = ("--settings", json.dumps({"layout": layout}))
    command = ("--folder", folder, "--out", tmp_path / "frames.zarr", *settings)
    assert main([str(part) for part in ("sample_frames", *command)]) == 0
    capsys.readouterr()
    damage(folder)
    command = ("--folder", folder, "--frames", tmp_path / "frames.zarr", *settings)
    said = said.format(folder=folder)
    refused(capsys, said, "read_truth", *command, "--out", tmp_path / "truth.zarr")
    assert not (tmp_path / "truth.zarr").exists()


def test_poses_bounds_that_is_an_archive_or_words_is_refused(tmp_path):
    folder = scene_formats.write_llff(tmp_path / "scene")
    path = folder / "poses_bounds.npy"
    with path.open("wb") as file:
        np.savez(file, poses=np.zeros((12, 17)))
    with pytest.raises(UserError, match=r"poses_bounds.npy: found an archive, expected one array"):
        llff_table(list_scene(folder, "llff"))
    np.save(path, np.full((12, 17), "1"))
    with pytest.raises(UserError, match=r"found numbers of type <U1, expected one array of real"):
        llff_table(list_scene(folder, "llff"))


def test_more_frames_than_a_recording_can_hold_are_refused(tmp_path):
    # A frame has 16 floats and 4 counts of 8 bytes: 96 bytes without its photo.
    check_fits(tmp_path / "a.sens", 3, 288)
    with pytest.raises(UserError, match="found a count of 4 frames in 288 bytes"):
        check_fits(tmp_path / "a.sens", 4, 288)


def test_file_names_that_are_not_utf8_are_refused():
    with pytest.raises(UserError, match=r"'caf.udce9.png': found a file name that is not in UTF-8"):
        frame_names([Path("a.png"), Path("caf\udce9.png")])


def test_a_file_path_too_long_for_a_file_is_no_such_image(tmp_path):
    (tmp_path / "images").mkdir()
    Image.fromarray(photo(0)).save(tmp_path / "images" / ("b" * 251 + ".png"))
    with pytest.raises(UserError, match=r"aaa: no such image, expected by transforms\.json"):
        listed_photo(tmp_path, "images/" + "a" * 300, tmp_path / "transforms.json")
    # 255 bytes are a name.
    name = "images/" + "b" * 251 + ".png"
    assert listed_photo(tmp_path, name, tmp_path / "transforms.json") == tmp_path / name
