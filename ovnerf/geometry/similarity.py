"""Between a scene's world, in metres, and the units that its field lives in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Similarity:
    """World (metres) -> scene (the field's units): scene = scale * (world - centre)."""

    scale: float
    centre: tuple[float, float, float]

    def poses(self, pose: NDArray[np.float64]) -> NDArray[np.float64]:
        """Camera-to-world (n, 4, 4) in metres -> camera-to-scene; rotations stay orthonormal."""
        moved = pose.copy()
        moved[:, :3, 3] = self.scale * (pose[:, :3, 3] - np.array(self.centre))
        return moved
