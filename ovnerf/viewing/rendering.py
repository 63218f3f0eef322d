"""Views from coarse to fine; given up when something newer is wanted, kept to be asked again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from threading import Lock

import numpy as np

from ovnerf.asking.run import Run
from ovnerf.asking.views import View, render_camera
from ovnerf.viewing.cameras import Viewpoint, bands

SHRINKS = (8, 4, 2, 1)
"""Steps of a picture: its side is the finished one's divided by each."""
FIRST_SECONDS = 0.3
"""The first step should take no longer, by the rays a second seen so far."""


def steps(longest_side: int, aspect: float, rays_per_second: float) -> list[int]:
    """Longest sides of the pictures that lead to the finished one, ascending.

    They begin with the largest that takes at most `FIRST_SECONDS`, or the smallest there is.
    """
    short = min(aspect, 1 / aspect)
    sides = [max(1, longest_side // shrink) for shrink in SHRINKS]
    quick = [
        index
        for index, side in enumerate(sides)
        if side**2 * short <= rays_per_second * FIRST_SECONDS
    ]
    return sides[max(quick, default=0) :]


def join(parts: list[View]) -> View:
    """One view of the parts below each other."""
    return View(
        *(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(View))
    )


def nbytes(view: View) -> int:
    """Bytes of a view's arrays."""
    return sum(getattr(view, one.name).nbytes for one in fields(View))


@dataclass
class Cache:
    """Rendered views by key, the latest used ones within a limit of bytes."""

    limit: int
    kept: OrderedDict[object, View] = field(default_factory=OrderedDict)
    size: int = 0

    def get(self, key: object) -> View | None:
        """The view of a key, which counts as used now."""
        view = self.kept.get(key)
        if view is not None:
            self.kept.move_to_end(key)
        return view

    def put(self, key: object, view: View) -> None:
        """Keep a view, which counts as used now; those used longest ago go until all fit."""
        if (before := self.kept.pop(key, None)) is not None:
            self.size -= nbytes(before)
        self.size += nbytes(view)
        self.kept[key] = view
        while self.size > self.limit:
            _, old = self.kept.popitem(last=False)
            self.size -= nbytes(old)


@dataclass
class Renderer:
    """Renders viewpoints of a run.

    Attributes:
        run: an opened run.
        cache: finished views.
        lock: held while rays are marched.
        clock: seconds that pass, to measure `rays_per_second`.
    """

    run: Run
    cache: Cache
    lock: Lock
    clock: Callable[[], float]
    rays_per_second: float = 2e4

    def views(
        self, viewpoint: Viewpoint, longest_side: int, outdated: Callable[[], bool]
    ) -> Iterator[View]:
        """Views of ever higher resolution; the last one is finished and is kept.

        A finished view that is still kept comes at once and alone. The views end as soon as
        `outdated()` is true, which is asked between any two parts.
        """
        key = (id(self.run), viewpoint.key(), longest_side)
        if (known := self.cache.get(key)) is not None:
            yield known
            return
        for side in steps(longest_side, viewpoint.aspect, self.rays_per_second):
            view = self.render(viewpoint, side, outdated)
            if view is None:
                return
            if side == longest_side:
                self.cache.put(key, view)
            yield view

    def render(
        self, viewpoint: Viewpoint, longest_side: int, outdated: Callable[[], bool]
    ) -> View | None:
        """One view; None when it was given up."""
        field, description = self.run.field, self.run.description
        begin, parts = self.clock(), []
        for camera in bands(description, viewpoint, longest_side, field.radiance.box.device):
            if outdated():
                return None
            with self.lock:
                parts.append(render_camera(field, description, camera))
        view = join(parts)
        self.rays_per_second = view.opacity.size / max(self.clock() - begin, 1e-6)
        return view
