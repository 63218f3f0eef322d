"""Read a posed scene folder: sample, resize and split its frames, and find the scene box.

Writes frames.zarr (docs/conventions.md). Depth images, where a folder has them, are not read.
"""

from __future__ import annotations

from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from ovnerf.config.frames import SampleFrames
from ovnerf.runtime import progress
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.box import Box, as_shipped, triangulated, unit_warning
from ovnerf.scenes.forward import forward_facing
from ovnerf.scenes.frames import Frames, native_images, read_frames, without_lost_frames
from ovnerf.scenes.layouts import LAYOUTS, list_scene
from ovnerf.scenes.listing import Listing
from ovnerf.scenes.pinhole import camera_warnings
from ovnerf.storage.provenance import file_digest, result_digest
from ovnerf.storage.splits import TRAIN, in_split
from ovnerf.storage.stores import write_store

SMALLEST = 11
"""Pixels per side of the smallest images: SSIM's window, the largest of any stage."""


def run(*, folder: Path, out: Path, settings: SampleFrames) -> dict[str, Any]:
    """Read `folder`, write the frames store `out`; returns counts, the box rule and warnings."""
    sampled = list_scene(folder, settings.layout, settings.frames, settings.classes)
    listing = without_lost_frames(sampled)
    frames = read_frames(
        listing, settings.width, settings.height, settings.test_every, settings.held_out
    )
    if not in_split(frames.split, TRAIN).any():
        raise UserError(
            f"test_every: found {settings.test_every}, which leaves no training frame",
            "2 or more; 10 is the usual split",
        )
    check_size(folder, frames)
    if settings.box == "ndc":
        frames, box = forward_facing(listing, frames)
    else:
        box = find_box(listing, frames, settings)
    check_finite(folder, frames, box)
    height, width = frames.native_size
    warnings = camera_warnings(frames.native_intrinsics, width, height)
    warnings += [text for text in (box.warning, unit_doubt(listing, box)) if text]
    for text in (*listing.notes, *warnings):
        progress.log(f"sample_frames: {text}")
    write_store(
        out,
        "frames",
        {
            "rgb": frames.rgb,
            "pose": frames.pose,
            "intrinsics": frames.intrinsics,
            "split": frames.split,
        },
        attributes(listing, frames, box),
        result_digest("sample_frames", settings, input_digests(sampled)),
    )
    unit = "metres" if LAYOUTS[listing.layout].metres else "in_unit_of_poses"
    return {
        "frames": len(frames.names),
        "train": int(in_split(frames.split, TRAIN).sum()),
        "size": [frames.rgb.shape[2], frames.rgb.shape[1]],
        "classes": len(frames.classes),
        **({"dropped": len(listing.dropped)} if listing.dropped else {}),
        "box": box.rule,
        "box_points": box.points,
        **({} if box.warped else {f"box_{unit}": (box.high - box.low).round(3).tolist()}),
        **({"notes": list(listing.notes)} if listing.notes else {}),
        **({"warning": "; ".join(warnings)} if warnings else {}),
    }


def unit_doubt(listing: Listing, box: Box) -> str:
    """A warning where the layout's poses are in metres and the box says they are not; else ""."""
    # The box of a forward-facing scene has no far side.
    return unit_warning(box) if LAYOUTS[listing.layout].metres and not box.warped else ""


def check_size(folder: Path, frames: Frames) -> None:
    """UserError for images too small for what comes later: crops of 8 pixels, SSIM's window."""
    height, width = frames.rgb.shape[1:3]
    if min(height, width) < SMALLEST:
        raise UserError(
            f"{folder}: found images that are {width}x{height} as they are to be used, expected at "
            f"least {SMALLEST} pixels a side",
            "give larger photos, or a larger `width` and `height`",
        )


def check_finite(folder: Path, frames: Frames, box: Box) -> None:
    """UserError unless every pose, the camera, the box and its similarity are finite numbers."""
    posed = np.isfinite(frames.pose).all((1, 2))
    if not posed.all():
        raise UserError(
            f"{folder}: the pose of frame {frames.names[int(posed.argmin())]} is not finite",
            "remove its photo, or write a pose for it",
        )
    numbers = [*np.ravel(box.in_scene()), box.similarity.scale, *box.similarity.centre]
    if not np.isfinite([*numbers, *frames.intrinsics.ravel()]).all():
        raise UserError(
            f"{folder}: the scene box by rule {box.rule} or the camera is not finite: box "
            f"{box.in_scene()}, scale {box.similarity.scale}, centre {box.similarity.centre}, "
            f"camera {frames.intrinsics.tolist()}",
            "look at the poses: do the cameras move, in units near one?",
        )


def find_box(listing: Listing, frames: Frames, settings: SampleFrames) -> Box:
    """The scene box by the rule of the settings, from training frames only."""
    train = in_split(frames.split, TRAIN)
    if settings.box == "as_shipped":
        return as_shipped(frames.pose[train])
    photos = compress(native_images(listing), train)
    return triangulated(photos, frames.native_intrinsics, frames.pose[train])


def attributes(listing: Listing, frames: Frames, box: Box) -> dict[str, Any]:
    """The store's attributes."""
    return {
        "names": list(frames.names),
        "classes": list(frames.classes),
        "dataset_classes_source": listing.class_inputs()[0].name,
        "layout": listing.layout,
        "native_size": list(frames.native_size),
        "similarity": {"scale": box.similarity.scale, "centre": list(box.similarity.centre)},
        "box": box.in_scene(),
        "box_rule": box.rule,
        "space": "ndc" if box.warped else "metric",
        "units": "metres" if LAYOUTS[listing.layout].metres else "file",
        # Of undistorted photos only, so that other scenes' stores stay as they were.
        **({"lens": frames.lens.described()} if frames.lens else {}),
        "dropped": [{"name": name, "reason": reason} for name, reason in listing.dropped],
    }


def input_digests(listing: Listing) -> dict[str, str]:
    """sha256 of every file read, by its name in the scene folder."""
    files = listing.by_name(listing.image_inputs())
    return {name: file_digest(path) for name, path in files.items()}
