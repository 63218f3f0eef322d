"""Reading the points of a trained field."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ovnerf.asking.description import Description
from ovnerf.encoders.text import TextBanks
from ovnerf.labels.vocabulary import Bank
from ovnerf.runtime.errors import UserError
from ovnerf.storage.stores import open_store, read


@dataclass(frozen=True)
class Points:
    """The points of a trained field, a row each, ascending by voxel (docs/asking.md#points).

    Attributes:
        xyz: f64 (n, 3), world, in the unit of the poses.
        normal: f32 (n, 3), 0 where unknown. rgb: u8 (n, 3). label: u16 (n,), index in `classes`.
        opacity: f32 (n,). views: u16 (n,), how many see it. cell: i32 (n, 3), its voxel.
        feature: f32 (n, 28). matrix: f32 (D, 28); matrix @ feature is a point's unit language
            vector.
        text_bank: prompt bank of the text vectors that gave the labels.
        classes: names.
        voxel_size: side of a voxel, in the unit of the poses.
        digest: of what the points were made from.
    """

    xyz: np.ndarray
    normal: np.ndarray
    rgb: np.ndarray
    label: np.ndarray
    opacity: np.ndarray
    views: np.ndarray
    cell: np.ndarray
    feature: np.ndarray
    matrix: np.ndarray
    text: TextBanks
    text_bank: Bank
    classes: tuple[str, ...]
    voxel_size: float
    digest: str

    def __len__(self) -> int:
        return len(self.xyz)


def open_points(path: Path, description: Description) -> Points:
    """The `points` store of a described field.

    Raises:
        UserError: missing or damaged, or made from another field.
    """
    store = open_store(path, "points")
    if store.attrs["semantics"] != description.digest:
        raise UserError(
            f"{path}: made from another field than {description.source}",
            f"delete it, or make it again: python -m ovnerf fuse_points --semantics "
            f"{description.source.parent} --out {path}",
        )
    arrays = ("xyz", "normal", "rgb", "label", "opacity", "views", "cell")
    bare = read(store, "text_bare")
    return Points(
        **{name: read(store, name) for name in arrays},
        # Column by column: a phrase's scores are sums over the columns.
        feature=np.asfortranarray(read(store, "feature"), dtype=np.float32),
        matrix=read(store, "matrix"),
        text=TextBanks(read(store, "text_ensemble"), bare, np.zeros_like(bare[0])),
        text_bank=store.attrs["settings"]["text_bank"],
        classes=tuple(store.attrs["classes"]),
        voxel_size=float(store.attrs["voxel_size"]),
        digest=store.attrs["digest"],
    )
