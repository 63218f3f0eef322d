"""Settings of the page that shows a trained field in a browser."""

from __future__ import annotations

from ovnerf.config.base import Name, Positive, Strict


class WritePage(Strict):
    """A page with a run's points, answers and cameras (docs/asking.md#page)."""

    variants: tuple[Name, ...] = ()
    """Variants whose page `all` writes, for every scene, encoder and seed; none when empty."""
    max_points: Positive = 300_000
    """Of more points as many are taken at random, so that a browser stays quick."""
