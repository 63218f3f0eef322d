"""Between a scene's world, in the unit of its poses, and the units that its field lives in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from jaxtyping import Float, Float64


@dataclass(frozen=True)
class Similarity:
    """World (unit of the poses) -> scene (the field's units): scene = scale * (world - centre)."""

    scale: float
    centre: tuple[float, float, float]

    def poses(self, pose: NDArray[np.float64]) -> NDArray[np.float64]:
        """Camera-to-world (n, 4, 4) -> camera-to-scene; rotations stay orthonormal."""
        moved = pose.copy()
        moved[:, :3, 3] = self.scale * (pose[:, :3, 3] - np.array(self.centre))
        return moved

    def world(self, scene: Float[np.ndarray, "*n 3"]) -> Float64[np.ndarray, "*n 3"]:
        """World points of scene points."""
        return scene.astype(np.float64) / self.scale + np.array(self.centre)
