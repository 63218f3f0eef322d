"""Warnings of stages that ended well, for their closing lines, which `runs.csv` collects."""

from __future__ import annotations

MOST = 0.5
"""From this share of empty rays on a field is likely to be wrong, not a scene with open sky."""


def warning_entry(*warnings: str) -> dict[str, str]:
    """The entry `warning` of a closing line, from the texts that are not empty; {} without any."""
    texts = [text for text in warnings if text]
    return {"warning": "; ".join(texts)} if texts else {}


def empty_rays(share: float, rays: str) -> str:
    """A warning when so large a share of the rays named `rays` meets no matter; else nothing."""
    if share < MOST:
        return ""
    return f"{'all' if share == 1 else f'{share:.0%}'} of the {rays} meet nothing"


def views_without_regions(empty: int, views: int) -> str:
    """A warning when views have no region at all; else nothing."""
    if not empty:
        return ""
    return f"no region found in {'any' if empty == views else empty} of the {views} views"
