"""What the file of a trained field says of its run (written by `ovnerf.training.description`)."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ovnerf.field.semantic_field import SemanticField, semantics_from_header
from ovnerf.geometry.camera import Camera
from ovnerf.geometry.lens import PhotoLens, photo_lens
from ovnerf.geometry.rays import Ndc
from ovnerf.geometry.similarity import Similarity
from ovnerf.labels.vocabulary import Bank
from ovnerf.runtime.errors import UserError
from ovnerf.storage.splits import TEST, TRAIN, in_split
from ovnerf.storage.stores import Store, read
from ovnerf.storage.tensors import load_tensors

VERSION = 1
"""Of the descriptions that are read here; those of `training.description` are written."""
FIELD = "field.safetensors"
SAME = 1e-6
"""Share of the largest number by which cameras of the same frames may differ: rounding."""
AXIS_DEGREES = 30.0
"""An axis of the world within this angle of the cameras' upward direction is taken for up."""


@dataclass(frozen=True)
class Description:
    """A run's classes, encoder, cameras and coordinates.

    Attributes:
        source: the file that says it.
        digest: of what the field was made from.
        classes: class names, without void.
        encoder: settings of the encoder, `kind` among them.
        encoder_files: sha256 of its `weights` and `model` files, where it has such.
        text_bank: prompt bank of the training. blank_prompt: whether a blank prompt competed.
        similarity: world to scene.
        units: `metres`, or `file` where the unit is that of the input and not known.
        warped: whether the field lives in the warped space of a forward-facing scene.
        height, width: of the frames, in pixels.
        intrinsics: f64 (3, 3), in pixels.
        names: a name per frame.
        split: u8 (n,), as in `frames.zarr`.
        pose: f64 (n, 4, 4), camera to world.
        lens: of the photos, where they were undistorted.
    """

    source: Path
    digest: str
    classes: tuple[str, ...]
    encoder: dict[str, Any]
    encoder_files: dict[str, str]
    text_bank: Bank
    blank_prompt: bool
    similarity: Similarity
    units: str
    warped: bool
    height: int
    width: int
    intrinsics: np.ndarray
    names: tuple[str, ...]
    split: np.ndarray
    pose: np.ndarray
    lens: PhotoLens | None = None

    @property
    def training_frames(self) -> list[int]:
        """Frames that were trained on, ascending."""
        return np.flatnonzero(in_split(self.split, TRAIN)).tolist()

    @property
    def held_out_frames(self) -> list[int]:
        """Frames that are scored, ascending."""
        return np.flatnonzero(in_split(self.split, TEST)).tolist()

    def frame(self, name: str) -> int:
        """The index of a frame by its name; UserError when there is none of that name."""
        if name not in self.names:
            likely = get_close_matches(name, self.names, 1, 0) or self.names[:1]
            raise UserError(
                f"{self.source}: found no frame {name!r} among its {len(self.names)}",
                f"did you mean {likely[0]!r}? `description.names` lists them all",
            )
        return self.names.index(name)

    def camera(self, pose: np.ndarray, device: torch.device | None = None) -> Camera:
        """The camera of a pose f64 (4, 4), camera to world, at the size of the frames."""
        intrinsics = torch.from_numpy(self.intrinsics).float().to(device)
        scene = torch.from_numpy(self.similarity.poses(pose[None])[0]).float().to(device)
        ndc = Ndc.of_camera(intrinsics, self.height, self.width) if self.warped else None
        return Camera(scene, intrinsics, self.height, self.width, ndc)

    @cached_property
    def up(self) -> np.ndarray:
        """Unit vector f64 (3,) that points up in the world, guessed from the cameras.

        People hold cameras upright, so it is the mean of the cameras' upward directions, or the
        axis of the world next to it when that is within `AXIS_DEGREES`.
        """
        mean = -self.pose[:, :3, 1].mean(0)
        mean /= max(float(np.linalg.norm(mean)), 1e-12)
        axis = np.zeros(3)
        nearest = int(np.abs(mean).argmax())
        axis[nearest] = np.sign(mean[nearest])
        return axis if mean @ axis >= np.cos(np.radians(AXIS_DEGREES)) else mean


def read_description(header: dict[str, Any], source: Path) -> Description:
    """The description in the header of the field's file `source`.

    Raises:
        UserError: there is none, or one of another version.
    """
    rerun = "train it again with this version: rerun train_semantics"
    run = header.get("run")
    if run is None:
        raise UserError(
            f"{source}: says nothing of its run, because an older version of ovnerf made it", rerun
        )
    if run.get("version") != VERSION:
        raise UserError(
            f"{source}: found a description of version {run.get('version')}, expected {VERSION}",
            rerun,
        )
    similarity = run["similarity"]
    return Description(
        source=source,
        digest=header["digest"],
        classes=tuple(run["classes"]),
        encoder=run["encoder"],
        encoder_files=run["encoder_files"],
        text_bank=run["text_bank"],
        blank_prompt=run["blank_prompt"],
        similarity=Similarity(float(similarity["scale"]), tuple(similarity["centre"])),
        units=run["units"],
        warped=run["space"] == "ndc",
        height=run["height"],
        width=run["width"],
        intrinsics=np.array(run["intrinsics"]),
        names=tuple(run["names"]),
        split=np.array(run["split"], dtype=np.uint8),
        pose=np.array(run["pose"]),
        lens=photo_lens(run),
    )


def require_same_frames(store: Store, description: Description) -> None:
    """UserError when a store of the scene holds other frames than the run was trained with.

    Frames of two scenes can have the same names, so the cameras are compared where the store has
    them (`frames.zarr`), and the size of the images in it.
    """
    what = ""
    if tuple(store.attrs["names"]) != description.names:
        what = "frames"
    elif sizes_of(store) - {(description.height, description.width)}:
        what = "sizes"
    elif "pose" in store and not same_poses(read(store, "pose"), description.pose):
        what = "camera poses"
    elif "intrinsics" in store and not near(read(store, "intrinsics"), description.intrinsics):
        what = "intrinsics"
    if what:
        raise UserError(
            f"{store.store_path}: its {what} differ from those of {description.source}",
            "train again with the frames that are there now",
        )


def sizes_of(store: Store) -> set[tuple[int, ...]]:
    """Height and width of the photos and label maps in a store."""
    return {store[name].shape[1:3] for name in ("rgb", "label") if name in store}


def same_poses(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether poses f64 (n, 4, 4) are the same, up to the last digits of another machine."""
    return near(one[:, :3, :3], other[:, :3, :3]) and near(one[:, :3, 3], other[:, :3, 3])


def near(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether arrays agree to `SAME` of their largest number, whatever its unit."""
    if one.shape != other.shape:
        return False
    return bool(np.abs(one - other).max(initial=0) <= SAME * np.abs(other).max(initial=0))


def open_field(folder: Path, device: torch.device) -> tuple[SemanticField, Description]:
    """The trained field in a folder of `train_semantics`, and what its file says of the run.

    Raises:
        UserError: no such file, a damaged one, or one of a version that described nothing.
    """
    path = folder / FIELD
    if not path.is_file():
        raise UserError(f"{folder}: found no {FIELD}", "name a folder that train_semantics wrote")
    tensors, header = load_tensors(path)
    description = read_description(header, path)
    return semantics_from_header(header, tensors).to(device).eval(), description
