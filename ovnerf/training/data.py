"""Stores as tensors: what training and rendering read from `frames.zarr`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ovnerf.field.covisibility import DepthViews
from ovnerf.geometry.camera import Camera
from ovnerf.geometry.rays import Ndc, pixel_rays
from ovnerf.geometry.similarity import Similarity
from ovnerf.storage.frame_index import FrameIndex
from ovnerf.storage.stores import Store, read


@dataclass(frozen=True)
class Photos:
    """The photos of some frames with their cameras, as tensors.

    A `photo` below is an index along `rgb` and `pose`, whichever frames of the scene were loaded.

    Attributes:
        rgb: u8 (n, H, W, 3).
        pose: f32 (n, 4, 4), camera to scene.
        intrinsics: f32 (3, 3) in pixels, of all photos.
        ndc: the warp of a forward-facing scene, by which rays come out warped; None without one.
    """

    rgb: Tensor
    pose: Tensor
    intrinsics: Tensor
    ndc: Ndc | None = None

    def __len__(self) -> int:
        return len(self.rgb)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.rgb.shape[1], self.rgb.shape[2]

    def rays(self, photo: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        """Rays through pixels, given by indices i64 (b,).

        Returns:
            Origins in scene units and unit directions, f32 (b, 3) each; both warped in a
            forward-facing scene.
        """
        return pixel_rays(self.pose[photo], self.intrinsics, column, row, self.ndc)

    def colours(self, photo: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Colours of pixels in [0, 1], f32 (b, 3); indices i64 (b,)."""
        return self.rgb[photo, row, column].float() / 255

    def camera(self, photo: int) -> Camera:
        """The camera of one photo."""
        return Camera(self.pose[photo], self.intrinsics, *self.size, self.ndc)

    def to(self, device: torch.device) -> Photos:
        """The same photos on another device."""
        return Photos(
            self.rgb.to(device), self.pose.to(device), self.intrinsics.to(device), self.ndc
        )


def similarity(store: Store) -> Similarity:
    """The map from the world's coordinates to the scene's, of a `frames` store."""
    stored = store.attrs["similarity"]
    return Similarity(float(stored["scale"]), tuple(stored["centre"]))


def scene_box(store: Store) -> Tensor:
    """Lowest and highest corner of the box that the field fills: f32 (2, 3), scene units."""
    return torch.tensor(store.attrs["box"], dtype=torch.float32)


def load_photos(store: Store, frames: list[int]) -> Photos:
    """These frames of a `frames` store, in this order, on the CPU."""
    pose = torch.from_numpy(similarity(store).poses(read(store, "pose")[frames]))
    rgb = torch.from_numpy(read(store, "rgb", frames))
    intrinsics = torch.from_numpy(read(store, "intrinsics")).float()
    warped = store.attrs.get("space") == "ndc"
    ndc = Ndc.of_camera(intrinsics, *rgb.shape[1:3]) if warped else None
    return Photos(rgb, pose.float(), intrinsics, ndc)


def depth_views(frames: Store, depth: Store, which: list[int]) -> DepthViews:
    """These frames of a `frames` store, in this order, with the distances of its `depth` store."""
    return DepthViews(
        read(frames, "pose")[which],
        read(frames, "intrinsics").astype(np.float64),
        read(depth, "distance", FrameIndex(depth).slots(which)),
    )
