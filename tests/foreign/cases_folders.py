"""Scene folders: which files are photos, poses and labels, and which belong together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import scene_folders
import scene_formats
import table
from PIL import Image
from scene_folders import CLASSES, label, matrix_text, photo
from scene_folders import write_replica as replica
from scene_folders import write_semantic_nerf as semantic_nerf
from scene_formats import write_colmap as colmap
from scene_formats import write_llff as llff
from scene_formats import write_nerfstudio as nerfstudio
from scene_formats import write_nice_slam as nice_slam
from scene_formats import write_scannet as scannet
from scene_formats import write_sens as sens

from ovnerf.cli import main
from ovnerf.labels.void import VOID
from ovnerf.storage.stores import open_store

Write = Callable[[Path], Path]
Change = Callable[[Path], object]
TUM = [f"{1311868164 + index // 6}.{(900000 - 150000 * (index % 6)):06d}" for index in range(12)]
"""Time stamps as the TUM recordings name photos: the second decides, then the fraction."""


def sampling(write: Write, layout: str, change: Change, **settings: object) -> table.Case:
    """Arguments of `sample_frames` for a scene that was written and then changed."""

    def make(folder: Path) -> table.Arguments:
        scene = write(folder / "scene")
        change(scene)
        return sample(scene, layout, **settings)

    return make


def sample(scene: Path, layout: str, **settings: object) -> table.Arguments:
    out = scene.parent / "frames.zarr"
    chosen = json.dumps({"layout": layout, **settings})
    return ["sample_frames", "--folder", scene, "--out", out, "--settings", chosen]


def reading_truth(write: Write, layout: str, change: Change) -> table.Case:
    """Arguments of `read_truth`, after `sample_frames` has read the changed scene."""

    def make(folder: Path) -> table.Arguments:
        scene = write(folder / "scene")
        change(scene)
        assert main([str(part) for part in sample(scene, layout)]) == 0
        chosen = ("--settings", json.dumps({"layout": layout}))
        stores = ("--frames", folder / "frames.zarr", "--out", folder / "truth.zarr")
        return ["read_truth", "--folder", scene, *stores, *chosen]

    return make


def inspecting(write: Write, layout: str, change: Change) -> table.Case:
    def make(folder: Path) -> table.Arguments:
        scene = write(folder / "scene")
        change(scene)
        return ["inspect", scene, "--out", folder / "sheet.png", "--layout", layout]

    return make


def straight(index: int) -> np.ndarray:
    """The pose of a frame in the layouts of `scene_folders`."""
    return scene_folders.camera_at(0.1 * index)


def holds(
    names: Iterable[str], photos: Iterable[int], pose: Callable[[int], np.ndarray], levels: int = 0
) -> Callable[[Path], None]:
    """Each name has this photo (within so many grey levels on average) and that photo's pose."""

    def check(folder: Path) -> None:
        store = open_store(folder / "frames.zarr", "frames")
        assert store.attrs["names"] == list(names)
        for found, colours, number in zip(store["pose"], store["rgb"], photos, strict=True):
            assert np.allclose(found, pose(number), atol=1e-6)
            assert np.abs(colours.astype(int) - photo(number)).mean() <= levels

    return check


def labelled(numbers: Iterable[int], view: Callable[[int], bool] = bool) -> Callable[[Path], None]:
    """Frame after frame carries the labels of these photos, and void where `view` says so."""

    def check(folder: Path) -> None:
        store = open_store(folder / "truth.zarr", "truth")
        for found, number in zip(store["label"], numbers, strict=True):
            ids = label(number)
            for identity, name in enumerate(CLASSES, start=1):
                assert (found[ids == identity] == store.attrs["classes"].index(name)).all()
            assert (found[ids == 0] == VOID).all()

    return check


def renamed(folder: Path, pattern: str, name: Callable[[int], str]) -> None:
    """Files that fit the pattern, in numeric order, get new stems."""
    files = sorted(
        folder.glob(pattern), key=lambda path: int("".join(filter(str.isdigit, path.stem)))
    )
    for index, path in enumerate(files):
        path.rename(path.with_name(f"new {name(index)}{path.suffix}"))
    for path in folder.glob("new *"):
        path.rename(path.with_name(path.name.removeprefix("new ")))


def time_stamps(scene: Path) -> None:
    for name in ("rgb_300", "pose_300", "semantic_300"):
        renamed(scene / name, "*", lambda index: TUM[index])


def time_order() -> list[int]:
    return sorted(range(12), key=lambda index: TUM[index])


def litter(folder: Path, name: str) -> None:
    """What editors and file systems leave beside a photo."""
    (folder / ".ipynb_checkpoints").mkdir()
    shutil.copy(folder / name, folder / f".ipynb_checkpoints/{Path(name).stem}-checkpoint.png")
    shutil.copy(folder / name, folder / f"._{name}")
    for other in (".DS_Store", "Thumbs.db"):
        (folder / other).write_bytes(b"x")


def as_webp(scene: Path) -> None:
    for index, path in enumerate(sorted((scene / "rgb_300").iterdir())):
        path.unlink()
        Image.fromarray(photo(index)).save(path.with_suffix(".webp"), lossless=True)


def pictures(folder: Path, name: str) -> None:
    """Colour pictures of labels, a thumbnail and a Windows cache; `name` holds a {} for numbers."""
    for index in range(12):
        Image.fromarray(photo(index)).save(folder / name.format(index))
    Image.fromarray(photo(0)).resize((8, 6)).save(folder / "thumbnail.png")
    (folder / "Thumbs.db").write_bytes(b"x")


def every_other(scene: Path) -> None:
    """Photos and labels keep their numbers 0, 2, 4 ... 22 of a longer recording."""
    renamed(scene / "rgb", "*", lambda index: f"rgb_{2 * index}")
    renamed(scene / "semantic_class", "*", lambda index: f"semantic_class_{2 * index}")
    rows = [" ".join(map(repr, straight(index).ravel().tolist())) for index in range(24)]
    (scene / "traj_w_c.txt").write_text("\n".join(rows))
    for index in range(12):
        Image.fromarray(photo(2 * index)).save(scene / f"rgb/rgb_{2 * index}.png")


def one_more_photo(folder: Path, name: str) -> None:
    Image.fromarray(photo(12)).save(folder / name)


def blank_line(scene: Path) -> None:
    lines = (scene / "traj_w_c.txt").read_text().splitlines()
    (scene / "traj_w_c.txt").write_text("\n".join([*lines[:4], "", *lines[4:]]))


def from_one(scene: Path) -> None:
    """Photos and masks-to-be are numbered from 1, as people do by hand."""
    renamed(scene / "images", "*", lambda index: f"{index + 1:02d}")


def edit_frames(scene: Path, change: Callable[[dict], object]) -> None:
    path = scene / "transforms.json"
    content = json.loads(path.read_text())
    for frame in content["frames"]:
        change(frame)
    path.write_text(json.dumps(content))


def rename_in_list(scene: Path, name: Callable[[str], str]) -> None:
    edit_frames(scene, lambda frame: frame.update(file_path=name(frame["file_path"])))


def one_photo_in_two_formats(scene: Path) -> None:
    """view_6 becomes view_5.jpg: beside view_5.png, with a pose of its own."""
    (scene / "images/view_6.png").unlink()
    Image.fromarray(photo(6)).save(scene / "images/view_5.jpg", quality=95)
    rename_in_list(scene, lambda name: name.replace("view_6.png", "view_5.jpg"))


def listed_twice(scene: Path) -> None:
    rename_in_list(scene, lambda name: name.replace("images/view_6.png", "./images//view_5.png"))


def two_cameras(scene: Path) -> None:
    """Photos 0 to 5 lie in `left`, 6 to 11 in `right`, numbered alike."""
    for index in range(12):
        side = scene / "images" / ("left", "right")[index // 6]
        side.mkdir(exist_ok=True)
        (scene / f"images/view_{index}.png").rename(side / f"view_{index % 6}.png")
    path = scene / "sparse/0/images.txt"
    text = path.read_text()
    for index in reversed(range(12)):
        side = ("left", "right")[index // 6]
        text = text.replace(f" view_{index}.png", f" {side}/view_{index % 6}.png")
    path.write_text(text)


def scattered_jpegs(scene: Path) -> None:
    """`view_5.jpg` is another photo, which the model does not hold."""
    Image.fromarray(photo(9)).save(scene / "images/view_5.jpg")


def webp_photos(scene: Path) -> None:
    for path in (scene / "images").glob("*.png"):
        Image.open(path).save(path.with_suffix(".webp"), lossless=True)
        path.unlink()


def in_model(scene: Path, change: Callable[[str], str]) -> None:
    path = scene / "sparse/0/images.txt"
    path.write_text(change(path.read_text()))


def sheet(path: str) -> Callable[[Path], table.Arguments]:
    """Arguments of `check` for a sheet whose scene lies at `path`."""

    def make(folder: Path) -> table.Arguments:
        replica(folder / "data/room")
        rows = "dataset\tscene\tpath\nmine\troom\t" + path.format(folder=folder) + "\n"
        (folder / "scenes.tsv").write_text(rows)
        (folder / "config.yaml").write_text(f"scenes: {folder / 'scenes.tsv'}\n")
        return ["check", folder / "config.yaml"]

    return make


def as_text(index: int) -> str:
    """The name without padding that comes at this place in the order of texts."""
    return sorted(map(str, range(12)))[index]


NAMES = [f"rgb_{index:03d}" for index in range(12)]
UNPADDED = [f"rgb_{index}" for index in range(12)]
VIEWS = [f"view_{index}" for index in range(12)]
PADDED = [f"{index:02d}" for index in range(12)]
STILL = [index for index in range(12) if index != 5]


def missing_pose(scene: Path) -> None:
    (scene / "pose_300/pose_007.txt").unlink()


def far_away(scene: Path) -> None:
    """Camera centres that are numbers, whose box is none."""
    for path in (scene / "pose_300").iterdir():
        pose = np.eye(4)
        pose[0, 3] = 1.5e308
        path.write_text(matrix_text(pose))


REPLICA: list[table.Case] = [
    table.Refused(
        "a photo without a pose",
        sampling(replica, "replica", missing_pose),
        ("{folder}/scene/pose_300", "rgb_007.png", "frame number 7"),
    ),
    table.Refused(
        "one photo in two formats",
        sampling(replica, "replica", lambda f: one_more_photo(f / "rgb_300", "rgb_005.jpg")),
        ("{folder}/scene/rgb_300/rgb_005.png: same frame number 5 as rgb_005.jpg",),
    ),
    table.Read(
        "photos, poses and labels named by time stamps",
        sampling(replica, "replica", time_stamps),
        holds(sorted(TUM), time_order(), straight),
    ),
    table.Read(
        "labels named by time stamps",
        reading_truth(replica, "replica", time_stamps),
        labelled(time_order()),
    ),
    table.Refused(
        "time stamps whose order is not certain",
        sampling(
            replica,
            "replica",
            lambda f: [
                renamed(f / name, "*", lambda index: f"1.{5 * index}")
                for name in ("rgb_300", "pose_300", "semantic_300")
            ],
        ),
        ("{folder}/scene/rgb_300: found 1.5.png and 1.10.png", "order is not certain"),
    ),
    table.Read(
        "a version behind each number",
        sampling(
            replica,
            "replica",
            lambda f: renamed(f / "rgb_300", "*", lambda index: f"rgb_{index:03d}_v2"),
        ),
        holds([f"{name}_v2" for name in NAMES], range(12), straight),
    ),
    table.Read(
        "hidden files and folders beside photos, poses and labels",
        sampling(
            replica,
            "replica",
            lambda f: [
                litter(f / "rgb_300", "rgb_003.png"),
                litter(f / "pose_300", "pose_003.txt"),
                litter(f / "semantic_300", "semantic_class_003.png"),
            ],
        ),
        holds(NAMES, range(12), straight),
    ),
    table.Read(
        "webp photos",
        sampling(replica, "replica", as_webp),
        holds(NAMES, range(12), straight),
    ),
    table.Refused(
        "photos without a suffix",
        sampling(
            replica,
            "replica",
            lambda f: [path.rename(path.with_suffix("")) for path in (f / "rgb_300").iterdir()],
        ),
        (
            "{folder}/scene/rgb_300: found no photo but 12 other files (rgb_000)",
            ".jpg, .png, .webp",
        ),
    ),
    table.Refused(
        "labels numbered from 1 for photos numbered from 0",
        sampling(
            replica,
            "replica",
            lambda f: renamed(
                f / "semantic_300", "*", lambda index: f"semantic_class_{index + 1:03d}"
            ),
            frames=11,
        ),
        (
            "{folder}/scene/semantic_300: found no label for 1 of 12 photos (rgb_000.png)",
            "_012.png",
        ),
    ),
    table.Refused(
        "labels of another scene",
        sampling(
            replica,
            "replica",
            lambda f: renamed(
                f / "semantic_300", "*", lambda index: f"semantic_class_{index + 90}"
            ),
        ),
        ("found no label for 12 of 12 photos (rgb_000.png) and no photo for 12 of 12 files",),
    ),
    table.Refused(
        "labels as JPEG",
        sampling(
            replica,
            "replica",
            lambda f: [
                path.rename(path.with_suffix(".jpg")) for path in (f / "semantic_300").iterdir()
            ],
        ),
        ("{folder}/scene/semantic_300: found no label image but 12 other files",),
    ),
    table.Read(
        "colour pictures, a thumbnail and Thumbs.db beside the labels",
        reading_truth(
            replica, "replica", lambda f: pictures(f / "semantic_300", "vis_semantic_{:03d}.png")
        ),
        labelled(range(12)),
        ("ignored: 14 in semantic_300 (Thumbs.db, thumbnail.png, vis_semantic_000.png ...)",),
    ),
    table.Read(
        "pictures beside the labels, looked at",
        inspecting(
            replica, "replica", lambda f: pictures(f / "semantic_300", "vis_semantic_{:03d}.png")
        ),
        lambda folder: None,
        ("ignored: 14 in semantic_300 (Thumbs.db, thumbnail.png,", "labels: on 12 of 12 frames"),
    ),
    table.Refused(
        "poses whose box is not finite",
        sampling(replica, "replica", far_away, box="as_shipped"),
        ("{folder}/scene: the scene box by rule as_shipped or the camera is not finite",),
    ),
]

TRAJECTORIES: list[table.Case] = [
    table.Refused(
        "12 lines for 11 photos",
        sampling(semantic_nerf, "semantic_nerf", lambda f: (f / "rgb/rgb_11.png").unlink()),
        ("{folder}/scene/traj_w_c.txt: found 12 lines for 11 photos numbered 0 to 10",),
    ),
    table.Refused(
        "a photo without a line, which the sample leaves out",
        sampling(
            semantic_nerf,
            "semantic_nerf",
            lambda f: one_more_photo(f / "rgb", "rgb_12.png"),
            frames=10,
        ),
        ("{folder}/scene/traj_w_c.txt: no pose for image rgb_12, found 12 lines",),
    ),
    table.Refused(
        "photos numbered from 1",
        sampling(
            semantic_nerf,
            "semantic_nerf",
            lambda f: [
                renamed(f / "rgb", "*", lambda index: f"rgb_{index + 1}"),
                shutil.rmtree(f / "semantic_class"),
            ],
            frames=10,
        ),
        ("no pose for image rgb_12, found 12 lines, expected line 12 (counted from 0)",),
    ),
    table.Refused(
        "an empty line in the trajectory",
        sampling(semantic_nerf, "semantic_nerf", blank_line),
        ("{folder}/scene/traj_w_c.txt, line 5: found an empty line between poses",),
    ),
    table.Read(
        "a photo missing in the middle",
        sampling(semantic_nerf, "semantic_nerf", lambda f: (f / "rgb/rgb_5.png").unlink()),
        holds([UNPADDED[index] for index in STILL], STILL, straight),
    ),
    table.Read(
        "every other photo of a longer trajectory",
        sampling(semantic_nerf, "semantic_nerf", every_other),
        holds([f"rgb_{2 * index}" for index in range(12)], range(0, 24, 2), straight),
    ),
    table.Read(
        "the colour pictures that come with Semantic-NeRF's labels",
        reading_truth(
            semantic_nerf,
            "semantic_nerf",
            lambda f: pictures(f / "semantic_class", "vis_sem_class_{}.png"),
        ),
        labelled(range(12)),
        ("ignored: 14 in semantic_class",),
    ),
    table.Refused(
        "a shortened SLAM rendering",
        sampling(
            nice_slam,
            "nice_slam",
            lambda f: (f / "results/frame000011.jpg").unlink(),
            frames=10,
        ),
        ("{folder}/scene/traj.txt: found 12 lines for 11 photos numbered 0 to 10",),
    ),
    table.Read(
        "hidden files beside a SLAM rendering",
        sampling(nice_slam, "nice_slam", lambda f: litter(f / "results", "frame000004.jpg")),
        holds([f"frame{index:06d}" for index in range(12)], range(12), scene_formats.pose, 4),
    ),
]

SCANNET: list[table.Case] = [
    table.Refused(
        "poses numbered from 1 for photos numbered from 0",
        sampling(
            scannet,
            "scannet",
            lambda f: renamed(f / "pose", "*", lambda index: f"{index + 1}"),
        ),
        ("{folder}/scene/pose: found no pose for 1 of 12 photos (0.jpg)", "(12.txt)"),
    ),
    table.Read(
        "fewer photos than poses and labels",
        sampling(scannet, "scannet", lambda f: (f / "color/5.jpg").unlink()),
        holds(map(str, STILL), STILL, scene_formats.pose, 4),
    ),
    table.Read(
        "colour pictures beside ScanNet's labels",
        reading_truth(scannet, "scannet", lambda f: pictures(f / "label-filt", "{}_vis.png")),
        lambda folder: scannet_labels(folder),
        ("ignored: 14 in label-filt (0_vis.png, 10_vis.png, 11_vis.png ...)",),
    ),
    table.Refused(
        "labels of a recording, numbered from 1",
        sampling(
            lambda folder: with_labels(sens(folder)),
            "scannet",
            lambda f: renamed(f / "label-filt", "*", lambda index: f"{index + 1}"),
        ),
        ("{folder}/scene/label-filt: found no label for 1 of 12 photos (0)", "(12.png)"),
    ),
    table.Read(
        "a hidden file named like the recording",
        sampling(sens, "scannet", lambda f: (f / "._scene.sens").write_bytes(b"x")),
        holds(map(str, range(12)), range(12), scene_formats.pose, 4),
    ),
]


def with_labels(scene: Path) -> Path:
    scene_formats.write_scannet_labels(scene)
    return scene


def scannet_labels(folder: Path) -> None:
    """The middle of each label is right, whose files are twice the photos' size."""
    store = open_store(folder / "truth.zarr", "truth")
    names = [*store.attrs["classes"]]
    expected = {1: names.index("chair"), 2: names.index("floor"), 3: names.index("wall"), 0: VOID}
    for found, index in zip(store["label"], range(12), strict=True):
        assert (found == np.vectorize(expected.get)(label(index))).all()


LLFF: list[table.Case] = [
    table.Refused(
        "a photo missing",
        sampling(llff, "llff", lambda f: (f / "images/05.png").unlink(), frames=10),
        ("{folder}/scene/poses_bounds.npy: found 12 poses for 11 photos",),
    ),
    table.Refused(
        "a photo too many, which the sample leaves out",
        sampling(llff, "llff", lambda f: one_more_photo(f / "images", "99.png"), frames=10),
        ("{folder}/scene/poses_bounds.npy: found 12 poses for 13 photos",),
    ),
    table.Refused(
        "a photo too many, looked at",
        inspecting(llff, "llff", lambda f: one_more_photo(f / "images", "99.png")),
        ("{folder}/scene/poses_bounds.npy: found 12 poses for 13 photos",),
    ),
    table.Read(
        "hidden files, and thumbnails in a folder of their own",
        sampling(
            llff,
            "llff",
            lambda f: [
                litter(f / "images", "04.png"),
                (f / "images/thumbs").mkdir(),
                one_more_photo(f / "images/thumbs", "04.png"),
            ],
        ),
        holds(PADDED, range(12), scene_formats.pose),
    ),
    table.Read(
        "one stem in two formats, each with a row of its own",
        sampling(
            llff,
            "llff",
            lambda f: [
                (f / "images/06.png").unlink(),
                Image.fromarray(photo(6)).save(f / "images/05.webp", lossless=True),
            ],
        ),
        holds([*PADDED[:5], "05.png", "05.webp", *PADDED[7:]], range(12), scene_formats.pose),
    ),
    table.Read(
        "numbers without padding, which LLFF sorts as text",
        sampling(
            lambda folder: llff(folder, ()), "llff", lambda f: renamed(f / "images", "*", as_text)
        ),
        holds(sorted(map(str, range(12))), range(12), scene_formats.pose),
    ),
    table.Refused(
        "masks whose number is one photo's position and another's name",
        sampling(
            lambda folder: llff(folder, (1, 4)),
            "llff",
            from_one,
        ),
        (
            "{folder}/scene/segmentations/01: found masks of view 1, which is 02.png by position "
            "and 01.png by name",
        ),
    ),
    table.Read(
        "masks by position for photos whose names hold other numbers",
        reading_truth(
            llff, "llff", lambda f: renamed(f / "images", "*", lambda index: f"IMG_{index + 2:04d}")
        ),
        lambda folder: llff_labels(folder),
    ),
    table.Refused(
        "masks in a folder without a number",
        sampling(
            lambda folder: llff(folder, (4,)),
            "llff",
            lambda f: (f / "segmentations/04").rename(f / "segmentations/view_04"),
        ),
        ("{folder}/scene/segmentations/view_04: found masks of view 'view_04', expected a number",),
    ),
    table.Refused(
        "two folders of masks for one view",
        sampling(
            llff, "llff", lambda f: shutil.copytree(f / "segmentations/04", f / "segmentations/4")
        ),
        ("{folder}/scene/segmentations/4: found masks of view 4, as in folder 04",),
    ),
    table.Read(
        "pictures and hidden files beside the masks",
        reading_truth(
            llff,
            "llff",
            lambda f: [
                litter(f / "segmentations/00", "chair.png"),
                shutil.copy(f / "images/00.png", f / "segmentations/00/vis_chair.png"),
                (f / "segmentations/vis").mkdir(),
            ],
        ),
        lambda folder: llff_labels(folder),
        ("ignored: 1 in segmentations (vis)", "ignored: 2 in segmentations/00 (Thumbs.db"),
    ),
]


def llff_labels(folder: Path) -> None:
    """Views 0 and 4 carry their own labels, the others none."""
    store = open_store(folder / "truth.zarr", "truth")
    names = store.attrs["classes"]
    for index, found in enumerate(store["label"]):
        expected = np.full(found.shape, VOID)
        if index in (0, 4):
            for identity, name in enumerate(CLASSES, start=1):
                expected[label(index) == identity] = names.index(name)
        assert (found == expected).all()


LISTS: list[table.Case] = [
    table.Refused(
        "one photo listed twice",
        sampling(nerfstudio, "nerfstudio", listed_twice),
        ("{folder}/scene/transforms.json: found view_5.png in two frames", "./images//view_5.png"),
    ),
    table.Read(
        "one stem in two formats, each with a pose of its own",
        sampling(nerfstudio, "nerfstudio", one_photo_in_two_formats),
        holds(
            [*VIEWS[:5], "view_5.jpg", "view_5.png", *VIEWS[7:]],
            [*range(5), 6, 5, *range(7, 12)],
            scene_formats.pose,
            4,
        ),
    ),
    table.Read(
        "paths with backslashes",
        sampling(
            nerfstudio,
            "nerfstudio",
            lambda f: rename_in_list(f, lambda name: ".\\" + name.replace("/", "\\")),
        ),
        holds(VIEWS, range(12), scene_formats.pose),
    ),
    table.Read(
        "png listed where webp is there",
        sampling(
            nerfstudio,
            "nerfstudio",
            webp_photos,
        ),
        holds(VIEWS, range(12), scene_formats.pose),
    ),
    table.Read(
        "time stamps without a suffix",
        sampling(
            nerfstudio,
            "nerfstudio",
            lambda f: [
                renamed(f / "images", "*", lambda index: TUM[index]),
                rename_in_list(f, lambda name: f"images/{TUM[int(name[12:-4])]}"),
            ],
        ),
        holds(sorted(TUM), time_order(), scene_formats.pose),
    ),
    table.Refused(
        "a name without suffix that two photos fit",
        sampling(
            nerfstudio,
            "nerfstudio",
            lambda f: [
                one_more_photo(f / "images", "view_5.jpg"),
                rename_in_list(f, lambda name: name.removesuffix(".png")),
            ],
        ),
        ("frame 'images/view_5' can mean view_5.jpg and view_5.png",),
    ),
    table.Refused(
        "a listed photo that is not there",
        sampling(
            nerfstudio,
            "nerfstudio",
            lambda f: rename_in_list(f, lambda name: name.replace("view_", "frame_")),
        ),
        ("{folder}/scene/images/frame_0.png: no such image", "its folder holds view_0.png"),
    ),
    table.Refused(
        "a photo in somebody's home folder",
        sampling(nerfstudio, "nerfstudio", lambda f: rename_in_list(f, lambda name: f"~/{name}")),
        ("{folder}/scene/transforms.json: frame '~/images/view_0.png' lies outside the scene",),
    ),
    table.Read(
        "two folders with equal names",
        sampling(lambda folder: colmap(folder, text=True), "colmap", two_cameras),
        lambda folder: two_folders(folder),
    ),
    table.Read(
        "a photo beside one of the same stem that the model holds",
        sampling(colmap, "colmap", scattered_jpegs),
        holds([*VIEWS[:5], "view_5.png", *VIEWS[6:]], range(12), scene_formats.pose),
    ),
    table.Read(
        "a model of the PNGs that the photos were made from",
        sampling(lambda folder: colmap(folder, text=True), "colmap", webp_photos),
        holds(VIEWS, range(12), scene_formats.pose),
    ),
    table.Read(
        "a model whose names lack the suffix",
        sampling(
            lambda folder: colmap(folder, text=True),
            "colmap",
            lambda f: in_model(f, lambda text: text.replace(".png", "")),
        ),
        holds(VIEWS, range(12), scene_formats.pose),
    ),
    table.Refused(
        "a photo of the model that two files can be",
        sampling(
            lambda folder: colmap(folder, text=True),
            "colmap",
            lambda f: [
                scattered_jpegs(f),
                in_model(f, lambda text: text.replace("view_5.png", "view_5")),
            ],
        ),
        ("{folder}/scene/sparse/0/images.txt: photo 'view_5' can be view_5.jpg and view_5.png",),
    ),
    table.Refused(
        "a model of other photos",
        sampling(
            lambda folder: colmap(folder, text=True),
            "colmap",
            lambda f: in_model(f, lambda text: text.replace("view_", "IMG_")),
        ),
        ("found none of the photos", "the model names 'IMG_0.png', the folder holds 'view_0.png'"),
    ),
    table.Read("a sheet with backslashes", sheet("{folder}\\data\\room"), lambda folder: None),
    table.Read(
        "a sheet that names no folder",
        sheet("{folder}\\data\\rooms"),
        lambda folder: None,
        ("warning: {folder}/data/rooms: no such scene folder",),
    ),
]


def two_folders(folder: Path) -> None:
    store = open_store(folder / "frames.zarr", "frames")
    pairs = zip(store.attrs["names"], store["pose"], store["rgb"], strict=True)
    found = {name: (pose, rgb) for name, pose, rgb in pairs}
    assert sorted(found) == [f"{side}_view_{i}" for side in ("left", "right") for i in range(6)]
    for index in range(12):
        pose, rgb = found[f"{('left', 'right')[index // 6]}_view_{index % 6}"]
        assert np.allclose(pose, scene_formats.pose(index), atol=1e-6)
        assert (rgb == photo(index)).all()


CASES: list[table.Case] = [*REPLICA, *TRAJECTORIES, *SCANNET, *LLFF, *LISTS]
