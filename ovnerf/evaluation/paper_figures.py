"""Which runs stand side by side in the paper's figures of held-out views."""

from __future__ import annotations

from collections.abc import Sequence

Run = tuple[str, str]
"""Encoder and variant."""
FIGURES: dict[str, tuple[Run, ...]] = {
    "systems": (
        *(("clip", name) for name in ("lerf", "3dovs", "ovnerf")),
        *(("openclip", name) for name in ("lerf", "3dovs", "ovnerf")),
        *(("lseg", name) for name in ("dff", "ovnerf")),
        *(("fcclip", name) for name in ("fcclip", "ovnerf")),
    ),
    "parts": tuple(("clip", name) for name in ("baseline", "rsr", "ovnerf")),
    "novel_views": tuple(("clip", name) for name in ("no_novel", "ovnerf")),
}
"""Figures 5 to 7 of the paper (systems), 8 (parts of the method) and 9 (novel views)."""
FEWEST = 2
"""Runs of a figure; one stands beside nothing."""


def figures_of(runs: Sequence[Run], encoders: dict[str, str]) -> dict[str, tuple[Run, ...]]:
    """The figures that some runs of a scene can fill, with the runs of each, in the paper's order.

    Args:
        runs: those of the scene.
        encoders: the paper's encoder -> the one that stands in for it; others stand for themselves.
    """
    wanted = {
        name: tuple((encoders.get(encoder, encoder), variant) for encoder, variant in members)
        for name, members in FIGURES.items()
    }
    there = {name: tuple(run for run in members if run in runs) for name, members in wanted.items()}
    return {name: members for name, members in there.items() if len(members) >= FEWEST}
