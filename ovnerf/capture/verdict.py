"""Whether a reconstruction may be used; where not, what the person should film again."""

from __future__ import annotations

from dataclasses import dataclass

from ovnerf.capture.mapping import Graph
from ovnerf.runtime.errors import UserError

FLAT_SHARE = 0.9
"""From this share of pairs without depth on, the camera only turned or saw one plane."""
LEAST_ANGLE = 1.5
"""Degrees between the rays to a point (median) below which depth is noise."""
OTHER_GROUP = 0.2
"""A second group of at least this share of the photos is a part of the room of its own."""
LEAST = 3
"""Photos of such a group, at least."""


@dataclass(frozen=True)
class Found:
    """What COLMAP found.

    Attributes:
        photos: how many photos there were.
        registered: names of those that have a pose in the largest model.
        others: names of those that have one in each other model and not in the largest.
        angle: see `mapping.median_angle`, of the largest model.
    """

    photos: int
    registered: list[str]
    others: list[list[str]]
    angle: float


def judge(source: str, graph: Graph, found: Found, min_registered: float) -> None:
    """UserError with one message where the capture is no good.

    Args:
        source: how messages call the capture.
        min_registered: least share of the photos that must have a pose.
    """
    enough = len(found.registered) >= min_registered * found.photos
    counted = f"{len(found.registered)} of {found.photos} photos"
    if not enough and graph.links and graph.flat >= FLAT_SHARE:
        raise UserError(
            f"{source}: {100 * graph.flat:.0f} % of the pairs of photos show no depth: the camera "
            "turned on the spot, or looked at one flat surface; found places for "
            f"{counted}",
            "film again and walk sideways while you look at things, one step a second or slower",
        )
    parts = apart(graph, found)
    if parts and not enough:
        names = " and ".join(f"{part[0]} to {part[-1]} ({len(part)})" for part in parts)
        raise UserError(
            f"{source}: the photos fall into {len(parts)} parts that could not be joined: {names}",
            "film the way between them, too, slowly and looking ahead; or make two scenes of them",
        )
    if not enough:
        raise UserError(
            f"{source}: found places for {counted}, expected at least {100 * min_registered:.0f} %",
            "film more slowly, with more overlap (every thing in three photos at least), no "
            "moving people, no bare walls or mirrors that fill the view",
        )
    if found.angle < LEAST_ANGLE:
        raise UserError(
            f"{source}: points are seen under {found.angle:.1f} degrees (median), expected "
            f"{LEAST_ANGLE:g} or more: the camera hardly moved from its place",
            "film again and walk sideways, at least a step, while you look at the same things",
        )


def apart(graph: Graph, found: Found) -> list[list[str]]:
    """The parts of the capture that are not tied to each other; none where there is one only."""
    least = max(LEAST, OTHER_GROUP * found.photos)
    for groups in (graph.groups, [found.registered, *found.others]):
        parts = [sorted(group) for group in groups if len(group) >= least]
        if len(parts) > 1:
            return sorted(parts)
    return []
