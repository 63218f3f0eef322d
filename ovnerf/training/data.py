"""Stores as tensors: what training and rendering read from `frames.zarr`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ovnerf.geometry.camera import Camera
from ovnerf.geometry.rays import Ndc, pixel_rays
from ovnerf.geometry.similarity import Similarity
from ovnerf.storage.stores import Store, read


@dataclass(frozen=True)
class Photos:
    """Frames: rgb u8 (n, H, W, 3), pose f32 (n, 4, 4) camera-to-scene, intrinsics f32 (3, 3).

    `ndc` is the warp of a forward-facing scene; rays come out warped.
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

    def rays(self, frame: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        """Origins and unit directions of pixels, (b, 3) each."""
        return pixel_rays(self.pose[frame], self.intrinsics, column, row, self.ndc)

    def colours(self, frame: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Colours in [0, 1] of pixels, (b, 3)."""
        return self.rgb[frame, row, column].float() / 255

    def camera(self, frame: int) -> Camera:
        """One frame's camera."""
        return Camera(self.pose[frame], self.intrinsics, *self.size, self.ndc)

    def to(self, device: torch.device) -> Photos:
        """The same on another device."""
        tensors = (part.to(device) for part in (self.rgb, self.pose, self.intrinsics))
        return Photos(*tensors, self.ndc)


def similarity(store: Store) -> Similarity:
    """World -> scene."""
    stored = store.attrs["similarity"]
    return Similarity(float(stored["scale"]), tuple(stored["centre"]))


def scene_box(store: Store) -> Tensor:
    """Box (2, 3) in scene units."""
    return torch.tensor(store.attrs["box"], dtype=torch.float32)


def load_photos(store: Store, frames: list[int]) -> Photos:
    """The given frames, in the given order."""
    pose = torch.from_numpy(similarity(store).poses(read(store, "pose")[frames]))
    rgb = torch.from_numpy(read(store, "rgb", frames))
    intrinsics = torch.from_numpy(read(store, "intrinsics")).float()
    warped = store.attrs.get("space") == "ndc"
    ndc = Ndc.of_camera(intrinsics, *rgb.shape[1:3]) if warped else None
    return Photos(rgb, pose.float(), intrinsics, ndc)
