"""Settings of the figures of pseudo labels at each refresh."""

from __future__ import annotations

from ovnerf.config.base import Name, Positive, Strict


class DrawRefreshes(Strict):
    """Pseudo labels of training views and of novel views at each refresh of CSE
    (docs/asking.md#refreshes)."""

    variants: tuple[Name, ...] = ()
    """Variants that `all` draws, for every scene, encoder and seed; none when empty. They need
    `train_semantics.cse.enabled`, and take as long as their training once more."""
    views: Positive = 3
    """Rows of each figure, evenly spread over the refreshed training views and the novel views."""
