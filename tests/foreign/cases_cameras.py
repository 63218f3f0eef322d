"""Cameras that cannot be, keys that change their meaning, and COLMAP models to choose from."""

from __future__ import annotations

import json
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scene_formats
import table
import zarr
from PIL import Image
from scene_folders import HEIGHT, WIDTH, matrix_text, photo, write_replica, write_semantic_nerf

POSES = scene_formats.poses()


def sample(folder: Path, layout: str) -> table.Arguments:
    """The command that reads `folder/scene`."""
    settings = json.dumps({"layout": layout})
    out = folder / "frames.zarr"
    return ["sample_frames", "--folder", folder / "scene", "--out", out, "--settings", settings]


def replica(
    *values: float, skew: float = 0.0, turned: bool = False
) -> Callable[[Path], table.Arguments]:
    """A replica scene whose camera file holds fx, fy, cx, cy."""

    def make(folder: Path) -> table.Arguments:
        scene = write_replica(folder / "scene")
        fx, fy, cx, cy = values
        matrix = np.array([[fx, skew, cx], [0, fy, cy], [0, 0, 1]])
        (scene / "intrinsics.txt").write_text(matrix_text(matrix.T if turned else matrix))
        return sample(folder, "replica")

    return make


def transforms(**camera: object) -> Callable[[Path], table.Arguments]:
    """A transforms.json with these keys beside the usual ones; None removes a key."""

    def make(folder: Path) -> table.Arguments:
        scene = scene_formats.write_nerfstudio(folder / "scene", **camera)
        path = scene / "transforms.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
        return sample(folder, "nerfstudio")

    return make


def frame_keys(number: int, **keys: object) -> Callable[[Path], table.Arguments]:
    """A transforms.json, one frame of which has these keys."""

    def make(folder: Path) -> table.Arguments:
        scene = scene_formats.write_nerfstudio(folder / "scene")
        path = scene / "transforms.json"
        content = json.loads(path.read_text())
        content["frames"][number].update(keys)
        path.write_text(json.dumps(content))
        return sample(folder, "nerfstudio")

    return make


def in_millimetres(command: str) -> Callable[[Path], table.Arguments]:
    """A replica scene with cameras 100 apart: its box is 3300 long, 3000 of training frames."""

    def make(folder: Path) -> table.Arguments:
        scene = write_replica(folder / "scene")
        for path in (scene / "pose_300").iterdir():
            pose = np.loadtxt(path)
            pose[:3, 3] *= 1000
            path.write_text(matrix_text(pose), encoding="utf-8")
        if command == "inspect":
            return ["inspect", scene, "--out", folder / "sheet.png"]
        return sample(folder, "replica")

    return make


def colmap(**model: object) -> Callable[[Path], table.Arguments]:
    def make(folder: Path) -> table.Arguments:
        scene_formats.write_colmap(folder / "scene", **model)
        return sample(folder, "colmap")

    return make


def add_model(folder: Path, name: str, frames: int) -> None:
    """Another model of the first photos beside `folder/scene`'s."""
    other = scene_formats.write_colmap(folder / "other", frames=frames)
    shutil.move(other / "sparse/0", folder / "scene" / name)
    shutil.rmtree(other)


def small_model_first(folder: Path) -> table.Arguments:
    """sparse/0 holds 10 photos, sparse/1 all 12."""
    scene_formats.write_colmap(folder / "scene", frames=10)
    add_model(folder, "sparse/1", 12)
    return sample(folder, "colmap")


def equal_models(folder: Path) -> table.Arguments:
    scene_formats.write_colmap(folder / "scene")
    add_model(folder, "sparse/1", 12)
    return sample(folder, "colmap")


def two_kinds_of_model(folder: Path) -> table.Arguments:
    """Binary files of all photos and text files of fewer, in one folder."""
    scene_formats.write_colmap(folder / "scene")
    other = scene_formats.write_colmap(folder / "other", text=True, frames=11)
    for path in (other / "sparse/0").iterdir():
        shutil.move(path, folder / "scene/sparse/0")
    shutil.rmtree(other)
    return sample(folder, "colmap")


def cut_count(folder: Path) -> table.Arguments:
    path = scene_formats.write_colmap(folder / "scene") / "sparse/0/images.bin"
    path.write_bytes(path.read_bytes()[:5])
    return sample(folder, "colmap")


def text_without_numbers(folder: Path) -> table.Arguments:
    path = scene_formats.write_colmap(folder / "scene", text=True) / "sparse/0/images.txt"
    path.write_text(path.read_text().replace("1 0.5 0.5", "one 0.5 0.5", 1))
    return sample(folder, "colmap")


def text_without_points(folder: Path) -> table.Arguments:
    """A text model whose images have no line of points, as scripts write it."""
    path = scene_formats.write_colmap(folder / "scene", text=True) / "sparse/0/images.txt"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return sample(folder, "colmap")


def text_cut_before_points(folder: Path) -> table.Arguments:
    """A text model whose last image has no line of points."""
    path = scene_formats.write_colmap(folder / "scene", text=True) / "sparse/0/images.txt"
    path.write_text(path.read_text(encoding="utf-8").rstrip() + "\n", encoding="utf-8")
    return sample(folder, "colmap")


def one_name_twice(text: bool) -> Callable[[Path], table.Arguments]:
    """A model in which two images of different poses are called `view_3.png`."""

    def make(folder: Path) -> table.Arguments:
        model = scene_formats.write_colmap(folder / "scene", text=text) / "sparse/0"
        path = model / ("images.txt" if text else "images.bin")
        path.write_bytes(path.read_bytes().replace(b"view_7.png", b"view_3.png"))
        return sample(folder, "colmap")

    return make


def names_with_spaces(folder: Path) -> table.Arguments:
    """A text model of photos that are called `my view 0.png`."""
    scene = scene_formats.write_colmap(folder / "scene", text=True)
    path = scene / "sparse/0/images.txt"
    path.write_text(path.read_text().replace("view_", "my view "))
    for image in (scene / "images").iterdir():
        image.rename(image.with_name(image.name.replace("view_", "my view ")))
    return sample(folder, "colmap")


def camera_per_photo(difference: float) -> Callable[[Path], table.Arguments]:
    """A text model with a camera for each photo, the focal lengths of which differ."""

    def make(folder: Path) -> table.Arguments:
        scene = scene_formats.write_colmap(folder / "scene", text=True)
        model = scene / "sparse/0"
        count = scene_formats.FRAMES
        focal = [30 * (1 + difference * number) for number in range(count)]
        (model / "cameras.txt").write_text(
            "".join(f"{i + 1} PINHOLE 32 24 {f!r} 30 16 12\n" for i, f in enumerate(focal))
        )
        lines = (model / "images.txt").read_text()
        (model / "images.txt").write_text(
            re.sub(r" 1 view_(\d+)", lambda m: f" {int(m[1]) + 1} view_{m[1]}", lines)
        )
        for name in ("rigs.txt", "frames.txt"):
            (model / name).unlink()
        return sample(folder, "colmap")

    return make


def llff_rows(change: Callable[[np.ndarray], object]) -> Callable[[Path], table.Arguments]:
    def make(folder: Path) -> table.Arguments:
        path = scene_formats.write_llff(folder / "scene") / "poses_bounds.npy"
        rows = np.load(path)
        change(rows)
        np.save(path, rows)
        return sample(folder, "llff")

    return make


def second_zoom(rows: np.ndarray) -> None:
    rows[3, 14] = 45.0  # the focal length of row 3


def millimetres(rows: np.ndarray) -> None:
    rows[:, 14] = 0.9


def sens_of_smaller_photos(folder: Path) -> table.Arguments:
    """A recording whose header says 32x24, with photos of half that size."""
    original = scene_formats.photo
    scene_formats.photo = lambda index: original(index)[::2, ::2]
    try:
        scene_formats.write_sens(folder / "scene")
    finally:
        scene_formats.photo = original
    return sample(folder, "scannet")


def moved_colour_camera(folder: Path) -> table.Arguments:
    """A recording whose colour camera is 4 cm beside the place that poses are of."""
    path = scene_formats.write_sens(folder / "scene") / "scene.sens"
    content = bytearray(path.read_bytes())
    # Version, length of the name, name, colour intrinsics; then the fourth number.
    start = 4 + 8 + len("StructureSensor") + 64 + 3 * 4
    content[start : start + 4] = struct.pack("<f", -0.04)
    path.write_bytes(content)
    return sample(folder, "scannet")


def extrinsic_file(text: str) -> Callable[[Path], table.Arguments]:
    def make(folder: Path) -> table.Arguments:
        scene = scene_formats.write_scannet(folder / "scene", labels=False)
        (scene / "intrinsic/extrinsic_color.txt").write_text(text)
        return sample(folder, "scannet")

    return make


def portrait_photos(folder: Path) -> table.Arguments:
    """Photos on their side under the camera of upright ones, without a size in the file."""
    arguments = transforms(w=None, h=None)(folder)
    for index in range(scene_formats.FRAMES):
        upright = Image.fromarray(photo(index)).transpose(Image.Transpose.ROTATE_90)
        upright.save(folder / f"scene/images/view_{index}.png")
    return arguments


def slam_camera(**keys: object) -> Callable[[Path], table.Arguments]:
    def make(folder: Path) -> table.Arguments:
        scene_formats.write_nice_slam(folder / "scene")
        path = folder / "cam_params.json"
        content = json.loads(path.read_text())
        content["camera"].update(keys)
        path.write_text(json.dumps(content))
        return sample(folder, "nice_slam")

    return make


def default_camera_of_other_photos(folder: Path) -> table.Arguments:
    (write_semantic_nerf(folder / "scene") / "intrinsics.txt").unlink()
    return sample(folder, "semantic_nerf")


def masks_beside_photos(folder: Path) -> table.Arguments:
    arguments = colmap()(folder)
    (folder / "scene/masks").mkdir()
    return arguments


def checked(make: Callable[[Path], table.Arguments]) -> Callable[[Path], table.Arguments]:
    """The same scene through `python -m ovnerf check`."""

    def make_config(folder: Path) -> table.Arguments:
        layout = json.loads(str(make(folder)[-1]))["layout"]
        sheet = folder / "scenes.tsv"
        sheet.write_text(
            f"dataset\tscene\tlayout\tpath\nmine\troom\t{layout}\t{folder / 'scene'}\n"
        )
        config = folder / "config.yaml"
        config.write_text(f"scenes: {sheet}\n")
        return ["check", config]

    return make_config


def column_twice(folder: Path) -> table.Arguments:
    """A scene sheet that names two layouts."""
    arguments = checked(replica(30, 30, 16, 12))(folder)
    sheet = folder / "scenes.tsv"
    header, row = sheet.read_text().splitlines()
    sheet.write_text(f"{header}\tlayout\n{row}\tcolmap\n")
    return arguments


def inspected(make: Callable[[Path], table.Arguments]) -> Callable[[Path], table.Arguments]:
    """The same scene through `python -m ovnerf inspect`."""

    def make_sheet(folder: Path) -> table.Arguments:
        layout = json.loads(str(make(folder)[-1]))["layout"]
        out = folder / "sheet.png"
        return ["inspect", folder / "scene", "--layout", layout, "--out", out]

    return make_sheet


def camera(fx: float, fy: float, cx: float, cy: float) -> Callable[[Path], None]:
    """Asserts the camera and the poses in the store."""

    def check(folder: Path) -> None:
        store = zarr.open_group(folder / "frames.zarr", mode="r")
        expected = [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]
        np.testing.assert_allclose(store["intrinsics"][:], expected, rtol=0, atol=1e-6)

    return check


def same_scene(folder: Path) -> None:
    """Asserts the tiny scene's camera, and its pose in every frame."""
    camera(30, 30, WIDTH / 2, HEIGHT / 2)(folder)
    store = zarr.open_group(folder / "frames.zarr", mode="r")
    np.testing.assert_allclose(store["pose"][:], POSES, rtol=0, atol=1e-6)


def nothing_written(folder: Path) -> None:
    assert not list(folder.glob("*.zarr"))


def sheet_drawn(folder: Path) -> None:
    assert (folder / "sheet.png").is_file()


CASES: list[table.Case] = [
    table.Refused(
        "a camera of photos half as large",
        replica(15, 15, 8, 6),
        ("scene/intrinsics.txt", "(8, 6), which belong to photos of about 16x12", "32x24"),
    ),
    table.Refused(
        "a camera of photos twice as large",
        transforms(fl_x=60, fl_y=60, cx=32, cy=24),
        ("scene/transforms.json", "photos of about 64x48", "32x24"),
    ),
    table.Refused(
        "intrinsics as shares of the size",
        transforms(fl_x=0.94, fl_y=1.25, cx=0.5, cy=0.5),
        ("scene/transforms.json", "photos whose size is 1 (normalised intrinsics)"),
    ),
    table.Refused(
        "intrinsics in units of half the size, centre 0",
        replica(1.9, 2.5, 0, 0),
        ("scene/intrinsics.txt", "(normalised intrinsics)"),
    ),
    table.Refused(
        "the camera of upright photos under photos on their side",
        portrait_photos,
        ("scene/transforms.json", "(16, 12), which belong to photos turned on their side, 32x24"),
    ),
    table.Refused(
        "a transposed camera matrix",
        replica(30, 30, 16, 12, turned=True),
        ("scene/intrinsics.txt", "[16.0, 12.0, 1.0] as the last rows", "0 0 1"),
    ),
    table.Refused(
        "skew",
        replica(30, 30, 16, 12, skew=0.5),
        ("scene/intrinsics.txt: found skew 0.5, expected 0",),
    ),
    table.Refused(
        "focal lengths far apart",
        replica(30, 300, 16, 12),
        ("scene/intrinsics.txt", "found focal lengths 30 and 300, expected nearly the same"),
    ),
    table.Refused(
        "a focal length in millimetres",
        llff_rows(millimetres),
        ("scene/poses_bounds.npy", "173.6 degrees", "expected 1 to 170", "not in millimetres"),
    ),
    table.Refused(
        "LLFF rows of two zooms",
        llff_rows(second_zoom),
        ("scene/poses_bounds.npy", "24, 32, 30 in row 0 and 24, 32, 45 in row 3", "one camera"),
    ),
    table.Refused(
        "a recording with photos of another size than its header",
        sens_of_smaller_photos,
        ("scene/scene.sens: found a camera of 32x24, expected 16x12",),
    ),
    table.Refused(
        "a default camera of other photos",
        default_camera_of_other_photos,
        ("scene: no intrinsics.txt, and images are 32x24",),
    ),
    table.Refused(
        "barrel distortion that folds the photo over",
        transforms(k1=-0.9),
        ("scene/transforms.json: found distortion k1 -0.9, which folds", "at 61 % of the way"),
    ),
    table.Refused(
        "distortion far outside any lens, in a COLMAP model",
        colmap(model="SIMPLE_RADIAL", distortion=(50.0,)),
        ("scene/sparse/0/cameras.bin: found distortion k1 50, which moves the corner",),
    ),
    table.Refused(
        "tangential distortion that turns the photo inside out",
        colmap(model="OPENCV", distortion=(0.0, 0.0, 0.6, 0.0)),
        ("scene/sparse/0/cameras.bin", "p1 0.6, whose distortion cannot be undone"),
    ),
    table.Refused(
        "distortion that is not a number",
        transforms(k1=float("nan")),
        ("scene/transforms.json: found distortion k1 nan, expected finite numbers",),
    ),
    table.Refused(
        "a negative focal length",
        transforms(fl_y=-30),
        ("scene/transforms.json: found focal lengths 30 and -30",),
    ),
    table.Read(
        "poses in millimetres",
        in_millimetres("sample_frames"),
        lambda folder: None,
        ("the longest side of the scene box is 3000 m, expected 0.3 to 100 m", "millimetres"),
    ),
    table.Read(
        "poses in millimetres, inspected",
        in_millimetres("inspect"),
        lambda folder: None,
        ("warning: the longest side of the scene box is 3300 m", "millimetres"),
    ),
    table.Refused(
        "an angle in degrees",
        transforms(fl_x=None, fl_y=None, camera_angle_x=56.1),
        ("transforms.json: found camera_angle_x 56.1, expected more than 0 and", "not in degrees"),
    ),
    table.Refused(
        "an angle of nothing",
        transforms(camera_angle_y=0.0),
        ("transforms.json: found camera_angle_y 0, expected more than 0", "radians"),
    ),
    table.Refused(
        "an angle that contradicts the focal length",
        transforms(camera_angle_x=1.2),
        ("scene/transforms.json: found fl_x 30 and an angle that means 23.38", "camera_angle_x"),
    ),
    table.Refused(
        "is_fisheye",
        transforms(is_fisheye=True),
        ("scene/transforms.json: found is_fisheye True, which would change pixels or rays",),
    ),
    table.Refused(
        "the camera model of one frame",
        frame_keys(4, camera_model="OPENCV_FISHEYE"),
        ("scene/transforms.json, frame images/view_7.png: found camera_model OPENCV_FISHEYE",),
    ),
    table.Refused(
        "a pinhole with distortion",
        transforms(camera_model="PINHOLE", k1=0.1),
        ("scene/transforms.json: found camera_model PINHOLE with k1 0.1",),
    ),
    table.Refused(
        "a frame with a mask",
        frame_keys(0, mask_path="masks/1.png"),
        ("frame images/view_11.png: found mask_path masks/1.png", "no pixel can be left out"),
    ),
    table.Refused(
        "a rolling shutter",
        transforms(rolling_shutter=[0.0, 0.0, 0.5, 0.0]),
        ("scene/transforms.json: found rolling_shutter [0.0, 0.0, 0.5, 0.0]",),
    ),
    table.Refused(
        "distortion under another name",
        transforms(distortion_params=[0.1, 0, 0, 0, 0, 0]),
        ("scene/transforms.json: found distortion_params [0.1, 0, 0, 0, 0, 0]",),
    ),
    table.Refused(
        "a cropped SLAM camera",
        slam_camera(crop_edge=8),
        ("cam_params.json: found crop_edge 8, which would change the photos",),
    ),
    table.Refused(
        "two COLMAP models of equal size",
        equal_models,
        ("scene: found 2 COLMAP models of 12 photos each (sparse/0, sparse/1)",),
    ),
    table.Refused(
        "a binary and a text model that differ",
        two_kinds_of_model,
        ("scene/sparse/0: found images.bin with 12 photos and images.txt with 11",),
    ),
    table.Refused(
        "a COLMAP model cut in its first number",
        cut_count,
        ("scene/sparse/0/images.bin: found 5 bytes, expected a COLMAP model",),
    ),
    table.Refused(
        "a line of a text model that is no image",
        text_without_numbers,
        ("scene/sparse/0/images.txt: found the line 'one 0.5 0.5", "IMAGE_ID QW QX QY QZ"),
    ),
    table.Refused(
        "a text model without lines of points",
        text_without_points,
        ("scene/sparse/0/images.txt: found no line of points behind the line of 'view_0.png'",),
    ),
    table.Refused(
        "a text model cut before the last line of points",
        text_cut_before_points,
        ("images.txt: found no line of points behind the line of 'view_11.png'", "an empty line"),
    ),
    table.Refused(
        "a text model with one name twice",
        one_name_twice(text=True),
        ("scene/sparse/0/images.txt: found photo 'view_3.png' twice, expected each once",),
    ),
    table.Refused(
        "a binary model with one name twice",
        one_name_twice(text=False),
        ("scene/sparse/0/images.bin: found photo 'view_3.png' twice, expected each once",),
    ),
    table.Refused(
        "COLMAP cameras that differ by a hundredth of a pixel per photo",
        camera_per_photo(1e-3),
        ("scene/sparse/0/cameras.txt: found different cameras, fx 30 fy 30", "fx 30.03"),
    ),
    table.Read(
        "a camera that cannot be, in check",
        checked(replica(15, 15, 8, 6)),
        lambda folder: None,
        ("warning: sample_frames will refuse", "scene/intrinsics.txt", "photos of about 16x12"),
    ),
    table.Refused(
        "a column of the scene sheet that is there twice",
        column_twice,
        ("scenes.tsv: found the column 'layout' twice",),
    ),
    table.Read(
        "COLMAP cameras that differ in the tenth digit",
        camera_per_photo(1e-10),
        same_scene,
    ),
    table.Read(
        "the focal length of one frame that differs in the twelfth digit",
        frame_keys(5, fl_x=30.00000000003),
        same_scene,
    ),
    table.Read("a text model of names with spaces", names_with_spaces, same_scene),
    table.Read(
        "the largest of two COLMAP models",
        small_model_first,
        same_scene,
        ("COLMAP model sparse/1 (12 photos) is read, not sparse/0 (10 photos)",),
    ),
    table.Read(
        "the largest of two COLMAP models, in check",
        checked(small_model_first),
        nothing_written,
        ("COLMAP model sparse/1 (12 photos) is read, not sparse/0 (10 photos)",),
    ),
    table.Read(
        "masks beside the photos of a COLMAP model",
        masks_beside_photos,
        same_scene,
        ("folder masks is not read: every pixel of the photos is used",),
    ),
    table.Read(
        "a recording whose colour camera is beside its poses",
        moved_colour_camera,
        same_scene,
        ("scene.sens: the colour camera has an extrinsic matrix of its own, which is not applied",),
    ),
    table.Read(
        "an exported colour camera beside its poses",
        extrinsic_file("1 0 0 -0.04\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"),
        same_scene,
        ("intrinsic/extrinsic_color.txt: the colour camera has an extrinsic matrix of its own",),
    ),
    table.Refused(
        "an extrinsic file that is none",
        extrinsic_file("identity\n"),
        ("scene/intrinsic/extrinsic_color.txt: found no matrix, expected 16 numbers",),
    ),
    table.Read(
        "harmless and unknown keys",
        transforms(is_fisheye=False, k4=0, aabb_scale=16, applied_scale=0.5, white_balance=[1, 2]),
        same_scene,
        (
            "transforms.json: not read: applied_scale (is in the poses already, whose units it "
            "changed), white_balance (unknown)",
        ),
    ),
    table.Read(
        "focal lengths as two angles",
        # Half the angles have tangents 16 / 20 and 12 / 24.
        transforms(
            **dict.fromkeys(("fl_x", "fl_y", "cx", "cy")),
            camera_angle_x=2 * np.arctan(0.8),
            camera_angle_y=2 * np.arctan(0.5),
        ),
        camera(20, 24, 16, 12),
    ),
    table.Read(
        "skew of a rounding",
        replica(30, 30, 16, 12, skew=1e-6),
        camera(30, 30, 16, 12),
    ),
    table.Read(
        "a centre far from the middle",
        replica(30, 30, 20, 12),
        camera(30, 30, 20, 12),
        ("the camera's centre (20.0, 12.0) is far from the middle of the 32x24 photos",),
    ),
    table.Read(
        "a centre far from the middle, in check",
        checked(replica(30, 30, 20, 12)),
        nothing_written,
        ("warning: {folder}/scene: the camera's centre (20.0, 12.0)",),
    ),
    table.Read(
        "a centre far from the middle, in inspect",
        inspected(replica(30, 30, 20, 12)),
        sheet_drawn,
        ("warning: the camera's centre (20.0, 12.0)",),
    ),
    table.Read(
        "a tele lens",
        replica(300, 300, 16, 12),
        camera(300, 300, 16, 12),
        ("the camera sees 6.1 degrees across",),
    ),
]
