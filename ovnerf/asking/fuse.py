"""The points of a trained field: what its training views see, averaged per voxel.

For each view the rays are marched once. A pixel counts where the field is opaque and its samples
agree on one distance; its ray feature u, colour and normal are added to the voxel that its surface
point lies in, weighted by opacity. The head is affine, so the language feature of a voxel is
F = U u with U (D, 28) of the field, and 28 numbers a point hold it (docs/asking.md#points).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ovnerf.asking.description import Description, open_field
from ovnerf.asking.surfaces import Surface, depths, see, spacing
from ovnerf.asking.text import class_text
from ovnerf.asking.voxels import (
    VoxelGrid,
    VoxelSums,
    cells_of_keys,
    in_range,
    joined,
    keys_of,
    merged,
)
from ovnerf.compute.device import resolve_device
from ovnerf.config.points import FusePoints
from ovnerf.field.semantic_field import SemanticField
from ovnerf.runtime import progress
from ovnerf.runtime.errors import Stopped
from ovnerf.storage.by_frame import begin_partial, is_finished, load_part, part_path, save_part
from ovnerf.storage.finite import binary16
from ovnerf.storage.provenance import result_digest
from ovnerf.storage.spread import spread_evenly
from ovnerf.storage.stores import NOT_FINITE, WholeArray, open_store, publish_store

SPACING_VIEWS = 8
"""Views from which the distance between neighbouring pixels' surface points is taken."""
CHUNK_ROWS = 65536
"""Points of a chunk of the store."""
POINT, NORMAL, COLOUR, FEATURE = slice(0, 3), slice(3, 6), slice(6, 9), slice(9, None)
"""Columns of the sums."""


def fuse_points(
    semantics: Path, features: Path | None, out: Path, settings: FusePoints
) -> dict[str, object]:
    """Write the `points` store of a trained field; goes on after a kill with the views left.

    Args:
        semantics: folder of `train_semantics`.
        features: store with the text vectors of the classes; without it the encoder makes them.

    Returns:
        What the stage says of it.

    Raises:
        UserError: a field of an older version, or one whose views see no surface.
        Stopped: the stage was asked to end; finished views are kept.
    """
    field, description = open_field(semantics, resolve_device())
    store = open_store(features, "features") if features else None
    text = class_text(description, store)
    inputs = {"semantics": description.digest}
    if store is not None:
        inputs["features"] = store.attrs["digest"]
    digest = result_digest("fuse_points", settings, inputs, exclude={"variants"})
    grid = voxel_grid(field, description, settings)
    partial = out.with_name(out.name + ".partial")
    begin_partial(partial, digest)
    sum_views(partial, field, description, settings, grid)
    frames = description.training_frames
    total = merged(load_sums(partial, slot) for slot in range(len(frames)))
    matrix = field.clip.matrix().detach().cpu().numpy()
    arrays = point_arrays(total, grid, matrix, getattr(text, settings.text_bank))
    arrays["feature"] = binary16(arrays["feature"], str(out), "feature", NOT_FINITE)
    constant = {"matrix": matrix, "text_bare": text.bare, "text_ensemble": text.ensemble}
    publish_store(
        out,
        "points",
        {
            **{name: WholeArray(values, CHUNK_ROWS) for name, values in arrays.items()},
            **{name: WholeArray(values, len(values)) for name, values in constant.items()},
        },
        {
            "semantics": description.digest,
            "settings": settings.model_dump(mode="json", exclude={"variants"}),
            "classes": list(description.classes),
            "units": description.units,
            "up": description.up.tolist(),
            "origin": grid.origin.tolist(),
            "voxel_size": grid.size,
            "frames": frames,
        },
        digest,
    )
    shutil.rmtree(partial)
    return {
        "points": len(total),
        "voxel_size": float(f"{grid.size:.4g}"),
        "pixel_share": round(float(total.pixels.sum()) / pixels(description), 3),
        "bytes_per_point": sum(values.itemsize * values[0].size for values in arrays.values()),
    }


def pixels(description: Description) -> int:
    """Pixels of all training views."""
    return description.height * description.width * len(description.training_frames)


def voxel_grid(field: SemanticField, description: Description, settings: FusePoints) -> VoxelGrid:
    """The grid whose corner is that of the field's box, with voxels of the settings' size."""
    size = settings.voxel_size
    if size is None:
        frames = spread_evenly(description.training_frames, SPACING_VIEWS)
        views = (depths(field, description, frame, settings) for frame in frames)
        size = spacing(views, float(description.intrinsics[0, 0]))
    corner = field.radiance.box[:1].cpu()
    if description.warped:
        corner = corner.new_zeros(1, 3)
    return VoxelGrid(description.similarity.world(corner.numpy())[0], size)


def sum_views(
    partial: Path,
    field: SemanticField,
    description: Description,
    settings: FusePoints,
    grid: VoxelGrid,
) -> None:
    """Keep the sums of each training view in `partial`, of those that are not there yet."""
    frames = description.training_frames
    todo = [slot for slot in range(len(frames)) if not is_finished(part_path(partial, slot))]
    progress.begin("fuse_points", "frames", len(frames), len(frames) - len(todo))
    for slot in tqdm(todo, "fuse_points", disable=None, unit="view"):
        sums = voxel_sums(see(field, description, frames[slot], settings), grid)
        save_part(
            part_path(partial, slot),
            {
                "key": sums.key,
                "pixels": sums.pixels.astype(np.int32),
                "weight": sums.weight,
                "sums": sums.sums.astype(np.float32),
            },
        )
        progress.advance()
        if progress.stop_wanted():
            raise Stopped(f"{partial}: stopped as asked; finished views are kept there")


def load_sums(partial: Path, slot: int) -> VoxelSums:
    """The sums of a view that `sum_views` kept."""
    part = load_part(part_path(partial, slot))
    views = np.ones(len(part["key"]), dtype=np.int64)
    return VoxelSums(
        part["key"],
        part["pixels"].astype(np.int64),
        views,
        part["weight"],
        part["sums"].astype(np.float64),
    )


def voxel_sums(surface: Surface, grid: VoxelGrid) -> VoxelSums:
    """The sums of one view's pixels."""
    cell = grid.cells(surface.point)
    used = surface.seen & in_range(cell)
    cell, weight = cell[used], surface.opacity[used].astype(np.float64)
    values = np.concatenate(
        [
            surface.point[used] - grid.centres(cell),
            surface.normal[used],
            surface.colour[used],
            surface.feature[used],
        ],
        axis=1,
    )
    ones = np.ones(len(cell), dtype=np.int64)
    pixels = VoxelSums(keys_of(cell), ones, ones, weight, values * weight[:, None])
    summed = joined([pixels])
    return VoxelSums(
        summed.key, summed.pixels, np.ones_like(summed.pixels), summed.weight, summed.sums
    )


def point_arrays(
    total: VoxelSums, grid: VoxelGrid, matrix: np.ndarray, text: np.ndarray
) -> dict[str, np.ndarray]:
    """The arrays of a `points` store, a row per voxel, ascending by voxel.

    Args:
        matrix: U of the field's head, f32 (D, 28). text: unit vectors f32 (C, D), one per class.

    Returns:
        cell i32 (n, 3); xyz f64 (n, 3), world; normal f32 (n, 3), 0 where unknown; rgb u8 (n, 3);
        opacity f32 (n,); views u16 (n,); label u16 (n,); feature f32 (n, 28): the mean u over |F|.
    """
    cell = cells_of_keys(total.key)
    mean = total.sums / total.weight[:, None]
    length = np.linalg.norm(mean[:, NORMAL], axis=1, keepdims=True)
    feature = unit_features(mean[:, FEATURE], matrix)
    return {
        "cell": cell.astype(np.int32),
        "xyz": grid.centres(cell) + mean[:, POINT],
        "normal": (mean[:, NORMAL] / np.maximum(length, 1e-12)).astype(np.float32),
        "rgb": np.rint(255 * mean[:, COLOUR].clip(0, 1)).astype(np.uint8),
        "opacity": (total.weight / total.pixels).astype(np.float32),
        "views": np.minimum(total.views, 65535).astype(np.uint16),
        "label": (feature @ (text @ matrix).T).argmax(1).astype(np.uint16),
        "feature": feature,
    }


def unit_features(ray: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """u over |U u|, so that U times it is a unit vector: f32 (n, 28) of ray features (n, 28)."""
    gram = matrix.astype(np.float64).T @ matrix.astype(np.float64)
    square = np.einsum("ni,ij,nj->n", ray, gram, ray, optimize=True)
    return (ray / np.sqrt(np.maximum(square, 1e-16))[:, None]).astype(np.float32)
