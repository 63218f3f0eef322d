"""What every source of regions gives for an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Proposals:
    """Regions of one image, in the order in which RSR paints them (docs/method.md#rsr)."""

    masks: np.ndarray
    """bool (m, H, W)."""
    score: np.ndarray
    """f32 (m,), the IoU that SAM predicts; 1 for regions that no network made."""
    area: np.ndarray
    """i32 (m,), pixels."""

    @classmethod
    def unscored(cls, masks: np.ndarray) -> Proposals:
        """Regions bool (m, H, W) that no network made, in this order."""
        return cls(masks, np.ones(len(masks), np.float32), masks.sum((1, 2)).astype(np.int32))
