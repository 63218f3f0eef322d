"""Label maps or feature maps made by another program, one per frame, with a manifest.

    folder/
      manifest.json   {"kind": "labels", "classes": ["wall", ...], "void": 255,
                       "files": {"frame name": "0.png", ...}}
                      {"kind": "features", "classes": [...], "text": "text.npy",
                       "files": {"frame name": "0.npy", ...}}
      0.png 0.npy 0.npz ...

Label maps: PNG or (h, w) arrays of indices into the manifest's `classes`; `void` is no class.
Feature maps: (D, h, w) arrays, and `text` a (C, D) array, one row per class. `.npz` files hold one
array; a folder `.zarr` is an array. Maps may be smaller than the images, of the same aspect ratio.
A label map gives two things. Resized to the image, without mixing labels, it is the first labels of
its frame as it is. As features it has C + 1 channels, one per class and one for void: the share of
each in a cell. Its text vectors are the axes, so the most relevant class of a cell is its majority.

Maps are of the photos as they lie in the scene folder. Where those are undistorted when read, so
are the maps, unless the manifest says `"undistorted": true`: made of undistorted photos.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ovnerf.encoders.text import TextBanks
from ovnerf.geometry.lens import PhotoLens
from ovnerf.labels.void import VOID
from ovnerf.runtime.errors import UserError
from ovnerf.runtime.progress import warn
from ovnerf.storage.documents import read_json
from ovnerf.storage.finite import binary16, require_finite
from ovnerf.storage.photos import read_label_ids
from ovnerf.storage.text import clean_name, same_form

MANIFEST = "manifest.json"
ASPECT_TOLERANCE = 0.02
NOT_FINITE = "mend the program that wrote it, or leave that frame or class out"

NOT_SAID = (
    "maps are undistorted as the photos were; if they were made of undistorted photos, add "
    '"undistorted": true, else "undistorted": false'
)
REAL = "biuf"
"""NumPy's letters for truth values, whole numbers with and without sign, and real numbers."""


@dataclass(frozen=True)
class Maps:
    """A validated manifest.

    Attributes:
        folder: where it lies.
        kind: "labels" or "features".
        classes: names in the order of the maps.
        order: for each class of the scene its index in `classes`.
        void: label that is no class, None when there is none.
        text: f32 (C, D) unit rows in the scene's order; None for label maps.
        files: frame name -> file.
        named: further files that the manifest names.
        lens: of the photos that maps were made of, where maps have to be undistorted as they were.
    """

    folder: Path
    kind: str
    classes: tuple[str, ...]
    order: tuple[int, ...]
    void: int | None
    text: np.ndarray | None
    files: dict[str, Path]
    named: tuple[Path, ...] = ()
    lens: PhotoLens | None = None

    def banks(self) -> TextBanks:
        """Text vectors; there is one prompt per class, so both banks are the same."""
        if self.text is None:
            axes = np.eye(len(self.order) + 1, dtype=np.float32)
            return TextBanks(axes[:-1], axes[:-1], axes[-1])
        mean = self.text.mean(0)
        # No blank prompt was encoded; the mean of the classes stands in for it.
        return TextBanks(self.text, self.text, mean / np.linalg.norm(mean))

    def read(self, frame: str, height: int, width: int) -> np.ndarray:
        """The map of one frame of an image of this size, undistorted, at its own resolution.

        Returns:
            Of label maps u16 (h, w): indices into the scene's classes, VOID for void and for
            classes that the scene does not have. Of feature maps f32 (D, h, w).

        Raises:
            UserError: unreadable, of another shape, with labels outside the class list, or with
                values that are not finite.
        """
        path = self.files[frame]
        found = read_map(path)
        expected = 2 if self.kind == "labels" else 3
        if found.ndim != expected or 0 in found.shape:
            raise UserError(
                f"{path}: found an array of shape {found.shape}, expected "
                f"{'(h, w)' if expected == 2 else '(D, h, w)'}"
            )
        rows, columns = found.shape[-2:]
        if abs(columns / rows * height / width - 1) > ASPECT_TOLERANCE:
            raise UserError(
                f"{path}: found a map of {columns}x{rows}, expected the aspect ratio of the "
                f"{width}x{height} images"
            )
        if self.text is not None:
            features = self.checked(path, found)
            return self.lens.undistort(features) if self.lens else features
        labels = self.indices(path, found)
        return self.lens.undistort(labels, outside=VOID) if self.lens else labels

    def indices(self, path: Path, labels: np.ndarray) -> np.ndarray:
        """u16 (h, w) of a label map, from the manifest's numbers to the scene's indices or VOID."""
        if not np.issubdtype(labels.dtype, np.integer):
            raise UserError(f"{path}: found labels of type {labels.dtype}, expected whole numbers")
        known = set(range(len(self.classes))) | ({self.void} if self.void is not None else set())
        unknown = sorted(set(np.unique(labels).tolist()) - known)
        if unknown:
            raise UserError(
                f"{path}: found label {unknown[0]}, expected 0 to {len(self.classes) - 1}"
                + (f" or {self.void} for void" if self.void is not None else ""),
                "labels index the manifest's `classes`; its `void` names the label of no class",
            )
        indices = np.full(labels.shape, VOID, dtype=np.uint16)
        for index, number in enumerate(self.order):
            indices[labels == number] = index
        return indices

    def features(self, found: np.ndarray) -> Tensor:
        """f32 (D, h, w) of what `read` gave: one-hot with void last of labels, features as such."""
        if self.text is not None:
            return torch.from_numpy(found)
        channel = np.minimum(found, len(self.order))
        return torch.from_numpy(np.eye(len(self.order) + 1, dtype=np.float32)[:, channel])

    def checked(self, path: Path, features: np.ndarray) -> np.ndarray:
        """A feature map as f32, of the text vectors' width; finite, also as stored in binary16."""
        assert self.text is not None
        if len(features) != self.text.shape[1]:
            raise UserError(
                f"{path}: found {len(features)} channels, expected {self.text.shape[1]} as the "
                "text vectors",
                "feature maps are (D, h, w)",
            )
        binary16(features, str(path), "feature map", NOT_FINITE)
        return features.astype(np.float32)


def read_manifest(
    folder: Path, classes: list[str], frames: list[str], lens: PhotoLens | None = None
) -> Maps:
    """The manifest of a folder, checked against a scene.

    Args:
        classes: the scene's class names, without void.
        frames: names of the frames that need a map.
        lens: of the scene's photos, where they are undistorted when read.

    Raises:
        UserError: missing or wrong manifest, other classes, a frame without a map.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(
            f"{path}: no such manifest of precomputed maps",
            "docs/datasets.md says what it holds; the maps are made by another program",
        )
    content = read_json(path)
    kind = content.get("kind")
    if kind not in ("labels", "features"):
        raise UserError(f"{path}: found kind {kind!r}, expected 'labels' or 'features'")
    named = read_classes(content.get("classes"), path)
    files = read_files(content.get("files"), path)
    missing = sorted(set(classes) - set(named))
    if missing:
        raise UserError(
            f"{path}: found no class {missing[0]!r}, expected every class of the scene "
            f"({len(missing)} missing)",
            "make the maps for the scene's class list; further classes become void",
        )
    check_files(folder, files, frames)
    order = tuple(named.index(name) for name in classes)
    void = read_void(content.get("void"), path)
    if kind == "labels" and void in order:
        raise UserError(
            f"{path}: found void {void}, which is also the index of class {named[void]!r} in "
            "`classes`, expected a label that is no class of the scene",
            "`classes` are counted from 0; where the maps count them from 1, put an entry for void "
            "in front of them",
        )
    return Maps(
        folder=folder,
        kind=kind,
        classes=tuple(named),
        order=order,
        void=void,
        text=read_text(folder, content, len(named), path)[list(order)]
        if kind == "features"
        else None,
        files={frame: folder / str(files[frame]) for frame in frames},
        named=(folder / content["text"],) if kind == "features" else (),
        lens=lens if lens and not read_undistorted(content, path) else None,
    )


def check_files(folder: Path, files: dict[str, Any], frames: list[str]) -> None:
    """UserError unless each frame has a map in the folder, and a map of its own.

    Args:
        files: the manifest's `files`, frame name -> name of its map.
        frames: names of the frames that need a map.
    """
    path = folder / MANIFEST
    without = [frame for frame in frames if frame not in files]
    if without:
        raise UserError(
            f"{path}: found no map of frame {without[0]} ({len(without)} of {len(frames)} missing)",
            "names are those of `frames.zarr`: the photos' stems (docs/conventions.md). The file "
            f"names {next(iter(files))!r}",
        )
    owner: dict[Path, str] = {}
    for frame in frames:
        file = inside(folder, str(files[frame]))
        if not file.exists():
            raise UserError(f"{file}: no such map, of frame {frame}")
        if owner.setdefault(file.resolve(), frame) != frame:
            raise UserError(
                f"{path}: found {file.name} for frames {owner[file.resolve()]} and {frame}, "
                "expected a map for each frame"
            )


def inside(folder: Path, name: str) -> Path:
    """The file of that name in a folder; UserError for a name that leads out of it."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(
            f"{folder / MANIFEST}: {name!r} lies outside the folder of the maps",
            "name files of that folder only",
        )
    return folder / name


def is_names(value: Any) -> bool:
    """Whether a value is a non-empty list of different texts."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(name, str) and name for name in value)
        and len(set(value)) == len(value)
    )


def read_classes(value: Any, path: Path) -> list[str]:
    """The class names of a manifest, in the form in which names are compared (`clean_name`)."""
    names = [clean_name(name, f"{path}, classes") for name in value] if is_names(value) else []
    if not is_names(names):
        raise UserError(f"{path}: expected `classes`, a list of different names")
    return names


def read_files(value: Any, path: Path) -> dict[str, Any]:
    """The file of each frame of a manifest; frame names are composed (NFC), as the scene's are."""
    frames = [same_form(frame) for frame in value] if isinstance(value, dict) else []
    if not is_names(frames):
        raise UserError(f"{path}: expected `files`, a map from different frame names to files")
    return dict(zip(frames, value.values(), strict=True))


def read_void(value: Any, path: Path) -> int | None:
    """The void label of a manifest."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise UserError(f"{path}: found void {value!r}, expected a whole number")
    return value


def read_undistorted(content: dict[str, Any], path: Path) -> bool:
    """Whether the maps of a manifest were made of undistorted photos; a warning if it is silent."""
    if "undistorted" not in content:
        warn(NOT_SAID, str(path))
    value = content.get("undistorted", False)
    if not isinstance(value, bool):
        raise UserError(
            f"{path}: found undistorted {value!r}, expected true or false",
            "true for maps of photos without lens distortion, as `export` writes them",
        )
    return value


def read_text(folder: Path, content: dict[str, Any], classes: int, path: Path) -> np.ndarray:
    """f32 (classes, D) unit text vectors of a manifest of feature maps."""
    if not isinstance(content.get("text"), str):
        raise UserError(f"{path}: expected `text`, the file of the classes' text vectors")
    text = read_map(inside(folder, content["text"])).astype(np.float64)
    if text.ndim != 2 or len(text) != classes:
        raise UserError(
            f"{folder / content['text']}: found shape {text.shape}, expected one row for each of "
            f"{classes} classes"
        )
    require_finite(str(folder / content["text"]), {"text vectors": text}, NOT_FINITE)
    with np.errstate(over="ignore"):
        length = np.linalg.norm(text, axis=1, keepdims=True)
    if not ((length > 0) & np.isfinite(length)).all():
        raise UserError(f"{folder / content['text']}: found a text vector of no direction")
    return (text / length).astype(np.float32)


def read_map(path: Path) -> np.ndarray:
    """An array of real numbers from a file; UserError for anything else (strings, an archive)."""
    found = read_array(path)
    if not isinstance(found, np.ndarray):
        raise UserError(
            f"{path}: found an archive of arrays, expected one array",
            "give a file of numpy.savez the suffix .npz",
        )
    if found.dtype.kind not in REAL:
        raise UserError(
            f"{path}: found values of type {found.dtype}, expected whole or real numbers",
            "write the array as one of numbers",
        )
    return found


def read_array(path: Path) -> np.ndarray:
    """What png, npy, npz (one array) or zarr holds; UserError when it cannot be read."""
    suffix = path.suffix.lower()
    if suffix == ".png":
        return read_label_ids(path)
    if not path.exists():
        raise UserError(f"{path}: no such map")
    try:
        if suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                if len(file.files) != 1:
                    raise ValueError(f"found arrays {', '.join(file.files)}, expected one")
                return file[file.files[0]]
        if suffix == ".zarr":
            import zarr

            return np.asarray(zarr.open_array(str(path), mode="r")[...])
    except Exception as error:  # numpy and zarr raise many kinds for damaged files
        raise UserError(f"{path}: not a readable map ({error})") from None
    raise UserError(f"{path}: found a map of kind {path.suffix!r}, expected png, npy, npz or zarr")


def map_files(maps: Maps) -> dict[str, Path]:
    """The manifest and every map (every file of a zarr folder), by name in the folder."""
    paths = [maps.folder / MANIFEST]
    for path in sorted({*maps.files.values(), *maps.named}):
        paths += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return {str(path.relative_to(maps.folder)): path for path in paths}
