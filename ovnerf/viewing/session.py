"""What a viewer shows and says: runs, wishes of windows, answers. No browser is needed for it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from ovnerf.asking.asker import Answer
from ovnerf.asking.looks import Look, Picture, line_between, picture, side_by_side, what_is_here
from ovnerf.asking.report import decimals
from ovnerf.asking.run import Run
from ovnerf.asking.views import View, render_camera
from ovnerf.config.phrases import Phrase, parse_phrases
from ovnerf.config.viewing import Viewing
from ovnerf.geometry.rays import FARTHEST
from ovnerf.viewing.cameras import Viewpoint, ray_camera
from ovnerf.viewing.rendering import Cache, Renderer

FAR = 1000.0
"""Depth of what a ray never meets, in extents of the scene."""


@dataclass(frozen=True)
class Wish:
    """What a window wants to see.

    Attributes:
        viewpoint: its camera.
        look: what of the view is shown.
        run: index of the run that is shown.
        beside: index of another run that is shown right of `share` of the width; None for none.
    """

    viewpoint: Viewpoint
    look: Look
    run: int = 0
    beside: int | None = None
    share: float = 0.5


@dataclass(frozen=True)
class Shown:
    """A picture of a window.

    Attributes:
        rgb: u8 (H, W, 3).
        depth: f32 (H, W), along the optical axis, in the unit of the poses; `far` of the session
            where nothing is.
    """

    rgb: Picture
    depth: NDArray[np.float32]


@dataclass(frozen=True)
class Here:
    """What is at a point that was clicked on.

    Attributes:
        classes: the most similar class names with their cosines; empty where nothing is.
        place: f64 (3,), world.
        distance: from the camera, in the unit of the poses.
        relevancy: of the phrase, where one is asked.
    """

    classes: list[tuple[str, float]]
    place: NDArray[np.float64]
    distance: float
    relevancy: float | None


@dataclass
class Session:
    """Opened runs of one scene, and their rendered views.

    Attributes:
        names: of the runs, as a person tells them apart.
    """

    runs: Sequence[Run]
    names: Sequence[str]
    settings: Viewing
    clock: Callable[[], float] = time.monotonic
    renderers: list[Renderer] = field(init=False)

    @cached_property
    def far(self) -> float:
        """Depth of what a ray never meets, in the unit of the poses: behind all that is there."""
        run = self.runs[0]
        box, similarity = run.field.radiance.box, run.description.similarity
        # The box of a forward-facing scene is warped: what it holds may be as far as `FARTHEST`.
        extent = FARTHEST if run.description.warped else float((box[1] - box[0]).norm())
        return FAR * extent / similarity.scale

    def __post_init__(self) -> None:
        """One cache for all runs, and one ray marched at a time."""
        cache, lock = Cache(self.settings.cache_mb * 2**20), Lock()
        self.renderers = [Renderer(run, cache, lock, self.clock) for run in self.runs]

    def pictures(self, wish: Wish, outdated: Callable[[], bool]) -> Iterator[Shown]:
        """Pictures of ever higher resolution, until the finished one or until `outdated()`."""
        wanted = [wish.run] if wish.beside is None else [wish.run, wish.beside]
        side = self.settings.longest_side
        views = [self.renderers[run].views(wish.viewpoint, side, outdated) for run in wanted]
        for step in together(views):
            shown = [
                Shown(
                    picture(view, wish.look, self.runs[run].asker),
                    z_depth(view, wish.viewpoint, self.far),
                )
                for run, view in zip(wanted, step, strict=True)
            ]
            if len(shown) == 1:
                yield shown[0]
            elif shown[0].depth.shape == shown[1].depth.shape:
                left, right = shown
                yield Shown(
                    line_between(side_by_side(left.rgb, right.rgb, wish.share), wish.share),
                    side_by_side(left.depth, right.depth, wish.share),
                )

    def here(self, wish: Wish, origin: NDArray[np.float64], direction: NDArray[np.float64]) -> Here:
        """What a ray of the world meets first; one ray is marched."""
        run = self.runs[wish.run]
        camera = ray_camera(run.description, origin, direction, run.field.radiance.box.device)
        with self.renderers[wish.run].lock:
            view = render_camera(run.field, run.description, camera)
        distance = float(view.depth[0, 0])
        if view.opacity[0, 0] <= 0:
            return Here([], origin, 0.0, None)
        phrase = wish.look.phrase
        score = None
        if phrase is not None:
            score = float(run.asker.view_scores([phrase], view)[0][0, 0])
        place = origin + distance * direction / np.linalg.norm(direction)
        return Here(what_is_here(view, run.asker), place, distance, score)

    def digits(self, run: int) -> int:
        """Decimals of a coordinate of a run, fine enough for its points; two or more."""
        return decimals(100 * self.runs[run].points.voxel_size, 2)

    def answer(self, run: int, text: str) -> Answer:
        """What the points of a run say to a phrase.

        Raises:
            UserError: an empty phrase, or one that the run's encoder cannot read.
        """
        return self.runs[run].answers(parse_phrases([text], "phrase"))[0]

    def command(self, run: int, phrase: Phrase) -> str:
        """The command line that asks the same."""
        words = [str(self.runs[run].files.folder), phrase.notation]
        if any(word.startswith("-") for word in words):
            words.insert(0, "--")  # Without it they would be read as options.
        return shlex.join(["python", "-m", "ovnerf", "query", *words])


def z_depth(view: View, viewpoint: Viewpoint, far: float) -> NDArray[np.float32]:
    """Depth along the optical axis, from the distances along the rays; `far` where nothing is."""
    height, width = view.depth.shape
    focal = height / 2 / np.tan(viewpoint.fov / 2)
    x = (np.arange(width) + 0.5 - width / 2) / focal
    y = (np.arange(height) + 0.5 - height / 2) / focal
    along = view.depth / np.sqrt(1 + x**2 + y[:, None] ** 2)
    return np.where(view.opacity > 0, along, far).astype(np.float32)


def together(views: Sequence[Iterator[View]]) -> Iterator[list[View]]:
    """Views of several runs side by side; a run whose view is finished repeats it.

    Ends when all have ended, or when one was given up before its first.
    """
    last: dict[int, View] = {}
    while True:
        new = {index: view for index, one in enumerate(views) if (view := next(one, None))}
        last |= new
        if not new or len(last) < len(views):
            return
        yield [last[index] for index in range(len(views))]
