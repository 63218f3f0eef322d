"""A finished run, opened to be asked: `ovnerf.open_run(folder)`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ovnerf.asking.asker import Answer, Asker
from ovnerf.asking.description import FIELD, Description, open_field
from ovnerf.asking.fuse import fuse_points
from ovnerf.asking.points import Points, open_points
from ovnerf.asking.views import View, render_view
from ovnerf.compute.device import resolve_device
from ovnerf.config.phrases import Phrase, parse_phrases
from ovnerf.config.points import FusePoints
from ovnerf.config.query import Query
from ovnerf.field.semantic_field import SemanticField
from ovnerf.runtime import progress
from ovnerf.runtime.errors import UserError
from ovnerf.runtime.lock import hold_lock


@dataclass(frozen=True)
class RunFiles:
    """Where the files of a run lie, by the layout of results.

    Attributes:
        folder: of the run, `results/{dataset}/{scene}/{encoder}/{variant}/seed{n}`, or any folder
            that holds `field.safetensors` alone.
    """

    folder: Path

    @property
    def semantics(self) -> Path:
        """The folder of the trained field."""
        alone = (self.folder / FIELD).is_file()
        return self.folder if alone else self.folder / "semantics"

    @property
    def points(self) -> Path:
        """The store of its points, made or not."""
        return self.folder / "points.zarr"

    @property
    def views(self) -> Path | None:
        """The store of its rendered held-out views, where it is there."""
        path = self.folder / "views.zarr"
        return path if path.exists() else None

    @property
    def features(self) -> Path | None:
        """The features store of its encoder, where it is there."""
        return self.above(1, "features.zarr")

    @property
    def regions(self) -> Path | None:
        """The regions store of its scene, where it is there."""
        return self.above(2, "regions.zarr")

    @property
    def truth(self) -> Path | None:
        """The truth store of its scene, where it is there."""
        return self.above(2, "truth.zarr")

    @property
    def frames(self) -> Path | None:
        """The frames store of its scene, where it is there."""
        return self.above(2, "frames.zarr")

    def above(self, levels: int, name: str) -> Path | None:
        """A file so many folders above the variant's, where it is there.

        The folder is followed to where it really lies: `../seed0` and a link have other parents.
        """
        parents = self.folder.resolve().parents
        path = parents[levels] / name if len(parents) > levels else self.folder / name
        return path if path.exists() else None


def find_run(folder: Path) -> RunFiles:
    """The files of a run; UserError for a folder that holds no trained field."""
    files = RunFiles(folder)
    if not (files.semantics / FIELD).is_file():
        raise UserError(
            f"{folder}: found no trained field, expected semantics/{FIELD} in it",
            "name the folder of a run, like results/demo/room0/toy/ovnerf/seed0",
        )
    return files


class Run:
    """A trained field with its points; what is needed is loaded when it is first asked for."""

    def __init__(self, files: RunFiles, settings: Query) -> None:
        """Open the field; UserError for one that cannot be asked (`open_field`)."""
        self.files, self.settings = files, settings
        self.field: SemanticField
        self.description: Description
        self.field, self.description = open_field(files.semantics, resolve_device())

    @cached_property
    def points(self) -> Points:
        """Its points; they are made, with the default settings, where they are not there."""
        path = self.files.points
        if not path.exists():
            progress.log(f"{path}: not there yet, made now and kept (fuse_points)")
            with hold_lock(path):
                if not path.exists():
                    fuse_points(self.files.semantics, self.files.features, path, FusePoints())
        return open_points(path, self.description)

    @cached_property
    def asker(self) -> Asker:
        """Answers phrases from the points."""
        return Asker(self.description, self.points, self.settings)

    def query(self, phrase: str) -> Answer:
        """The objects that answer a phrase, in the notation of docs/asking.md#query.

        Raises:
            UserError: a phrase that the run's encoder cannot read.
        """
        return self.answers(parse_phrases([phrase], "phrase"))[0]

    def answers(self, phrases: Sequence[Phrase]) -> list[Answer]:
        """What the points say to each phrase."""
        return self.asker.answers(phrases)

    def render_frame(self, name: str) -> View:
        """The view of a frame of the run, by its name.

        Raises:
            UserError: the run has no such frame.
        """
        return self.render(self.description.pose[self.description.frame(name)])

    def render(self, pose: np.ndarray) -> View:
        """The view of a camera of the run at a pose f64 (4, 4), camera to world, OpenCV axes."""
        return render_view(self.field, self.description, np.asarray(pose, dtype=np.float64))


def open_run(folder: Path | str, settings: Query | None = None) -> Run:
    """Open the run in a folder of results; `settings` are those of its queries.

    Raises:
        UserError: no trained field is there, or one of another version.
    """
    return Run(find_run(Path(folder)), settings or Query())
