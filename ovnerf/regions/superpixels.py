"""Regions without weights: superpixels of an image at several scales (docs/method.md#regions)."""

from __future__ import annotations

import numpy as np

from ovnerf.config.regions import Superpixels
from ovnerf.regions.proposals import Proposals

SNAP = Superpixels(scales=(50.0,), sigma=0.5, min_share=0.001)
"""Small enough that almost none reaches beyond an object (docs/method.md#snapping)."""


def superpixel_map(image: np.ndarray, scale: float, settings: Superpixels) -> np.ndarray:
    """The superpixel of each pixel: i64 (H, W), numbered from 0 without gaps.

    The graph-based segmentation of Felzenszwalb and Huttenlocher (IJCV 2004): two neighbouring
    superpixels become one while the step of colour between them is small beside the steps inside
    them. It draws nothing at random.

    Args:
        image: RGB u8 (H, W, 3).
        scale: how readily they join; larger gives larger superpixels.
    """
    from skimage.segmentation import felzenszwalb

    smallest = max(1, round(settings.min_share * image.shape[0] * image.shape[1]))
    found = felzenszwalb(image, scale=scale, sigma=settings.sigma, min_size=smallest)
    return np.unique(found, return_inverse=True)[1].reshape(found.shape)


def snapping_parts(image: np.ndarray) -> np.ndarray:
    """The small superpixels i64 (H, W) of an RGB image u8 that `rank_regions.snap` snaps to."""
    return superpixel_map(image, SNAP.scales[0], SNAP)


def propose_superpixels(image: np.ndarray, settings: Superpixels) -> Proposals:
    """Superpixels of an RGB image u8 (H, W, 3) as regions, scale after scale, in their order.

    Those of one scale cover the image without overlap. Where RSR lets the last region win, that is
    the last scale; the others count where all covering regions vote (docs/method.md#fused-labels).
    """
    masks = []
    for scale in settings.scales:
        number = superpixel_map(image, scale, settings)
        masks += [number == index for index in range(int(number.max()) + 1)]
    return Proposals.unscored(np.array(masks))
