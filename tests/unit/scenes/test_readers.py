"""What is inside the files: cameras, pixel centres, resizing, labels, class lists."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scene_folders import (
    CLASSES,
    HEIGHT,
    WIDTH,
    camera_at,
    label,
    write_replica,
    write_semantic_nerf,
)

from ovnerf.labels.void import VOID
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.frames import read_frames, read_labels, split_frames
from ovnerf.scenes.layouts import list_scene
from ovnerf.scenes.pinhole import camera_matrix, half_pixel_centres
from ovnerf.scenes.poses import scale_camera
from ovnerf.storage.photos import read_rgb
from ovnerf.storage.sizes import pixel_under_centre, resize_labels, resize_rgb, target_size


def pinhole(cx: float, cy: float, focal: float = 320.0) -> np.ndarray:
    return np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1.0]])


def test_integer_pixel_centres_are_recognised():
    # 640 columns counted 0..639 have their middle at 319.5; ours have it at 320.
    assert half_pixel_centres(pinhole(319.5, 239.5), 640, 480)[:2, 2].tolist() == [320, 240]
    assert half_pixel_centres(pinhole(320, 240), 640, 480)[:2, 2].tolist() == [320, 240]
    assert half_pixel_centres(pinhole(318.6, 255.3), 640, 480)[:2, 2].tolist() == [318.6, 255.3]


@given(st.floats(0.1, 0.9), st.floats(0.1, 0.9), st.floats(1, 6), st.floats(-2, 2))
def test_a_resized_camera_sees_the_same_rays(cx, cy, depth, x):
    # A world point projects to the same fraction of the image at every size.
    camera = pinhole(cx * 640, cy * 480)
    small = scale_camera(camera, (480, 640), (120, 200))
    for axis, sides in ((0, (640, 200)), (1, (480, 120))):
        native = camera[axis, axis] * x / depth + camera[axis, 2]
        resized = small[axis, axis] * x / depth + small[axis, 2]
        assert native / sides[0] == pytest.approx(resized / sides[1])


def test_four_by_four_intrinsics(tmp_path):
    path = tmp_path / "camera.txt"
    path.write_text("577 0 318 0\n0 578 242 0\n0 0 1 0\n0 0 0 1\n")
    assert camera_matrix(path, 640, 480).tolist() == [[577, 0, 318], [0, 578, 242], [0, 0, 1]]


@given(st.integers(1, 300), st.integers(1, 300))
def test_labels_are_taken_under_the_pixel_centre(native, wanted):
    exact = [int((index + 0.5) * native / wanted + 1e-9) for index in range(wanted)]
    assert pixel_under_centre(native, wanted).tolist() == exact


def test_resized_labels_and_colours_stay_together():
    ids = np.arange(24, dtype=np.uint16).reshape(4, 6)
    assert resize_labels(ids, (2, 3)).tolist() == [[7, 9, 11], [19, 21, 23]]
    assert (resize_labels(ids, (4, 6)) == ids).all()
    image = np.zeros((4, 6, 3), np.uint8)
    image[:2, :2] = 200
    assert resize_rgb(image, (2, 3))[0, 0].tolist() == [200, 200, 200]
    assert resize_rgb(image, (2, 3))[1:].max() == 0


def test_missing_side_follows_the_aspect_ratio():
    assert target_size((480, 640), None, None) == (480, 640)
    assert target_size((480, 640), 160, None) == (120, 160)
    assert target_size((480, 640), None, 240) == (240, 320)
    assert target_size((480, 640), 100, 100) == (100, 100)


def test_transparency_is_blended_over_white(tmp_path):
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read_rgb(tmp_path / "a.png")[..., 0].tolist() == [[0, 255], [255, 255]]


def test_split_is_by_sampled_position(tmp_path):
    listing = list_scene(write_replica(tmp_path / "scene"), "replica")
    listing = replace(listing, names=tuple(map(str, range(25))))
    assert np.flatnonzero(split_frames(listing, 10, "every_nth")).tolist() == [0, 10, 20]


@pytest.mark.parametrize("layout", ["replica", "semantic_nerf"])
def test_both_layouts_give_the_same_frames(tmp_path, layout):
    write = {"replica": write_replica, "semantic_nerf": write_semantic_nerf}[layout]
    listing = list_scene(write(tmp_path / "scene"), layout)
    frames = read_frames(listing, 16, 12, 10)
    assert frames.rgb.shape == (12, 12, 16, 3)
    assert frames.classes == CLASSES
    assert np.allclose(frames.pose[3], camera_at(0.3), atol=1e-8)
    assert frames.intrinsics.tolist() == [[15, 0, 8], [0, 15, 6], [0, 0, 1]]
    labels, names = read_labels(listing, (HEIGHT, WIDTH), (HEIGHT, WIDTH))
    assert tuple(names) == CLASSES
    assert (labels[5][label(5) == 0] == VOID).all()
    assert (labels[5][label(5) == 1] == 0).all()
    assert (labels[5][label(5) == 3] == 2).all()


def test_class_ids_need_not_be_dense(tmp_path):
    folder = write_semantic_nerf(tmp_path / "scene")
    items = [{"id": i, "name": n} for i, n in ((3, "wall"), (0, "void"), (1, "chair"), (2, "sky"))]
    items.append({"id": 93, "name": "window"})
    (folder / "info_semantic.json").write_text(json.dumps({"classes": items}))
    ids = label(0)
    ids[0, 0] = 93
    Image.fromarray(ids).save(folder / "semantic_class/semantic_class_0.png")
    listing = list_scene(folder, "semantic_nerf")
    labels, names = read_labels(listing, (HEIGHT, WIDTH), (HEIGHT, WIDTH))
    assert names == ["chair", "sky", "wall", "window"]
    assert labels[0, 0, 0] == 3


def test_public_replica_camera_is_the_default(tmp_path):
    folder = write_semantic_nerf(tmp_path / "scene")
    (folder / "intrinsics.txt").unlink()
    listing = list_scene(folder, "semantic_nerf")
    with pytest.raises(UserError, match=r"no intrinsics\.txt, and images are 32x24"):
        read_frames(listing, None, None, 10)
    from ovnerf.scenes.semantic_nerf import reader

    assert reader.intrinsics(listing, 640, 480).tolist() == [
        [320, 0, 320],
        [0, 320, 240],
        [0, 0, 1],
    ]
