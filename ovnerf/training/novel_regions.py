"""Regions of rendered novel views, by what made the photos' regions."""

from __future__ import annotations

from functools import cache

from ovnerf.config.regions import ProposeRegions
from ovnerf.regions.sam import RegionProposer
from ovnerf.regions.superpixels import propose_superpixels
from ovnerf.storage.made_with import require_weights
from ovnerf.storage.stores import Store
from ovnerf.storage.weight_loading import find_file
from ovnerf.training.pseudo_labels import Proposer


def novel_view_proposer(regions: Store, settings: ProposeRegions) -> Proposer:
    """Region proposals for novel renders, by what made the photos' regions.

    SAM is loaded at the first render. Where the photos' regions were cut from ground truth, no
    weight file was used for them, so none is compared.

    Raises:
        UserError: the weight file is another one than `regions` was made with.
    """
    if settings.architecture == "superpixels":
        return lambda image: propose_superpixels(image, settings.superpixels).masks
    if "weights" in regions.attrs:
        require_weights(regions, find_file(settings.weights, "propose_regions.weights"))
    return lazy_proposer(settings)


def lazy_proposer(settings: ProposeRegions) -> Proposer:
    """Region proposals for novel renders; SAM is loaded at the first one."""

    @cache
    def proposer() -> RegionProposer:
        weights = find_file(settings.weights, "propose_regions.weights")
        return RegionProposer.load(settings, weights)

    return lambda image: proposer().propose(image).masks
