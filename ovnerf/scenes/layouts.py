"""Which files of a scene folder are read, per layout. Standard library only: the Snakefile asks.

A layout is one function `folder -> Listing` in `LAYOUTS`. It names the files of every frame and
opens none but an index (`transforms.json`, the header of a `.sens` file); what is inside them is
the business of the reader module of the same name.
Files of a frame are matched by the number in their name (`rgb_10.png` belongs to `pose_10.txt` and
comes after `rgb_2.png`), or by their whole stem when it holds no number: see `pairing`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ovnerf.labels.vocabulary import CLASS_LISTS
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.pairing import (
    LAYOUT_HINT,
    Key,
    by_key,
    check_partners,
    frame_names,
    image_stem,
    keys_of,
    labels_in,
    listed_photo,
    masks_in,
    natural,
    paired,
    photos_in,
    shown,
    visible_files,
    with_suffix_of,
)
from ovnerf.scenes.sens import read_header
from ovnerf.scenes.sparse import largest_model
from ovnerf.scenes.transforms import key_notes
from ovnerf.storage.paths import typed_path
from ovnerf.storage.provenance import shipped_file
from ovnerf.storage.text import read_text

MINIMUM_FRAMES = 10
"""Fewer frames leave no held-out view beside a useful training set."""
SCANNET_TABLE = "scannetv2-labels.combined.tsv"
IDENTITY = tuple(float(index % 5 == 0) for index in range(16))
"""4x4, row by row."""
EXTRINSIC_TOLERANCE = 1e-3
"""A millimetre, or a thousandth of a radian."""
MASK_FOLDERS = ("mask", "masks")
"""Other tools leave the pixels out that masks in these folders cover."""

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


@dataclass(frozen=True)
class Listing:
    """The sampled frames of a scene and the files that hold them.

    Attributes:
        folder: the scene folder.
        layout: a key of `LAYOUTS`.
        names: frame names (image stems, each once), in frame order.
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
        all_photos: (number, name) of every photo, sampled or not, where one file holds all poses
            and its reader says which belongs to which photo.
        ignored: files beside the labels that are none.
        notes: what a person should know about the choice of files: one line each.
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
    all_photos: tuple[tuple[Key, str], ...] = ()
    ignored: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

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

    def places(self) -> list[int]:
        """Which line, row or entry of the file of all poses each listed frame has, from 0."""
        found = [number for number in self.numbers if isinstance(number, int)]
        assert len(found) == len(self.numbers)
        return found

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
    return masks_in(label)[0] if label.is_dir() else [label]


def ignored_lines(listing: Listing) -> list[str]:
    """What a person should know about files beside the labels: a line per folder."""
    folders: dict[Path, list[str]] = {}
    for path in listing.ignored:
        folders.setdefault(path.parent, []).append(path.name)
    return [
        f"ignored: {len(names)} in {listing.name_of(folder)} ({', '.join(names[:3])}"
        f"{' ...' if len(names) > 3 else ''}): not named as labels are (docs/datasets.md)"
        for folder, names in folders.items()
    ]


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
    for path in (shipped, Path(typed_path(name)), shipped_file(name)):
        if path and path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in CLASS_LISTS.glob("*.txt")))
    raise UserError(
        f"classes: found {name!r}, expected a text file or one of {known}",
        "write one class name per line",
    )


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


def need_file(path: Path, what: str) -> Path:
    """`path`, or a UserError saying which file is missing."""
    if not path.is_file():
        raise UserError(
            f"{path}: no such file, expected {what}",
            LAYOUT_HINT,
        )
    return path


def called(photos: dict[Key, Path]) -> dict[Key, str]:
    """What messages call each photo."""
    return {key: path.name for key, path in photos.items()}


def replica(folder: Path) -> Listing:
    """`rgb_300/ semantic_300/ pose_300/ intrinsics.txt classes.txt`."""
    found = photos_in(folder / "rgb_300")
    pose_files = with_suffix_of(visible_files(folder / "pose_300"), frozenset({".txt"}))
    label_files, ignored = labels_in(folder / "semantic_300", "semantic_class_")
    images, poses, labels = paired(found, pose_files, label_files)
    for key, image in images.items():
        if key not in poses:
            raise UserError(
                f"{folder / 'pose_300'}: no pose for {image.name}, expected a .txt file "
                f"with frame number {shown(key)}",
                "every image needs a 4x4 camera-to-world matrix",
            )
    check_partners(called(images), labels, folder / "semantic_300", "label")
    return Listing(
        folder=folder,
        layout="replica",
        names=frame_names(Path(image.name) for image in images.values()),
        images=tuple(images.values()),
        numbers=tuple(images),
        poses=tuple(poses[key] for key in images),
        labels=tuple(labels.get(key) for key in images),
        intrinsics=need_file(folder / "intrinsics.txt", "a 3x3 or 4x4 camera matrix"),
        classes=need_file(folder / "classes.txt", "one class name per line, line 0 void"),
        ignored=ignored,
    )


def semantic_nerf(folder: Path) -> Listing:
    """`rgb/ semantic_class/ traj_w_c.txt info_semantic.json`, `intrinsics.txt` optional."""
    camera = folder / "intrinsics.txt"
    trajectory = need_file(folder / "traj_w_c.txt", "one camera-to-world matrix per line")
    return replace(
        by_line(folder, "semantic_nerf", photos_in(folder / "rgb"), trajectory),
        intrinsics=camera if camera.is_file() else None,
        classes=need_file(folder / "info_semantic.json", "a `classes` list of ids and names"),
    )


def nice_slam(folder: Path) -> Listing:
    """`results/frame*.jpg traj.txt`; `cam_params.json` beside or above; labels may exist."""
    cameras = ("intrinsics.txt", "cam_params.json", "../cam_params.json")
    trajectory = need_file(folder / "traj.txt", "one camera-to-world matrix per line")
    return replace(
        by_line(folder, "nice_slam", photos_in(folder / "results", "frame"), trajectory),
        intrinsics=first_file(folder, cameras),
        classes=first_file(folder, ("info_semantic.json",)),
    )


def by_line(folder: Path, layout: str, found: Sequence[Path], trajectory: Path) -> Listing:
    """Photos whose poses are lines of one file, and `semantic_class/`; camera and classes open."""
    label_files, ignored = labels_in(folder / "semantic_class", "semantic_class_")
    images, labels = paired(found, label_files)
    check_partners(called(images), labels, folder / "semantic_class", "label")
    names = frame_names(Path(image.name) for image in images.values())
    return Listing(
        folder=folder,
        layout=layout,
        names=names,
        images=tuple(images.values()),
        numbers=tuple(images),
        poses=(trajectory,),
        labels=tuple(labels.get(key) for key in images),
        intrinsics=None,
        classes=None,
        all_photos=tuple(zip(images, names, strict=True)),
        ignored=ignored,
    )


def scannet(folder: Path) -> Listing:
    """`color/ pose/ intrinsic/intrinsic_color.txt`, or one `.sens` file; `label-filt/` optional.

    Classes are the 20 of the benchmark unless others are asked for. The label table may also lie
    one or two folders above, where the dataset has it.
    """
    recordings = with_suffix_of(visible_files(folder), frozenset({".sens"}))
    if not (folder / "color").is_dir() and len(recordings) != 1:
        raise UserError(
            f"{folder}: found no folder color and {len(recordings)} .sens files, expected one of "
            "the two",
            "docs/datasets.md says how to get ScanNet scenes",
        )
    tables = (SCANNET_TABLE, f"../{SCANNET_TABLE}", f"../../{SCANNET_TABLE}")
    scene = exported(folder) if (folder / "color").is_dir() else recorded(folder, recordings[0])
    return replace(
        scene,
        classes=first_file(folder, tables) if any(scene.labels) else None,
        class_list=CLASS_LISTS / "scannet_20.txt",
    )


def extrinsic_notes(name: str, extrinsic: Sequence[float]) -> list[str]:
    """A line when the colour camera (4x4, row by row) is not where the poses of ScanNet are."""
    pairs = zip(extrinsic, IDENTITY, strict=True)
    if all(abs(found - expected) <= EXTRINSIC_TOLERANCE for found, expected in pairs):
        return []
    return [
        f"{name}: the colour camera has an extrinsic matrix of its own, which is not applied: "
        "poses are taken as those of the colour camera"
    ]


def exported_extrinsic(path: Path) -> Sequence[float]:
    """16 numbers of `extrinsic_color.txt`, the identity where there is no such file."""
    if not path.is_file():
        return IDENTITY
    try:
        found = [float(part) for part in path.read_text(encoding="utf-8").split()]
    except ValueError:
        found = []
    if len(found) != 16:
        raise UserError(
            f"{path}: found no matrix, expected 16 numbers",
            "export the scene again, or remove the file",
        )
    return found


def exported(folder: Path) -> Listing:
    """A ScanNet scene exported by the dataset's own tool; images without a pose are dropped."""
    extrinsic = folder / "intrinsic/extrinsic_color.txt"
    pose_files = with_suffix_of(visible_files(folder / "pose"), frozenset({".txt"}))
    label_files, ignored = labels_in(folder / "label-filt", "")
    images, poses, labels = paired(photos_in(folder / "color"), pose_files, label_files)
    check_partners(called(images), poses, folder / "pose", "pose")
    check_partners(called(images), labels, folder / "label-filt", "label")
    frames = {key: path for key, path in images.items() if key in poses}
    names = dict(zip(images, frame_names(Path(path.name) for path in images.values()), strict=True))
    return Listing(
        folder=folder,
        layout="scannet",
        names=tuple(names[key] for key in frames),
        images=tuple(frames.values()),
        numbers=tuple(frames),
        poses=tuple(poses[key] for key in frames),
        labels=tuple(labels.get(key) for key in frames),
        intrinsics=need_file(folder / "intrinsic/intrinsic_color.txt", "a 4x4 camera matrix"),
        classes=None,
        dropped=tuple((names[key], "no pose file") for key in images if key not in poses),
        ignored=ignored,
        notes=tuple(
            extrinsic_notes("intrinsic/extrinsic_color.txt", exported_extrinsic(extrinsic))
        ),
    )


def recorded(folder: Path, recording: Path) -> Listing:
    """A ScanNet scene as it is downloaded: images, poses and camera in one `.sens` file."""
    header = read_header(recording)
    names = tuple(map(str, range(header.frames)))
    label_files, ignored = labels_in(folder / "label-filt", "")
    keys = keys_of(names, [path.stem for path in label_files])[1]
    labels = by_key(label_files, keys)
    check_partners(dict(enumerate(names)), labels, folder / "label-filt", "label")
    return Listing(
        folder=folder,
        layout="scannet",
        names=names,
        images=(recording,),
        numbers=tuple(range(len(names))),
        poses=(recording,),
        labels=tuple(labels.get(number) for number in range(len(names))),
        intrinsics=recording,
        classes=None,
        ignored=ignored,
        notes=tuple(extrinsic_notes(recording.name, header.colour_extrinsic)),
    )


def llff(folder: Path) -> Listing:
    """`images/ poses_bounds.npy`, `segmentations/classes.txt segmentations/<view>/<class>.png`.

    Row N of the poses belongs to the N-th image by name; a view is such an N.
    """
    poses = need_file(folder / "poses_bounds.npy", "LLFF poses, (n, 17)")
    images = photos_in(folder / "images")
    views, ignored = mask_folders(folder / "segmentations", images)
    names = frame_names(Path(image.name) for image in images)
    return Listing(
        folder=folder,
        layout="llff",
        names=names,
        images=tuple(images),
        numbers=tuple(range(len(images))),
        poses=(poses,),
        labels=tuple(views.get(index) for index in range(len(images))),
        intrinsics=None,
        classes=first_file(folder, ("segmentations/classes.txt", "classes.txt")),
        partial_labels=True,
        all_photos=tuple(enumerate(names)),
        ignored=ignored,
        notes=tuple(mask_notes(folder)),
    )


def mask_folders(masks: Path, images: Sequence[Path]) -> tuple[dict[int, Path], tuple[Path, ...]]:
    """The folder of masks of each view that has one, by the view's position, and what is ignored.

    Raises:
        UserError: a folder belongs to no view, or positions and numbers in the photos' names
            say different things.
    """
    inside = sorted(masks.iterdir()) if masks.is_dir() else []
    folders = [path for path in inside if path.is_dir() and not path.name.startswith(".")]
    numbered = [path for path in folders if path.name.isdecimal()]
    if folders and not numbered:
        raise UserError(
            f"{folders[0]}: found masks of view {folders[0].name!r}, expected a number",
            "a view is the position of its image by name, from 0",
        )
    views: dict[int, Path] = {}
    for path in numbered:
        view = int(path.name)
        if view >= len(images):
            raise UserError(
                f"{path}: found masks of view {view}, expected views 0 to {len(images) - 1}",
                "a view is the position of its image by name, from 0",
            )
        if view in views:
            raise UserError(
                f"{path}: found masks of view {view}, as in folder {views[view].name}, "
                "expected one folder for each view",
                "keep one of the two",
            )
        views[view] = path
    check_views(views, images)
    others = [path for path in folders if path not in numbered]
    beside = [file for path in numbered for file in masks_in(path)[1]]
    return views, (*others, *beside)


def check_views(views: dict[int, Path], images: Sequence[Path]) -> None:
    """UserError when views may as well be the numbers in the photos' names as their positions."""
    (keys,) = keys_of([image_stem(image) for image in images])
    position = {key: index for index, key in enumerate(keys)}
    if not all(view in position for view in views):
        return
    for view, path in views.items():
        if position[view] != view:
            raise UserError(
                f"{path}: found masks of view {view}, which is {images[view].name} by position and "
                f"{images[position[view]].name} by name",
                "number the photos 00, 01 ... without gaps, in the order of the poses",
            )


def colmap(folder: Path) -> Listing:
    """`images/` and a sparse model (`sparse/0/` or so), binary or text; `classes.txt` optional.

    Of several models the one with the most photos is read.
    """
    model, smaller = largest_model(folder)
    images = photos_in(folder / "images", below=True)
    images.sort(key=lambda path: natural(str(path)))
    cameras, poses, *others = model.files
    inside = [path.relative_to(folder / "images") for path in images]
    names = frame_names(inside)
    notes = [f"COLMAP model {model} is read, not {', '.join(map(str, smaller))}"] if smaller else []
    return Listing(
        folder=folder,
        layout="colmap",
        names=names,
        images=tuple(images),
        numbers=tuple(path.as_posix() for path in inside),
        poses=(poses,),
        all_photos=tuple((path.as_posix(), name) for path, name in zip(inside, names, strict=True)),
        labels=(None,) * len(images),
        intrinsics=cameras,
        classes=first_file(folder, ("classes.txt",)),
        others=tuple(others),
        notes=(*notes, *mask_notes(folder)),
    )


def mask_notes(folder: Path) -> list[str]:
    """A line for each folder of masks that other tools would apply to the photos."""
    return [
        f"folder {name} is not read: every pixel of the photos is used"
        for name in MASK_FOLDERS
        if (folder / name).is_dir()
    ]


def nerfstudio(folder: Path) -> Listing:
    """`transforms.json` naming the images and their poses; `classes.txt` optional."""
    index = need_file(folder / "transforms.json", "a list of frames")
    try:
        content = json.loads(read_text(index))
        frames = content["frames"]
        named = sorted(
            (natural(str(frame["file_path"])), str(frame["file_path"]), entry)
            for entry, frame in enumerate(frames)
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{index}: not a list of frames ({type(error).__name__}: {error})",
            'expected {"frames": [{"file_path": "images/1.png", "transform_matrix": ...}]}',
        ) from None
    paths = [listed_photo(folder, name, index) for _, name, _ in named]
    first: dict[Path, int] = {}
    for place, path in enumerate(paths):
        before = first.setdefault(path.resolve(), place)
        if before != place:
            raise UserError(
                f"{index}: found {path.name} in two frames ({named[before][1]!r} and "
                f"{named[place][1]!r}), expected each photo once",
                "remove one of the two: a held-out photo must not be trained on",
            )
    return Listing(
        folder=folder,
        layout="nerfstudio",
        names=frame_names(path.relative_to(folder) for path in paths),
        images=tuple(paths),
        numbers=tuple(entry for _, _, entry in named),
        poses=(index,),
        labels=(None,) * len(paths),
        intrinsics=index,
        classes=first_file(folder, ("classes.txt",)),
        notes=(*key_notes(index, content), *mask_notes(folder)),
    )


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
