"""Settings of the figures that compare where CLIP, RSR and the field see a phrase."""

from __future__ import annotations

from ovnerf.config.base import Name, Positive, Strict


class DrawQuery(Strict):
    """Maps of phrases from CLIP, from CLIP's mean over regions, and from the field
    (docs/asking.md#maps)."""

    phrases: tuple[str, ...] = ()
    """What `all` draws, in the notation of docs/asking.md."""
    variants: tuple[Name, ...] = ()
    """Variants that `all` draws, for every scene, encoder and seed; none when empty."""
    views: Positive = 4
    """Rows of a figure: views that have features and regions, evenly spread."""
