"""Objects that a trained field finds in toy rooms, against those that stand there.

    python -m benchmarks.objects results/demo/room0/toy/ovnerf/seed0 results/demo/room1/...

Every class of things in the room is asked for by its name. A found object is right where its box
(axis-aligned) and that of a thing of this class overlap by an IoU of 0.25; the surest choose first,
and a thing is found once. The walls, the floor and the ceiling are no things. Boxes of things are
whole, though no camera sees their backs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from ovnerf.asking.run import Run, open_run
from ovnerf.config.query import Query
from ovnerf.toy.rooms import Room, build_room

LEAST_IOU = 0.25
NO_THINGS = ("wall", "floor", "ceiling")


@dataclass(frozen=True, eq=False)
class Box:
    """An axis-aligned box: corners f64 (3,), world. Equal to itself alone."""

    low: np.ndarray
    high: np.ndarray

    @property
    def centre(self) -> np.ndarray:
        """Its middle."""
        return (self.low + self.high) / 2

    def iou(self, other: Box) -> float:
        """Volume of both over that of either."""
        sides = np.minimum(self.high, other.high) - np.maximum(self.low, other.low)
        both = float(np.prod(sides.clip(0)))
        return both / float(np.prod(self.high - self.low) + np.prod(other.high - other.low) - both)


@dataclass
class Found:
    """Counts of things, of found objects and of right ones, and how far centres are off, metres."""

    things: int = 0
    objects: int = 0
    right: int = 0
    off: tuple[float, ...] = ()
    """Of every found object, from the nearest centre of a thing of its class."""
    off_right: tuple[float, ...] = ()

    def __add__(self, other: Found) -> Found:
        return Found(
            self.things + other.things,
            self.objects + other.objects,
            self.right + other.right,
            self.off + other.off,
            self.off_right + other.off_right,
        )


def things(room: Room) -> dict[str, list[Box]]:
    """The boxes of a room's things by class."""
    found: dict[str, list[Box]] = {}
    for item in room.objects:
        if item.name in NO_THINGS:
            continue
        corners = np.concatenate([part.mesh.vertices for part in item.parts])
        placed = corners @ item.rotation.T + np.asarray(item.position)
        found.setdefault(item.name, []).append(Box(placed.min(0), placed.max(0)))
    return found


def compare(found: Sequence[Box], true: Sequence[Box]) -> Found:
    """Found objects of one class, the surest first, against its things."""
    left = list(true)
    off_right = []
    for one in found:
        best = max(left, key=one.iou, default=None)
        if best is not None and one.iou(best) >= LEAST_IOU:
            off_right.append(float(np.linalg.norm(one.centre - best.centre)))
            left.remove(best)
    off = [min(float(np.linalg.norm(one.centre - box.centre)) for box in true) for one in found]
    return Found(len(true), len(found), len(off_right), tuple(off), tuple(off_right))


def score(run: Run, room: Room, against: str) -> Found:
    """All classes of a room's things, asked for one by one.

    Args:
        against: `usual` negatives, or the other `classes` of the run.
    """
    total = Found()
    for name, true in things(room).items():
        others = ", ".join(other for other in run.description.classes if other != name)
        answer = run.query(f"{name} | {others}" if against == "classes" else name)
        total += compare([Box(one.low, one.high) for one in answer.instances], true)
    return total


def line(name: str, how: str, found: Found) -> str:
    """A row of the table."""
    cells = (
        *(name, how, found.things, found.objects),
        *(share(found.right, found.things), share(found.right, found.objects)),
        *(middle(found.off_right), middle(found.off)),
    )
    return f"| {' | '.join(map(str, cells))} |"


def share(part: int, whole: int) -> str:
    """A percentage; `-` of nothing."""
    return f"{100 * part / whole:.0f} %" if whole else "-"


def middle(values: Sequence[float]) -> str:
    """A median in centimetres; `-` of nothing."""
    return f"{100 * float(np.median(values)):.0f} cm" if values else "-"


def room_of(run: Path) -> Room:
    """The toy room of a run in the layout of results, from its scene's `room.json`."""
    manifest = run.absolute().parents[2] / "room/room.json"
    return build_room(json.loads(manifest.read_text(encoding="utf-8"))["settings"]["seed"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.objects", description=__doc__)
    parser.add_argument("run", type=Path, nargs="+", help="folder of a run of a toy room")
    parser.add_argument("--min-points", type=int, nargs="+", default=[Query().min_points])
    arguments = parser.parse_args()
    head = ("run", "least points, negatives", "things", "found", "recall", "precision")
    print(f"| {' | '.join([*head, 'off, right ones', 'off, all'])} |\n|{'---|' * 8}")
    for folder, least in product(arguments.run, arguments.min_points):
        run, room = open_run(folder, Query(min_points=least)), room_of(folder)
        for against in ("usual", "classes"):
            name = "/".join(folder.absolute().parts[-5:])
            print(line(name, f"{least}, {against}", score(run, room, against)), flush=True)


if __name__ == "__main__":
    main()
