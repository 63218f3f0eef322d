"""Scenes written in the true formats of other tools come back as the same cameras."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scene_formats
import torch
from outside_scenes import SCENES, needs
from scene_folders import (
    CLASSES,
    HEIGHT,
    WIDTH,
    intrinsics,
    label,
    photo,
    write_replica,
    write_semantic_nerf,
)
from scene_formats import FRAMES, pose, poses

from ovnerf.config.frames import SampleFrames
from ovnerf.geometry.rays import pixel_rays
from ovnerf.labels.void import VOID
from ovnerf.scenes.frames import Frames, native_images, read_frames, read_labels
from ovnerf.scenes.frames import without_lost_frames as without_lost
from ovnerf.scenes.layouts import list_scene
from ovnerf.scenes.lens import Lens
from ovnerf.scenes.sens import read_frames as read_recording
from ovnerf.scenes.sens import read_header
from ovnerf.stages.sample_frames import run as run_sample_frames
from ovnerf.storage.stores import open_store

HOLOLENS, LIVINGROOM = SCENES / "hololens_office", SCENES / "icl_livingroom"

WRITERS = {
    "scannet": ("scannet", scene_formats.write_scannet),
    "sens": ("scannet", scene_formats.write_sens),
    "llff": ("llff", scene_formats.write_llff),
    "colmap binary": ("colmap", scene_formats.write_colmap),
    "colmap text": ("colmap", lambda folder: scene_formats.write_colmap(folder, text=True)),
    "nerfstudio": ("nerfstudio", scene_formats.write_nerfstudio),
    "nice_slam": ("nice_slam", scene_formats.write_nice_slam),
}


def read(folder: Path, layout: str, **changes) -> Frames:
    return read_frames(list_scene(folder, layout, **changes), None, None, 10)


def projected(frames: Frames, points: np.ndarray) -> np.ndarray:
    """Pixels (n, k, 2) of world points (k, 3) in every frame."""
    local = np.einsum("nji,nkj->nki", frames.pose[:, :3, :3], points - frames.pose[:, None, :3, 3])
    pixel = local @ frames.intrinsics.T
    return pixel[..., :2] / pixel[..., 2:]


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_cameras_and_photos(tmp_path, name):
    layout, write = WRITERS[name]
    frames = read(write(tmp_path / "scene"), layout)
    assert len(frames.names) == FRAMES
    assert frames.native_size == (HEIGHT, WIDTH)
    truth = Frames(
        frames.names, frames.rgb, poses(), intrinsics(), (0, 0), intrinsics(), frames.split, ()
    )
    points = np.random.default_rng(0).uniform((8, 2, 0), (12, 6, 3), (50, 3))
    assert np.abs(projected(frames, points) - projected(truth, points)).max() < 1e-3
    for found, index in zip(frames.rgb, range(FRAMES), strict=True):
        # JPEG at quality 95 moves a smooth picture by a few levels; the wrong frame by 20.
        assert np.abs(found.astype(int) - photo(index)).mean() < 4
    column, row = torch.tensor([0, 31, 17]), torch.tensor([0, 5, 23])
    for index in (0, 5, 11):
        rays = pixel_rays(
            torch.from_numpy(frames.pose[index]), torch.from_numpy(frames.intrinsics), column, row
        )
        own = pixel_rays(torch.from_numpy(pose(index)), torch.from_numpy(intrinsics()), column, row)
        for found, expected in zip(rays, own, strict=True):
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def real_cameras() -> np.ndarray:
    """Poses (12, 4, 4) of a hand-held recording, evenly over it."""
    files = sorted((LIVINGROOM / "pose_300").glob("*.txt"))
    return np.stack([np.loadtxt(path) for path in files[:: len(files) // FRAMES][:FRAMES]])


@needs(LIVINGROOM.name)
def test_real_poses_survive_every_format_and_give_the_same_rays(tmp_path, monkeypatch):
    camera = np.array([[525.0, 0, 320], [0, 525.0, 240], [0, 0, 1]])
    real, picture = real_cameras(), np.zeros((480, 640, 3), np.uint8)
    monkeypatch.setattr(scene_formats, "pose", lambda index: real[index])
    monkeypatch.setattr(scene_formats, "intrinsics", lambda: camera)
    monkeypatch.setattr(scene_formats, "photo", lambda index: picture)
    monkeypatch.setattr(scene_formats, "WIDTH", 640)
    monkeypatch.setattr(scene_formats, "HEIGHT", 480)
    random = np.random.default_rng(0)
    pixel = random.uniform((0, 0), (640, 480), (FRAMES, 200, 2))
    depth_of = random.uniform(0.5, 5, (FRAMES, 200, 1))
    local = np.concatenate([(pixel - camera[:2, 2]) / 525.0, np.ones_like(depth_of)], -1) * depth_of
    world = np.einsum("nij,nkj->nki", real[:, :3, :3], local) + real[:, None, :3, 3]
    column, row = (torch.from_numpy(part) for part in random.integers(0, 480, (2, 100)))
    rays = {}
    for name, (layout, write) in WRITERS.items():
        found = read(write(tmp_path / name.replace(" ", "_") / "scene"), layout)
        back = np.einsum("nji,nkj->nki", found.pose[:, :3, :3], world - found.pose[:, None, :3, 3])
        back = back @ found.intrinsics.T
        assert np.abs(back[..., :2] / back[..., 2:] - pixel).max() < 1e-3, name
        pose_of = torch.from_numpy(found.pose)[:, None]
        rays[name] = pixel_rays(pose_of, torch.from_numpy(found.intrinsics), column, row)
    # Poses in the files have nine digits; COLMAP makes them unit quaternions.
    for name in ("colmap text", "nerfstudio", "llff"):
        for one, other in zip(rays["colmap binary"], rays[name], strict=True):
            torch.testing.assert_close(one.expand_as(other), other, atol=1e-7, rtol=0)


@pytest.mark.parametrize("name", ["scannet", "nice_slam", "llff"])
def test_labels(tmp_path, name):
    layout, write = WRITERS[name]
    folder = write(tmp_path / "scene")
    listing = list_scene(folder, layout)
    found, names = read_labels(listing, (HEIGHT, WIDTH), (HEIGHT, WIDTH))
    expected = np.full((FRAMES, HEIGHT, WIDTH), VOID, np.uint16)
    for index in range(FRAMES):
        if name != "llff" or index in (0, 4):
            for number, class_name in enumerate(CLASSES, start=1):
                expected[index][label(index) == number] = names.index(class_name)
    assert (found == expected).all()


def test_scannet_classes(tmp_path):
    folder = scene_formats.write_scannet(tmp_path / "scans/scene")
    names = read(folder, "scannet").classes
    assert len(names) == 20
    assert names[:2] == ("wall", "floor")
    listing = list_scene(folder, "scannet", classes="nyu_40")
    labels, names = read_labels(listing, (HEIGHT, WIDTH), (HEIGHT, WIDTH))
    assert len(names) == 40
    assert names[labels[0, 12, 5]] == "chair"
    raw = tmp_path / "mine.txt"
    raw.write_text("wall\noffice chair\n\n")
    listing = list_scene(folder, "scannet", classes=str(raw))
    labels, names = read_labels(listing, (HEIGHT, WIDTH), (HEIGHT, WIDTH))
    assert names == ["wall", "office chair"]
    assert labels[0, 12, 5] == 1
    assert (labels[0][label(0) == 2] == VOID).all()  # floor is not in the list
    assert raw in listing.image_inputs()
    assert raw in listing.label_inputs()


def test_a_thing_in_the_place_of_void_is_told(tmp_path):
    """Class 0 of these layouts has no class, whatever it is called."""
    replica = write_replica(tmp_path / "replica")
    semantic_nerf = write_semantic_nerf(tmp_path / "semantic_nerf")
    classes, rows = replica / "classes.txt", semantic_nerf / "info_semantic.json"
    for name in ("void", " Unlabeled", "chair"):
        classes.write_text("\n".join([name, *CLASSES]), encoding="utf-8")
        items = [{"id": number, "name": of} for number, of in enumerate([name, *CLASSES])]
        rows.write_text(json.dumps({"classes": items}), encoding="utf-8")
        told = [list_scene(folder, folder.name).notes for folder in (replica, semantic_nerf)]
        says = "'chair' is taken for void, so pixels with this label have no class"
        expected = [(f"{classes}, line 1: {says}",), (f"{rows}, id 0: {says}",)]
        assert told == (expected if name == "chair" else [(), ()])


def test_a_class_list_is_selectable_in_every_layout(tmp_path):
    folder = scene_formats.write_nice_slam(tmp_path / "scene")
    listing = list_scene(folder, "nice_slam", classes="replica_51")
    labels, names = read_labels(listing, (HEIGHT, WIDTH), (HEIGHT, WIDTH))
    assert len(names) == 51
    assert names[labels[0, 0, 0]] == "wall"


def test_frames_the_tracker_lost_are_dropped_with_a_reason(tmp_path):
    folder = scene_formats.write_sens(tmp_path / "scene", lost=(3,))
    listing = without_lost(list_scene(folder, "scannet"))
    assert listing.dropped == (("3", "the tracker lost this frame (pose is not finite)"),)
    frames = read_frames(listing, None, None, 10)
    assert frames.names == tuple(str(index) for index in range(FRAMES) if index != 3)
    assert np.allclose(frames.pose[3], pose(4), atol=1e-6)
    exported = scene_formats.write_scannet(tmp_path / "exported")
    (exported / "pose/5.txt").write_text("-inf " * 16)
    (exported / "pose/7.txt").unlink()
    listing = without_lost(list_scene(exported, "scannet"))
    assert [name for name, _ in listing.dropped] == ["7", "5"]
    assert len(read_frames(listing, None, None, 10).names) == FRAMES - 2


def test_photos_outside_the_colmap_model_are_dropped(tmp_path):
    folder = scene_formats.write_colmap(tmp_path / "scene", frames=10)
    listing = without_lost(list_scene(folder, "colmap"))
    assert listing.dropped == tuple(
        (f"view_{index}", "not in the COLMAP model") for index in (10, 11)
    )
    assert np.allclose(read_frames(listing, None, None, 10).pose[1], pose(1), atol=1e-9)


def test_photos_of_the_colmap_model_that_are_not_there_are_named(tmp_path):
    folder = scene_formats.write_colmap(tmp_path / "scene")
    (folder / "images/view_11.png").unlink()
    (folder / "images/view_3.png").unlink()
    listing = without_lost(list_scene(folder, "colmap"))
    reason = "in the COLMAP model, but not among the photos"
    assert listing.dropped == (("view_11.png", reason), ("view_3.png", reason))
    assert len(listing.names) == 10


def test_a_colmap_model_is_loaded_once_and_again_when_it_changed(tmp_path, monkeypatch):
    import pycolmap

    load, loaded = pycolmap.Reconstruction, []
    first = scene_formats.write_colmap(tmp_path / "scene")
    other = scene_formats.write_colmap(tmp_path / "other", frames=10)

    def counted(path):
        loaded.append(path)
        return load(path)

    monkeypatch.setattr(pycolmap, "Reconstruction", counted)
    listing = without_lost(list_scene(first, "colmap"))
    assert len(read_frames(listing, None, None, 10).names) == FRAMES
    assert sum(1 for _ in native_images(listing)) == FRAMES
    assert loaded == [str(first / "sparse/0")]
    for path in (other / "sparse/0").iterdir():
        shutil.copy(path, first / "sparse/0")
    assert len(without_lost(list_scene(first, "colmap")).names) == 10
    assert len(loaded) == 2


def test_sens_streams_colour_and_skips_depth(tmp_path):
    path = scene_formats.write_sens(tmp_path / "scene") / "scene.sens"
    header = read_header(path)
    assert header.frames == FRAMES
    assert (header.colour_format, header.colour_size) == ("jpeg", (WIDTH, HEIGHT))
    found = list(read_recording(path, {2, 9}))
    assert [frame.number for frame in found] == [2, 9]
    assert found[0].colour == scene_formats.jpeg(photo(2))
    assert found[1].colour == scene_formats.jpeg(photo(9))
    assert all(not frame.colour for frame in read_recording(path, images=False))


def test_sampling_a_recording_reads_the_right_frames(tmp_path):
    folder = scene_formats.write_sens(tmp_path / "scene")
    listing = list_scene(folder, "scannet", 10)
    assert listing.names == ("0", "1", "2", "3", "4", "6", "7", "8", "9", "10")
    assert np.allclose(read_frames(listing, None, None, 10).pose[5], pose(6), atol=1e-6)
    assert listing.image_inputs() == [folder / "scene.sens", listing.class_list]


def test_llff_keeps_handedness_and_scale(tmp_path):
    frames = read(scene_formats.write_llff(tmp_path / "scene"), "llff")
    assert np.allclose(np.linalg.det(frames.pose[:, :3, :3]), 1)
    assert np.allclose(np.linalg.norm(np.diff(frames.pose[:2, :3, 3], axis=0)), 0.1044, atol=1e-4)
    split = read_frames(list_scene(tmp_path / "scene", "llff"), None, None, 10, "labelled").split
    assert np.flatnonzero(split).tolist() == [0, 4]


def test_overlapping_masks_go_to_the_first_class(tmp_path):
    folder = scene_formats.write_llff(tmp_path / "scene")
    masks = folder / "segmentations/00"
    (masks / "wall.png").write_bytes((masks / "chair.png").read_bytes())
    labels, names = read_labels(list_scene(folder, "llff"), (HEIGHT, WIDTH), (HEIGHT, WIDTH))
    assert names == sorted(CLASSES)
    assert labels[0, 12, 5] == names.index("chair")


def bend(point: np.ndarray, k1: float, k2: float, p1: float, p2: float) -> np.ndarray:
    """Brown distortion of unit-depth points (k, 2), written out by hand."""
    x, y = point.T
    square = x**2 + y**2
    radial = 1 + k1 * square + k2 * square**2
    return np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (square + 2 * x**2),
            y * radial + p1 * (square + 2 * y**2) + 2 * p2 * x * y,
        ],
        axis=1,
    )


def test_undistorted_photos_fit_their_pinhole():
    """A pattern drawn through a bent lens shows the same rays after undistorting."""
    width, height = 160, 120
    lens = Lens(np.array([[120.0, 0, 82], [0, 121, 58], [0, 0, 1]]), (-0.2, 0.05, 0.002, -0.001))

    def brightness(ray: np.ndarray) -> np.ndarray:
        return 128 + 60 * np.sin(9 * ray[..., 0]) + 60 * np.cos(7 * ray[..., 1])

    row, column = np.mgrid[:height, :width] + 0.5
    pinhole = lens.pinhole(width, height)
    straight = np.stack(
        [(column - pinhole[0, 2]) / pinhole[0, 0], (row - pinhole[1, 2]) / pinhole[1, 1]], -1
    )
    # Where each straight ray lands in the bent photo tells what the bent photo must show: invert
    # by fixed-point iteration on the bent pixel grid.
    target = np.stack([(column - 82) / 120, (row - 58) / 121], -1).reshape(-1, 2)
    ray = target.copy()
    for _ in range(50):
        ray += target - bend(ray, *lens.distortion)
    bent = brightness(ray.reshape(height, width, 2))[..., None].repeat(3, -1)
    found = lens.undistort(bent.round().astype(np.uint8))[..., 0]
    error = np.abs(found[2:-2, 2:-2] - brightness(straight)[2:-2, 2:-2])
    assert error.max() < 2.5
    assert np.abs(bent[2:-2, 2:-2, 0] - brightness(straight)[2:-2, 2:-2]).max() > 10


@pytest.mark.parametrize(
    ("model", "distortion"),
    [
        ("SIMPLE_PINHOLE", ()),
        ("SIMPLE_RADIAL", (0.1,)),
        ("OPENCV", (-0.1, 0.02, 0.001, -0.002)),
    ],
)
def test_colmap_and_nerfstudio_agree_on_bent_cameras(tmp_path, model, distortion):
    first = read(
        scene_formats.write_colmap(tmp_path / "a", model=model, distortion=distortion), "colmap"
    )
    values = dict(zip(("k1", "k2", "p1", "p2"), distortion, strict=False))
    second = read(scene_formats.write_nerfstudio(tmp_path / "b", **values), "nerfstudio")
    assert np.allclose(first.intrinsics, second.intrinsics, atol=1e-9)
    assert np.allclose(first.pose, second.pose, atol=1e-9)
    assert (first.rgb == second.rgb).all()
    assert (first.intrinsics[0, 0] != 30) == bool(distortion)


def test_nerfstudio_camera_values_may_stand_in_the_frames(tmp_path):
    angle = 2 * np.arctan(WIDTH / 2 / 30)
    folder = scene_formats.write_nerfstudio(tmp_path / "scene", fl_x=30.0, camera_angle_x=angle)
    text = (folder / "transforms.json").read_text()
    (folder / "transforms.json").write_text(text.replace('"fl_x": 30.0, "fl_y": 30.0, ', ""))
    assert np.allclose(read(folder, "nerfstudio").intrinsics, intrinsics())


@pytest.mark.parametrize(
    ("name", "key"),
    [("nice_slam", "box_metres"), ("nerfstudio", "box_in_unit_of_poses")],
)
def test_only_scenes_in_metres_have_a_box_in_metres(tmp_path, name, key):
    layout, write = WRITERS[name]
    settings = SampleFrames(layout=layout, classes="nyu_40", box="as_shipped")
    told = run_sample_frames(
        folder=write(tmp_path / "scene"), out=tmp_path / "frames.zarr", settings=settings
    )
    assert [found for found in told if found.startswith("box_")] == ["box_points", key]
    assert open_store(tmp_path / "frames.zarr", "frames").attrs["units"] == (
        "metres" if key == "box_metres" else "file"
    )


def test_natural_order_and_names_without_suffix(tmp_path):
    folder = scene_formats.write_nerfstudio(tmp_path / "scene")
    text = (folder / "transforms.json").read_text()
    (folder / "transforms.json").write_text(text.replace('.png"', '"'))
    listing = list_scene(folder, "nerfstudio")
    assert listing.names[:3] == ("view_0", "view_1", "view_2")
    assert listing.names[-1] == "view_11"
    assert listing.images[-1] == folder / "images/view_11.png"


@pytest.mark.parametrize("layout", ["colmap", "nerfstudio"])
def test_two_walks_follow_each_other(tmp_path, layout):
    """Else the held-out frames are all of one walk, and novel views lie between the two."""
    folder = WRITERS[layout if layout == "nerfstudio" else "colmap text"][1](tmp_path / "scene")
    expected = [f"images/walk_{walk}/{n}.png" for walk in "ab" for n in range(FRAMES // 2)]
    index = folder / ("transforms.json" if layout == "nerfstudio" else "sparse/0/images.txt")
    text = index.read_text()
    for number, name in enumerate(expected):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"images/view_{number}.png").rename(folder / name)
        inside = name if layout == "nerfstudio" else name.removeprefix("images/")
        text = text.replace(f"images/view_{number}.png", inside)
        text = text.replace(f" view_{number}.png", f" {inside}")
    index.write_text(text)
    listing = list_scene(folder, layout, classes="nyu_40")
    assert [path.relative_to(folder).as_posix() for path in listing.images] == expected
    assert np.allclose(read(folder, layout).pose, poses())


@needs(HOLOLENS.name)
def test_real_photos_in_the_scannet_layout():
    listing = without_lost(list_scene(HOLOLENS, "scannet", 12))
    assert listing.dropped == ()
    frames = read_frames(listing, 270, 180, 10)
    assert frames.rgb.shape == (12, 180, 270, 3)
    assert frames.native_size == (360, 540)
    assert np.allclose(frames.intrinsics[0, 0], 495.567757009 / 2)
    assert len(frames.classes) == 20
    assert not any(listing.labels)
    assert sum(1 for _ in native_images(listing)) == 12
