"""What is in a scene folder, before hours are spent on it: layout, cameras, overlap, classes.

Everything is measured on a few frames spread evenly over the scene, so that a long video takes
seconds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ovnerf.labels.void import VOID
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.box import (
    MAXIMUM_FRAMES,
    MINIMUM_POINTS,
    REPROJECTION_PIXELS,
    Box,
    Triangulation,
    agreeing_within,
    box_of,
    find_features,
    points_by_view,
    project,
    ray_grid,
    spread,
    unit_warning,
)
from ovnerf.scenes.frames import class_names, native_camera, native_images, read_labels, reader_of
from ovnerf.scenes.frames import without_lost_frames as without_lost
from ovnerf.scenes.layouts import LAYOUTS, check_count, find_class_list
from ovnerf.scenes.listing import Listing, ignored_lines
from ovnerf.scenes.pinhole import camera_warnings
from ovnerf.scenes.poses import scale_camera
from ovnerf.storage.sizes import resize_rgb

PHOTOS = 24
"""At most so many photos are opened."""
PHOTO_WIDTH = 480
GRID = 12
"""Points across and down a view that stand for what it sees."""


@dataclass(frozen=True)
class Overview:
    """A scene as found.

    Attributes:
        listing: all frames that have a pose; `dropped` holds the others.
        also: further layouts that would read the folder.
        native_size: (height, width) of the photos.
        intrinsics: f64 (3, 3) at that size.
        pose: f64 (n, 4, 4) of all frames, camera-to-world.
        shown: positions of the frames that were opened.
        photos: u8 (m, h, w, 3) of those, made smaller.
        labels: u16 (m, h, w) of those, None without ground truth.
        classes: class names, empty when the scene has none and none were asked for.
        depth: median distance of what the photos show along the optical axis, and how it is known.
        box: the scene box by the rule `triangulated`, from the photos that were opened.
        overlap: f64 (m, m), share of what opened view i sees that opened view j sees.
        next_overlap: the same for each frame and the next of the scene, median.
    """

    listing: Listing
    also: tuple[str, ...]
    native_size: tuple[int, int]
    intrinsics: np.ndarray
    pose: np.ndarray
    shown: tuple[int, ...]
    photos: np.ndarray
    labels: np.ndarray | None
    classes: tuple[str, ...]
    depth: tuple[float, str]
    box: Box
    overlap: np.ndarray
    next_overlap: float


def recognise(folder: Path) -> tuple[Listing, tuple[str, ...]]:
    """The listing by the layout that fits, and the other layouts that would fit, too.

    Raises:
        UserError: no layout fits; the message says what each lacked.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found: dict[str, Listing] = {}
    lacked = []
    for name, layout in LAYOUTS.items():
        try:
            listing = layout.list_files(folder)
            if not listing.names:
                raise UserError(f"{folder}: no images")
            found[name] = listing
        except UserError as error:
            lacked.append(f"  {name}: {error.message}")
    if not found:
        raise UserError(
            f"{folder}: fits none of the layouts\n" + "\n".join(lacked),
            "docs/datasets.md draws each of them",
        )
    # Mip-NeRF360 scenes come with both; the COLMAP model also knows lens distortion.
    if "colmap" in found and "llff" in found and not any(found["llff"].labels):
        found["llff"] = found.pop("llff")
    chosen = next(iter(found))
    return found[chosen], tuple(name for name in found if name != chosen)


def look(folder: Path, layout: str = "", classes: str = "") -> Overview:
    """Read a scene folder as the workflow would, a few photos of it.

    Args:
        layout: a key of LAYOUTS; recognised when empty.
        classes: as in `config.SampleFrames`.

    Raises:
        UserError: the folder cannot be read, or fits no layout.
    """
    if layout and layout not in LAYOUTS:
        raise UserError(f"layout: found {layout!r}, expected one of {', '.join(LAYOUTS)}")
    listing, also = (LAYOUTS[layout].list_files(folder), ()) if layout else recognise(folder)
    if classes:
        listing = replace(listing, class_list=find_class_list(classes))
    check_count(folder, len(listing.names), None)
    listing = without_lost(listing)
    pose = reader_of(listing).poses(listing)
    native, camera = native_camera(listing)
    shown = spread(len(listing.names), PHOTOS)
    few = listing.only(listing.names[position] for position in shown)
    photos = []
    for image in native_images(few):
        size = (max(1, round(native[0] * PHOTO_WIDTH / native[1])), PHOTO_WIDTH)
        photos.append(resize_rgb(image, size) if native[1] > PHOTO_WIDTH else image)
    small = scale_camera(camera, native, photos[0].shape[:2])
    found = matched(photos, small, pose[shown])
    depth = typical_depth(found, pose[shown])
    names: list[str] = []
    if listing.classes is not None or listing.class_list is not None:
        names = class_names(listing)
    return Overview(
        listing=listing,
        also=also,
        native_size=native,
        intrinsics=camera,
        pose=pose,
        shown=tuple(shown),
        photos=np.stack(photos),
        labels=labels_of(few, native, photos[0].shape[:2]),
        classes=tuple(names),
        depth=depth,
        box=rough_box(found, small, photos[0].shape[:2], pose, shown),
        overlap=overlaps(pose[shown], camera, native, depth[0]),
        next_overlap=float(
            np.median(
                [
                    overlaps(pose[index : index + 2], camera, native, depth[0])[0, 1]
                    for index in range(len(pose) - 1)
                ]
            )
        ),
    )


def labels_of(
    listing: Listing, native: tuple[int, int], size: tuple[int, int]
) -> np.ndarray | None:
    """u16 (m, h, w) of the frames, None when none of them has labels."""
    if not any(listing.labels):
        return None
    return read_labels(replace(listing, partial_labels=True), native, size)[0]


def matched(photos: list[np.ndarray], camera: np.ndarray, pose: np.ndarray) -> Triangulation:
    """The triangulated features of the photos u8 (h, w, 3), whose camera (3, 3) this is."""
    features = [find_features(photo, camera) for photo in photos]
    tolerance = 2 * REPROJECTION_PIXELS / camera[0, 0]
    return points_by_view(features, pose, tolerance, agreeing_within(camera, photos[0].shape[:2]))


def typical_depth(found: Triangulation, pose: np.ndarray) -> tuple[float, str]:
    """Median depth of triangulated features; the cameras' extent where there are too few."""
    depths = [project(points, matrix)[1] for points, matrix in zip(found.seen, pose, strict=True)]
    values = np.concatenate(depths)
    if len(values) >= 100:
        return float(np.median(values)), f"{found.count} triangulated features"
    extent = float((pose[:, :3, 3].max(0) - pose[:, :3, 3].min(0)).max())
    return extent or 1.0, "a guess from the cameras' extent"


def rough_box(
    found: Triangulation,
    camera: np.ndarray,
    size: tuple[int, int],
    pose: np.ndarray,
    shown: list[int],
) -> Box:
    """The scene box from the opened photos alone.

    `sample_frames` opens more photos and finds more points, so fewer are asked for here.

    Args:
        camera: f64 (3, 3) at this (height, width).
        pose: f64 (n, 4, 4) of all frames.
        shown: which of them were opened.
    """
    needed = MINIMUM_POINTS * len(shown) // min(len(pose), MAXIMUM_FRAMES)
    return box_of(found, pose[shown], ray_grid(camera, size), pose[:, :3, 3], needed)


def overlaps(
    pose: np.ndarray, camera: np.ndarray, size: tuple[int, int], depth: float
) -> np.ndarray:
    """f64 (m, m): share of view i's points at this depth that lie inside view j."""
    row, column = np.mgrid[:GRID, :GRID] + 0.5
    pixel = np.stack([column / GRID * size[1], row / GRID * size[0]], -1).reshape(-1, 2)
    local = (pixel - camera[:2, 2]) / camera[[0, 1], [0, 1]]
    local = depth * np.concatenate([local, np.ones((len(local), 1))], 1)
    share = np.zeros((len(pose), len(pose)))
    for first, matrix in enumerate(pose):
        points = local @ matrix[:3, :3].T + matrix[:3, 3]
        for second, other in enumerate(pose):
            seen, distance = project(points, other)
            at = seen * camera[[0, 1], [0, 1]] + camera[:2, 2]
            inside = (at >= 0).all(1) & (at < (size[1], size[0])).all(1) & (distance > 0)
            share[first, second] = inside.mean()
    return share


def up_axis(pose: np.ndarray) -> tuple[int, int]:
    """World axis (0, 1, 2) and sign that the cameras' image-up points to on average."""
    mean = -pose[:, :3, 1].mean(0)
    axis = int(np.abs(mean).argmax())
    return axis, 1 if mean[axis] > 0 else -1


def class_shares(overview: Overview) -> dict[str, float]:
    """Percent of the opened labels' pixels per class that occurs, and `void`; largest first."""
    if overview.labels is None:
        return {}
    known = [overview.listing.labels[frame] is not None for frame in overview.shown]
    ids, counts = np.unique(overview.labels[known], return_counts=True)
    shares = {
        "void" if identity == VOID else overview.classes[identity]: 100 * count / counts.sum()
        for identity, count in zip(ids.tolist(), counts.tolist(), strict=True)
    }
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def report(overview: Overview) -> list[str]:
    """What a person should know, line by line."""
    listing, pose = overview.listing, overview.pose
    height, width = overview.native_size
    fov = np.degrees(2 * np.arctan(width / 2 / overview.intrinsics[0, 0]))
    centre = pose[:, :3, 3]
    extent = centre.max(0) - centre.min(0)
    step = np.linalg.norm(np.diff(centre, axis=0), axis=1)
    axis, sign = up_axis(pose)
    count = len(overview.shown)
    others = (overview.overlap - np.eye(count) > 0.5).sum(1)
    lines = [
        f"{listing.folder}: layout {listing.layout}"
        + (f" (also readable as {', '.join(overview.also)})" if overview.also else ""),
        f"frames: {len(listing.names)}, {listing.names[0]} to {listing.names[-1]}",
        f"photos: {width}x{height}, {fov:.1f} degrees across, focal length "
        f"{overview.intrinsics[0, 0]:.1f} and {overview.intrinsics[1, 1]:.1f} pixels, centre "
        f"{overview.intrinsics[0, 2]:.1f}, {overview.intrinsics[1, 2]:.1f}",
        "cameras: extent " + " x ".join(f"{side:.2f}" for side in extent) + " (units of the file), "
        f"median step {np.median(step):.3f}, up is about {'+-'[sign < 0]}{'xyz'[axis]}",
        f"depth: {overview.depth[0]:.2f} is typical ({overview.depth[1]})",
        f"overlap: {100 * overview.next_overlap:.0f} % with the next frame; of {count} views, one "
        f"shares more than half with {int(np.median(others))} others (medians; blind to occlusion)",
    ]
    shares = class_shares(overview)
    if overview.labels is not None:
        labelled = sum(label is not None for label in listing.labels)
        named = [f"{name} {share:.1f} %" for name, share in shares.items()]
        lines.append(f"labels: on {labelled} of {len(listing.names)} frames; " + ", ".join(named))
    else:
        lines.append("labels: none; image quality will be scored, labels will not")
    lines.append(
        f"classes: {len(overview.classes)} ({', '.join(overview.classes[:8])}"
        + (", ...)" if len(overview.classes) > 8 else ")")
        if overview.classes
        else "classes: none; name a class list (`classes`) before running the workflow"
    )
    lines += [f"note: {text}" for text in listing.notes]
    lines += [f"warning: {text}" for text in warnings_of(overview)]
    lines += ignored_lines(listing)
    reasons = Counter(reason for _, reason in listing.dropped)
    for reason, number in reasons.items():
        first = [name for name, why in listing.dropped if why == reason][:5]
        lines.append(
            f"dropped: {number} ({', '.join(first)}{' ...' if number > 5 else ''}): {reason}"
        )
    return lines


def warnings_of(overview: Overview) -> list[str]:
    """What is likely to go wrong with this scene."""
    height, width = overview.native_size
    found = camera_warnings(overview.intrinsics, width, height)
    metres = LAYOUTS[overview.listing.layout].metres
    doubts = (overview.box.warning, unit_warning(overview.box) if metres else "")
    found += [text for text in doubts if text]
    centre = overview.pose[:, :3, 3]
    if float((centre.max(0) - centre.min(0)).max()) < 0.02 * overview.depth[0]:
        found.append("the cameras hardly move: nothing can be triangulated")
    if overview.next_overlap < 0.3:
        found.append("neighbouring frames share little; take more photos")
    void = class_shares(overview).get("void", 0)
    if void == 100:
        found.append("every labelled pixel is void: nothing of the class list occurs")
    elif void > 50:
        found.append("more than half of the labelled pixels are void")
    return found
