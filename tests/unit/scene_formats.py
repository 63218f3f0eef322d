"""The tiny scene of `scene_folders` in the formats of other tools, as those tools write them."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from scene_folders import CLASSES, HEIGHT, WIDTH, camera_at, intrinsics, label, matrix_text, photo

FRAMES = 12
TABLE = (
    "id\traw_category\tcategory\tnyu40id\tnyu40class\n"
    "1\twall\twall\t1\twall\n2\toffice chair\tchair\t5\tchair\n3\tfloor\tfloor\t2\tfloor\n"
    "9\tguitar\tguitar\t40\totherprop\n"
)
"""Rows as in scannetv2-labels.combined.tsv (fewer columns)."""
RAW_IDS = {0: 0, 1: 2, 2: 3, 3: 1}
"""Label of `scene_folders.label` -> id in TABLE."""


def pose(index: int) -> np.ndarray:
    """Camera-to-world of frame `index`: it moves, turns and tilts."""
    tilt = np.eye(4)
    angle = 0.05 * index
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return camera_at(0.1 * index, 0.03 * index**2, 0.07 * index) @ tilt


def poses() -> np.ndarray:
    return np.stack([pose(index) for index in range(FRAMES)])


def raw_label(index: int) -> np.ndarray:
    ids = label(index)
    return np.vectorize(RAW_IDS.get)(ids).astype(np.uint16)


def write_scannet(folder: Path, labels: bool = True) -> Path:
    """A scene exported by ScanNet's tool; the label table lies one folder above."""
    for name in ("color", "pose", "intrinsic"):
        (folder / name).mkdir(parents=True)
    for index in range(FRAMES):
        Image.fromarray(photo(index)).save(folder / f"color/{index}.jpg", quality=95)
        (folder / f"pose/{index}.txt").write_text(matrix_text(pose(index)))
    camera = np.eye(4)
    camera[:3, :3] = intrinsics()
    (folder / "intrinsic/intrinsic_color.txt").write_text(matrix_text(camera))
    if labels:
        write_scannet_labels(folder)
    return folder


def write_scannet_labels(folder: Path) -> None:
    """Labels at twice the size of the photos."""
    (folder / "label-filt").mkdir()
    (folder.parent / "scannetv2-labels.combined.tsv").write_text(TABLE)
    for index in range(FRAMES):
        ids = raw_label(index).repeat(2, 0).repeat(2, 1)
        Image.fromarray(ids).save(folder / f"label-filt/{index}.png")


def depth(index: int) -> np.ndarray:
    """u16 (6, 8), millimetres."""
    return (1000 + index + np.arange(48).reshape(6, 8)).astype(np.uint16)


def jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def write_sens(folder: Path, lost: tuple[int, ...] = (), version: int = 4) -> Path:
    """A recording with JPEG colour and zlib depth, the poses of `lost` frames at -inf."""
    folder.mkdir(parents=True, exist_ok=True)
    camera = np.eye(4)
    camera[:3, :3] = intrinsics()
    small = np.diag([0.25, 0.25, 1, 1]) @ camera
    name = b"StructureSensor"
    with (folder / f"{folder.name}.sens").open("wb") as file:
        file.write(struct.pack("<IQ", version, len(name)) + name)
        for matrix in (camera, np.eye(4), small, np.eye(4)):
            file.write(struct.pack("<16f", *matrix.ravel()))
        file.write(struct.pack("<2i4IfQ", 2, 1, WIDTH, HEIGHT, 8, 6, 1000.0, FRAMES))
        for index in range(FRAMES):
            matrix = np.full((4, 4), -np.inf) if index in lost else pose(index)
            images = jpeg(photo(index)), zlib.compress(depth(index).tobytes())
            file.write(struct.pack("<16f", *matrix.ravel()))
            file.write(struct.pack("<4Q", index * 33, index * 33 + 5, *map(len, images)))
            file.write(b"".join(images))
        file.write(struct.pack("<Q", 1) + bytes(136))
    return folder


def write_llff(folder: Path, views: tuple[int, ...] = (0, 4)) -> Path:
    """A 3DOVS scene: LLFF axes are down, right, back."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for index in range(FRAMES):
        Image.fromarray(photo(index)).save(folder / f"images/{index:02d}.png")
        right, down, forward, centre = pose(index)[:3].T
        size = np.array([HEIGHT, WIDTH, intrinsics()[0, 0]])
        matrix = np.stack([down, right, -forward, centre, size], axis=1)
        rows.append([*matrix.ravel(), 0.5, 9.0])
    np.save(folder / "poses_bounds.npy", np.array(rows))
    (folder / "segmentations").mkdir()
    (folder / "segmentations/classes.txt").write_text("\n".join(reversed(CLASSES)))
    for view in views:
        (folder / f"segmentations/{view:02d}").mkdir()
        for number, name in enumerate(CLASSES, start=1):
            mask = np.where(label(view) == number, 255, 0).astype(np.uint8)
            Image.fromarray(mask).save(folder / f"segmentations/{view:02d}/{name}.png")
    return folder


def write_photos(folder: Path, frames: int = FRAMES, name: str = "view_{}.png") -> None:
    (folder / "images").mkdir(parents=True)
    for index in range(frames):
        Image.fromarray(photo(index)).save(folder / "images" / name.format(index))
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")


def write_colmap(
    folder: Path,
    text: bool = False,
    model: str = "PINHOLE",
    distortion: tuple[float, ...] = (),
    frames: int = FRAMES,
    name: str = "view_{}.png",
) -> Path:
    """A sparse model written by pycolmap."""
    import pycolmap

    write_photos(folder, name=name)
    camera = intrinsics()
    values = {
        "SIMPLE_PINHOLE": [camera[0, 0], camera[0, 2], camera[1, 2]],
        "SIMPLE_RADIAL": [camera[0, 0], camera[0, 2], camera[1, 2], *distortion],
    }.get(model, [camera[0, 0], camera[1, 1], camera[0, 2], camera[1, 2], *distortion])
    scene = pycolmap.Reconstruction()
    scene.add_camera_with_trivial_rig(
        pycolmap.Camera(model=model, width=WIDTH, height=HEIGHT, params=values, camera_id=1)
    )
    for index in range(frames):
        inverse = np.linalg.inv(pose(index))[:3]
        image = pycolmap.Image(name=name.format(index), camera_id=1, image_id=index + 1)
        scene.add_image_with_trivial_frame(image, pycolmap.Rigid3d(inverse))
    (folder / "sparse/0").mkdir(parents=True)
    (scene.write_text if text else scene.write_binary)(str(folder / "sparse/0"))
    return folder


def write_nerfstudio(folder: Path, **camera: object) -> Path:
    """A transforms.json: OpenGL camera axes, frames in no order."""
    write_photos(folder)
    matrix = intrinsics()
    frames = [
        {
            "file_path": f"images/view_{index}.png",
            "transform_matrix": (pose(index) @ np.diag([1.0, -1, -1, 1])).tolist(),
        }
        for index in reversed(range(FRAMES))
    ]
    values = {
        "camera_model": "OPENCV",
        **{"fl_x": matrix[0, 0], "fl_y": matrix[1, 1], "cx": matrix[0, 2], "cy": matrix[1, 2]},
        **{"w": WIDTH, "h": HEIGHT, "frames": frames},
    }
    (folder / "transforms.json").write_text(json.dumps({**values, **camera}))
    return folder


def write_nice_slam(folder: Path) -> Path:
    """Replica as rendered for SLAM; the camera lies one folder above."""
    (folder / "results").mkdir(parents=True)
    for index in range(FRAMES):
        Image.fromarray(photo(index)).save(folder / f"results/frame{index:06d}.jpg", quality=95)
        Image.fromarray(depth(index)).save(folder / f"results/depth{index:06d}.png")
    rows = [" ".join(f"{value:.9e}" for value in pose(index).ravel()) for index in range(FRAMES)]
    (folder / "traj.txt").write_text("\n".join(rows) + "\n")
    matrix = intrinsics()
    camera = {"w": WIDTH, "h": HEIGHT, "fx": matrix[0, 0], "fy": matrix[1, 1], "scale": 6553.5}
    camera |= {"cx": WIDTH / 2 - 0.5, "cy": HEIGHT / 2 - 0.5}
    (folder.parent / "cam_params.json").write_text(json.dumps({"camera": camera}))
    (folder / "semantic_class").mkdir()
    for index in range(FRAMES):
        Image.fromarray(label(index)).save(folder / f"semantic_class/semantic_class_{index}.png")
    items = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    (folder / "info_semantic.json").write_text(json.dumps({"classes": items}))
    return folder
