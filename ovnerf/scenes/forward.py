"""Forward-facing captures (LLFF, 3DOVS): the world seen from the average camera, ready for `Ndc`.

The average camera becomes the origin, looking along +z, and the nearest thing that any camera sees
lies at z = 4/3, so that the near plane z = 1 is a little before it (docs/method.md#ndc). Published
code builds the average camera's axes so that they are left-handed, which mirrors the world and
turns rotations into reflections; here they are right-handed and poses stay rotations.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ovnerf.geometry.similarity import Similarity
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.box import Box
from ovnerf.scenes.frames import Frames, reader_of
from ovnerf.scenes.listing import Listing
from ovnerf.storage.splits import TRAIN, in_split

NEAR_SHARE = 0.75
"""The near plane over the nearest bound."""
WARPED_BOX = ((-2.0, -2.0, -1.0), (2.0, 2.0, 1.0))
"""Of warped coordinates: a camera at the origin sees x and y from -1 to 1."""
MINIMUM_FORWARD = 0.1
"""Cosine between the average optical axis and any ray of any frame."""


def forward_facing(listing: Listing, frames: Frames) -> tuple[Frames, Box]:
    """The frames in the world of their average training camera, and the box of the warped space.

    Raises:
        UserError: a layout that does not say how near things are, or cameras that look apart.
    """
    bounds = reader_of(listing).bounds
    if bounds is None:
        raise UserError(
            f"{listing.folder}: found `box: ndc` with layout {listing.layout}, expected llff, "
            "whose poses come with near and far bounds",
            "use `box: triangulated`",
        )
    train = in_split(frames.split, TRAIN)
    near = NEAR_SHARE * float(bounds(listing)[train, 0].min())
    pose = np.linalg.inv(average_camera(frames.pose[train])) @ frames.pose
    check_forward(listing, replace(frames, pose=pose))
    # What the box holds in the world: a pyramid from the near plane on.
    height, width = frames.native_size
    reach = np.array([width, height]) / frames.native_intrinsics[[0, 1], [0, 1]] * near
    box = Box(
        low=np.array([*-reach, near]),
        high=np.array([*reach, np.inf]),
        similarity=Similarity(1 / near, (0.0, 0.0, 0.0)),
        rule="ndc",
        warped=WARPED_BOX,
    )
    return replace(frames, pose=pose), box


def average_camera(pose: np.ndarray) -> np.ndarray:
    """Camera-to-world (4, 4) in the middle of cameras f64 (n, 4, 4), right-handed, OpenCV axes."""
    forward = unit(pose[:, :3, 2].mean(0))
    right = unit(np.cross(pose[:, :3, 1].mean(0), forward))
    average = np.eye(4)
    average[:3] = np.stack([right, np.cross(forward, right), forward, pose[:, :3, 3].mean(0)], 1)
    return average


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector at length one."""
    return vector / np.linalg.norm(vector)


def check_forward(listing: Listing, frames: Frames) -> None:
    """UserError unless the rays through the corners of all frames point along +z."""
    height, width = frames.native_size
    corner = np.array([[x, y, 1.0] for x in (0, width) for y in (0, height)])
    local = corner @ np.linalg.inv(frames.native_intrinsics).T
    local /= np.linalg.norm(local, axis=1, keepdims=True)
    cosine = (frames.pose[:, 2, :3] @ local.T).min(1)
    worst = int(cosine.argmin())
    if cosine[worst] < MINIMUM_FORWARD:
        angle = np.degrees(np.arccos(np.clip(cosine[worst], -1, 1)))
        raise UserError(
            f"{listing.folder}: frame {frames.names[worst]} has rays {angle:.0f} degrees off the "
            "average direction, expected cameras that look the same way for `box: ndc`",
            "use `box: triangulated`",
        )
