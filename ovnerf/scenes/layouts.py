"""Which files of a scene folder are read, per layout. Standard library only: the Snakefile asks.

A layout is one function `folder -> Listing` in `LAYOUTS`. It names the files of every frame and
opens none but an index (`transforms.json`, the header of a `.sens` file); what is inside them is
the business of the reader module of the same name.
Files of a frame are matched by the number at the end of their name (`rgb_10.png` belongs to
`pose_10.txt` and comes after `rgb_2.png`), or by their whole stem when it holds no number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ovnerf.errors import UserError
from ovnerf.provenance import PACKAGE_ROOT, REPOSITORY_ROOT
from ovnerf.scenes.sens import read_header

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
MINIMUM_FRAMES = 10
"""Fewer frames leave no held-out view beside a useful training set."""
CLASS_LISTS = PACKAGE_ROOT / "class_lists"
"""Class lists of the package: one name a line, void left out."""
SCANNET_TABLE = "scannetv2-labels.combined.tsv"
MODEL_FOLDERS = ("sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse")
MODEL_PARTS = ("cameras", "images", "points3D", "rigs", "frames")

DATASETS = {
    "replica": "a Replica scene (github.com/facebookresearch/Replica-Dataset), rendered",
    "semantic_nerf": "a Replica scene as rendered for Semantic-NeRF",
    "nice_slam": "a Replica scene as rendered for NICE-SLAM",
    "scannet": "a ScanNet scene (www.scan-net.org), its .sens file or exported",
    "llff": "a 3DOVS scene (github.com/Kunhao-Liu/3D-OVS) or another LLFF capture",
    "colmap": "photos and their COLMAP model (Mip-NeRF360: jonbarron.info/mipnerf360)",
    "nerfstudio": "photos and their transforms.json",
}
"""Per layout, what a person has to get."""

Key = int | str


@dataclass(frozen=True)
class Listing:
    """The sampled frames of a scene and the files that hold them.

    Attributes:
        folder: the scene folder.
        layout: a key of `LAYOUTS`.
        names: frame names (image stems), in frame order.
        images: one image per frame, or a single file that holds all.
        numbers: the number (or stem) that ties a frame's files together; where one file holds all
            poses, the 0-based line or entry in it.
        poses: one file per frame, or a single file for all.
        labels: one file (or folder of masks) per frame, None where the scene has none.
        intrinsics: the camera file, None when the layout's default camera applies.
        classes: the scene's own class list, or the table that explains label ids; None where the
            scene has neither.
        class_list: the class list asked for, None for the scene's own.
        partial_labels: whether frames without labels are usual in this layout.
        dropped: (name, reason) of images that are no frames.
        others: further files that the reader opens.
    """

    folder: Path
    layout: str
    names: tuple[str, ...]
    images: tuple[Path, ...]
    numbers: tuple[Key, ...]
    poses: tuple[Path, ...]
    labels: tuple[Path | None, ...]
    intrinsics: Path | None
    classes: Path | None
    class_list: Path | None = None
    partial_labels: bool = False
    dropped: tuple[tuple[str, str], ...] = ()
    others: tuple[Path, ...] = ()

    def image_inputs(self) -> list[Path]:
        """Every file `sample_frames` reads, each once."""
        shared = [path for path in (self.intrinsics, *self.class_inputs()) if path]
        return list(dict.fromkeys([*self.images, *self.poses, *self.others, *shared]))

    def class_inputs(self) -> list[Path]:
        """The files that say which classes there are."""
        return [path for path in (self.class_list, self.classes) if path]

    def label_inputs(self) -> list[Path]:
        """Every file `read_truth` reads; UserError when a sampled frame has no label image."""
        if not all(self.labels) and not self.partial_labels:
            missing = self.labels.index(None)
            image = self.images[missing] if len(self.images) > 1 else Path(self.names[missing])
            raise UserError(
                f"{self.folder}: no label image for {image.name}",
                "add the label image, or leave ground truth out for this scene",
            )
        files = [file for label in self.labels if label for file in label_files(label)]
        return [*files, *self.class_inputs()]

    @property
    def labelled(self) -> bool:
        """Whether every sampled frame has a label image."""
        return all(self.labels)

    def name_of(self, path: Path) -> str:
        """A file's path inside the scene folder; its bare name where it lies elsewhere."""
        inside = path.is_relative_to(self.folder) and ".." not in path.parts
        return str(path.relative_to(self.folder)) if inside else path.name

    def only(self, names: Iterable[str]) -> Listing:
        """The frames of these names, in that order; KeyError for one the scene does not have."""
        position = {name: index for index, name in enumerate(self.names)}
        return sample(self, [position[name] for name in names])


def label_files(label: Path) -> list[Path]:
    """A label image, or the masks in a folder of them."""
    return sorted(label.glob("*.png")) if label.is_dir() else [label]


def list_scene(
    folder: Path | str, layout: str, frames: int | None = None, classes: str = ""
) -> Listing:
    """The files of a scene, `frames` of them sampled uniformly (all when None).

    Args:
        classes: as in `config.SampleFrames`; the scene's own class list when empty.

    Raises:
        UserError: a missing folder or file, an ambiguous name, or too few frames.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such scene folder",
            f"expected {DATASETS[layout]}; put the scene there, or check `path` in the "
            "scene sheet. docs/datasets.md says where each dataset comes from",
        )
    listing = LAYOUTS[layout](folder)
    if classes:
        listing = replace(listing, class_list=find_class_list(classes))
    check_count(folder, len(listing.names), frames)
    return sample(listing, uniform(len(listing.names), frames))


def find_class_list(name: str) -> Path:
    """The file of a class list: one of the package by its name, else a path."""
    shipped = CLASS_LISTS / f"{name}.txt"
    for path in (shipped, Path(name), REPOSITORY_ROOT / name):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in CLASS_LISTS.glob("*.txt")))
    raise UserError(
        f"classes: found {name!r}, expected a text file or one of {known}",
        "write one class name per line",
    )


def image_inputs(folder: Path | str, layout: str, frames: int | None = None) -> list[Path]:
    """Every file `sample_frames` reads: images, poses, intrinsics, classes."""
    return list_scene(folder, layout, frames).image_inputs()


def label_inputs(folder: Path | str, layout: str, frames: int | None = None) -> list[Path]:
    """Every file `read_truth` reads: label images and the class list."""
    return list_scene(folder, layout, frames).label_inputs()


def check_count(folder: Path, found: int, wanted: int | None) -> None:
    """UserError unless there are enough frames for a split and for the asked sample."""
    if min(found, wanted or found) < MINIMUM_FRAMES:
        raise UserError(
            f"{folder}: found {min(found, wanted or found)} frames, "
            f"expected at least {MINIMUM_FRAMES}",
            "add images or raise `frames`",
        )
    if wanted and wanted > found:
        raise UserError(
            f"{folder}: found {found} frames, expected at least the {wanted} asked for",
            "lower `frames`, or leave it empty to take all",
        )


def uniform(count: int, wanted: int | None) -> list[int]:
    """`wanted` positions spread evenly over `count`, the first one included (all when None).

    >>> uniform(10, 4)
    [0, 2, 5, 7]
    """
    wanted = wanted or count
    return [position * count // wanted for position in range(wanted)]


def sample(listing: Listing, positions: list[int]) -> Listing:
    """The listing reduced to some frames; files shared by all frames stay shared."""

    def chosen(per_frame: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(per_frame[position] for position in positions)

    return replace(
        listing,
        names=chosen(listing.names),
        images=chosen(listing.images) if len(listing.images) > 1 else listing.images,
        numbers=chosen(listing.numbers),
        poses=chosen(listing.poses) if len(listing.poses) > 1 else listing.poses,
        labels=chosen(listing.labels),
    )


def key_of(path: Path) -> Key:
    """What ties a frame's files together: the last number in the stem, else the stem itself."""
    numbers = re.findall(r"\d+", path.stem)
    return int(numbers[-1]) if numbers else path.stem


def by_key(paths: Iterable[Path]) -> dict[Key, Path]:
    """Files by key in numeric order (plain stems last); UserError when two share a key."""
    found: dict[Key, Path] = {}
    for path in sorted(paths):
        key = key_of(path)
        if key in found:
            raise UserError(
                f"{path}: same frame number {key} as {found[key].name}, expected one file a frame",
                "remove or rename one of the two",
            )
        found[key] = path
    return dict(sorted(found.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def files_in(folder: Path, suffixes: frozenset[str], prefix: str = "") -> dict[Key, Path]:
    """Files of a folder with one of the suffixes, by key; UserError when there is no folder."""
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder", "docs/datasets.md draws the layouts: is `layout` right?"
        )
    return by_key(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes
        and path.name.startswith(prefix)
        and not path.name.startswith(".")
    )


def optional_files_in(folder: Path, suffixes: frozenset[str]) -> dict[Key, Path]:
    """Like `files_in`, empty when the folder does not exist."""
    return files_in(folder, suffixes) if folder.is_dir() else {}


def need_file(path: Path, what: str) -> Path:
    """`path`, or a UserError saying which file is missing."""
    if not path.is_file():
        raise UserError(
            f"{path}: no such file, expected {what}",
            "docs/datasets.md draws the layouts: is `layout` right?",
        )
    return path


def replica(folder: Path) -> Listing:
    """`rgb_300/ semantic_300/ pose_300/ intrinsics.txt classes.txt`."""
    images = files_in(folder / "rgb_300", IMAGE_SUFFIXES)
    poses = files_in(folder / "pose_300", frozenset({".txt"}))
    labels = optional_files_in(folder / "semantic_300", frozenset({".png"}))
    for key, image in images.items():
        if key not in poses:
            raise UserError(
                f"{folder / 'pose_300'}: no pose for {image.name}, expected a .txt file "
                f"with frame number {key}",
                "every image needs a 4x4 camera-to-world matrix",
            )
    return Listing(
        folder=folder,
        layout="replica",
        names=tuple(image.stem for image in images.values()),
        images=tuple(images.values()),
        numbers=tuple(images),
        poses=tuple(poses[key] for key in images),
        labels=tuple(labels.get(key) for key in images),
        intrinsics=need_file(folder / "intrinsics.txt", "a 3x3 or 4x4 camera matrix"),
        classes=need_file(folder / "classes.txt", "one class name per line, line 0 void"),
    )


def semantic_nerf(folder: Path) -> Listing:
    """`rgb/ semantic_class/ traj_w_c.txt info_semantic.json`, `intrinsics.txt` optional."""
    images = files_in(folder / "rgb", IMAGE_SUFFIXES)
    labels = optional_files_in(folder / "semantic_class", frozenset({".png"}))
    camera = folder / "intrinsics.txt"
    return Listing(
        folder=folder,
        layout="semantic_nerf",
        names=tuple(image.stem for image in images.values()),
        images=tuple(images.values()),
        numbers=tuple(images),
        poses=(need_file(folder / "traj_w_c.txt", "one camera-to-world matrix per line"),),
        labels=tuple(labels.get(key) for key in images),
        intrinsics=camera if camera.is_file() else None,
        classes=need_file(folder / "info_semantic.json", "a `classes` list of ids and names"),
    )


def nice_slam(folder: Path) -> Listing:
    """`results/frame*.jpg traj.txt`; `cam_params.json` beside or above; labels may exist."""
    frames = files_in(folder / "results", IMAGE_SUFFIXES, "frame")
    labels = optional_files_in(folder / "semantic_class", frozenset({".png"}))
    cameras = ("intrinsics.txt", "cam_params.json", "../cam_params.json")
    return Listing(
        folder=folder,
        layout="nice_slam",
        names=tuple(image.stem for image in frames.values()),
        images=tuple(frames.values()),
        numbers=tuple(frames),
        poses=(need_file(folder / "traj.txt", "one camera-to-world matrix per line"),),
        labels=tuple(labels.get(key) for key in frames),
        intrinsics=first_file(folder, cameras),
        classes=first_file(folder, ("info_semantic.json",)),
    )


def scannet(folder: Path) -> Listing:
    """`color/ pose/ intrinsic/intrinsic_color.txt`, or one `.sens` file; `label-filt/` optional.

    Classes are the 20 of the benchmark unless others are asked for. The label table may also lie
    one or two folders above, where the dataset has it.
    """
    recordings = sorted(folder.glob("*.sens"))
    if not (folder / "color").is_dir() and len(recordings) != 1:
        raise UserError(
            f"{folder}: found no folder color and {len(recordings)} .sens files, expected one of "
            "the two",
            "docs/datasets.md says how to get ScanNet scenes",
        )
    labels = optional_files_in(folder / "label-filt", frozenset({".png"}))
    tables = (SCANNET_TABLE, f"../{SCANNET_TABLE}", f"../../{SCANNET_TABLE}")
    scene = exported(folder) if (folder / "color").is_dir() else recorded(folder, recordings[0])
    return replace(
        scene,
        labels=tuple(labels.get(key) for key in scene.numbers),
        classes=first_file(folder, tables) if labels else None,
        class_list=CLASS_LISTS / "scannet_20.txt",
    )


def exported(folder: Path) -> Listing:
    """A ScanNet scene exported by the dataset's own tool; images without a pose are dropped."""
    images = files_in(folder / "color", IMAGE_SUFFIXES)
    poses = files_in(folder / "pose", frozenset({".txt"}))
    frames = {key: path for key, path in images.items() if key in poses}
    return Listing(
        folder=folder,
        layout="scannet",
        names=tuple(path.stem for path in frames.values()),
        images=tuple(frames.values()),
        numbers=tuple(frames),
        poses=tuple(poses[key] for key in frames),
        labels=(None,) * len(frames),
        intrinsics=need_file(folder / "intrinsic/intrinsic_color.txt", "a 4x4 camera matrix"),
        classes=None,
        dropped=tuple(
            (path.stem, "no pose file") for key, path in images.items() if key not in poses
        ),
    )


def recorded(folder: Path, recording: Path) -> Listing:
    """A ScanNet scene as it is downloaded: images, poses and camera in one `.sens` file."""
    count = read_header(recording).frames
    return Listing(
        folder=folder,
        layout="scannet",
        names=tuple(map(str, range(count))),
        images=(recording,),
        numbers=tuple(range(count)),
        poses=(recording,),
        labels=(None,) * count,
        intrinsics=recording,
        classes=None,
    )


def llff(folder: Path) -> Listing:
    """`images/ poses_bounds.npy`, `segmentations/classes.txt segmentations/<view>/<class>.png`.

    Row N of the poses belongs to the N-th image by name; a view is such an N.
    """
    poses = need_file(folder / "poses_bounds.npy", "LLFF poses, (n, 17)")
    images = images_by_name(folder / "images")
    masks = folder / "segmentations"
    views = {
        int(path.name): path
        for path in (sorted(masks.iterdir()) if masks.is_dir() else ())
        if path.is_dir() and path.name.isdecimal()
    }
    for view, path in views.items():
        if view >= len(images):
            raise UserError(
                f"{path}: found masks of view {view}, expected views 0 to {len(images) - 1}",
                "a view is the position of its image by name, from 0",
            )
    return Listing(
        folder=folder,
        layout="llff",
        names=tuple(image.stem for image in images),
        images=tuple(images),
        numbers=tuple(range(len(images))),
        poses=(poses,),
        labels=tuple(views.get(index) for index in range(len(images))),
        intrinsics=None,
        classes=first_file(folder, ("segmentations/classes.txt", "classes.txt")),
        partial_labels=True,
    )


def colmap(folder: Path) -> Listing:
    """`images/` and a sparse model (`sparse/0/` or so), binary or text; `classes.txt` optional."""
    model = next((folder / name for name in MODEL_FOLDERS if model_files(folder / name)), None)
    if model is None:
        raise UserError(
            f"{folder}: no COLMAP model, looked in {', '.join(MODEL_FOLDERS)}",
            "expected cameras, images and points3D, all .bin or all .txt",
        )
    images = images_by_name(folder / "images")
    images.sort(key=lambda path: natural(str(path)))
    cameras, poses, *others = model_files(model)
    return Listing(
        folder=folder,
        layout="colmap",
        names=flat_names(path.relative_to(folder / "images") for path in images),
        images=tuple(images),
        numbers=tuple(str(path.relative_to(folder / "images").as_posix()) for path in images),
        poses=(poses,),
        labels=(None,) * len(images),
        intrinsics=cameras,
        classes=first_file(folder, ("classes.txt",)),
        others=tuple(others),
    )


def model_files(model: Path) -> list[Path]:
    """The files of a COLMAP model, cameras and images first; empty when it is not one."""
    for suffix in (".bin", ".txt"):
        files = [model / f"{part}{suffix}" for part in MODEL_PARTS]
        if all(path.is_file() for path in files[:3]):
            return [path for path in files if path.is_file()]
    return []


def nerfstudio(folder: Path) -> Listing:
    """`transforms.json` naming the images and their poses; `classes.txt` optional."""
    index = need_file(folder / "transforms.json", "a list of frames")
    try:
        frames = json.loads(index.read_text(encoding="utf-8"))["frames"]
        named = sorted(
            (natural(str(frame["file_path"])), str(frame["file_path"]), entry)
            for entry, frame in enumerate(frames)
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{index}: not a list of frames ({type(error).__name__}: {error})",
            'expected {"frames": [{"file_path": "images/1.png", "transform_matrix": ...}]}',
        ) from None
    for _, name, _ in named:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError(
                f"{index}: frame {name!r} lies outside the scene folder",
                "write file_path relative to transforms.json, without `..`",
            )
    paths = [with_suffix(folder / name) for _, name, _ in named]
    return Listing(
        folder=folder,
        layout="nerfstudio",
        names=flat_names(Path(name) for _, name, _ in named),
        images=tuple(paths),
        numbers=tuple(entry for _, _, entry in named),
        poses=(index,),
        labels=(None,) * len(paths),
        intrinsics=index,
        classes=first_file(folder, ("classes.txt",)),
    )


def with_suffix(path: Path) -> Path:
    """The image a `file_path` means: some writers leave `.png` out."""
    return path if path.suffix else path.with_suffix(".png")


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts `view_2` before `view_10`."""
    return [(int(part or 0), text) for text, part in re.findall(r"(\D*)(\d*)", name)]


def images_by_name(folder: Path) -> list[Path]:
    """Images of a folder and those below it, sorted by name; UserError when there is no folder."""
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder", "docs/datasets.md draws the layouts: is `layout` right?"
        )
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )


def flat_names(paths: Iterable[Path]) -> tuple[str, ...]:
    """Frame names: file stems, with the folders where stems alone would repeat."""
    paths = list(paths)
    stems = [path.stem for path in paths]
    if len(set(stems)) == len(stems):
        return tuple(stems)
    return tuple("_".join(path.with_suffix("").parts) for path in paths)


def first_file(folder: Path, names: Iterable[str]) -> Path | None:
    """The first of some files that exists."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


LAYOUTS: dict[str, Callable[[Path], Listing]] = {
    "replica": replica,
    "semantic_nerf": semantic_nerf,
    "nice_slam": nice_slam,
    "scannet": scannet,
    "llff": llff,
    "colmap": colmap,
    "nerfstudio": nerfstudio,
}
