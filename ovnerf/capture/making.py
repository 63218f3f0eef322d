"""The steps from a source to a scene folder; each is kept, so that a stopped capture goes on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pycolmap

from ovnerf.capture.choosing import choose
from ovnerf.capture.colmap import colmap_name, quiet
from ovnerf.capture.mapping import (
    map_photos,
    match_graph,
    median_angle,
    refine,
    registered_names,
)
from ovnerf.capture.matching import add_features, add_matches, add_photos, read_descriptors
from ovnerf.capture.model import place_in_world, rescale
from ovnerf.capture.pairs import chosen_pairs
from ovnerf.capture.picture import draw
from ovnerf.capture.report import (
    Report,
    model_part,
    selection_part,
    text,
    upright_part,
    write_report,
)
from ovnerf.capture.shots import look_at, write_shots
from ovnerf.capture.sources import is_video, source_files
from ovnerf.capture.verdict import Found, judge
from ovnerf.config.capture import Capture
from ovnerf.runtime.errors import UserError
from ovnerf.storage.atomic import atomic_file, atomic_folder, files_in
from ovnerf.storage.provenance import digest, file_digest

MADE = ("images", "sparse", "report.json", "report.txt", "report.png")
"""What a capture puts into the scene folder; other files and folders there are kept."""


@dataclass(frozen=True)
class Work:
    """The folder beside the result where unfinished work is kept."""

    folder: Path

    @property
    def images(self) -> Path:
        """Folder of the photos that are kept, under the names that COLMAP can read."""
        return self.folder / "images"

    def photos(self, names: Sequence[str]) -> dict[str, Path]:
        """The file of each photo that is kept, by its name."""
        return {name: self.images / colmap_name(name) for name in names}

    @property
    def selection(self) -> Path:
        """What was kept and dropped, once it is known."""
        return self.folder / "selection.json"

    @property
    def database(self) -> Path:
        """COLMAP's database."""
        return self.folder / "database.db"

    @property
    def models(self) -> Path:
        """Folder of COLMAP's models."""
        return self.folder / "models"


def refuse_places(source: Path, out: Path) -> None:
    """UserError where the result would replace what is no capture's."""
    there, wanted = source.resolve(), out.resolve()
    if wanted == there or wanted in there.parents or there in wanted.parents:
        raise UserError(
            f"{out}: found the result's folder inside the source's or around it, expected it apart",
            "name another folder",
        )
    if out.exists() and not finished(out):
        if out.is_dir() and not any(out.iterdir()):
            return
        raise UserError(
            f"{out}: found something that is no capture, expected nothing there",
            "name another folder; it would be replaced",
        )


def origin(source: Path, settings: Capture) -> str:
    """Identifies a capture's files and settings, but for its scale."""
    described = settings.model_dump(mode="json", exclude={"distance"})
    files = {path.name: file_digest(path) for path in source_files(source)}
    return digest({"settings": described, "files": files})


def make(source: Path, out: Path, settings: Capture) -> Report:
    """Make the scene folder `out`; returns the report.

    Raises:
        UserError: the capture is no good; nothing is left of it then.
        Stopped: the stage was asked to end; what is done is kept beside `out`.
    """
    quiet()
    refuse_places(source, out)
    made_from = origin(source, settings)
    if finished(out) == made_from:
        return scaled_again(out, settings)
    work = Work(out.with_name(f".{out.name}.work"))
    try:
        prepare(work, made_from)
        selection = select(source, work, settings)
        model = reconstruct(source, work, selection, settings)
        upright = place_in_world(model, settings.distance)
    except UserError:
        shutil.rmtree(work.folder, ignore_errors=True)
        raise
    names = selection["names"]
    report = {
        "source": source.name,
        "made_from": made_from,
        "settings": settings.model_dump(mode="json"),
        **selection["report"],
        **model_part(model, names, settings.distance is not None),
        "upright": upright_part(upright),
    }
    write_scene(out, work.photos(names), model, report)
    shutil.rmtree(work.folder)
    return report


def finished(out: Path) -> str:
    """What the capture at `out` was made from; empty where there is none."""
    try:
        return str(json.loads((out / "report.json").read_text(encoding="utf-8"))["made_from"])
    except (OSError, ValueError, KeyError, TypeError):  # TypeError: another program's list
        return ""


def scaled_again(out: Path, settings: Capture) -> Report:
    """The report of a finished capture, whose scale is made that of the settings."""
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    if report["settings"] == settings.model_dump(mode="json"):
        return report
    model = pycolmap.Reconstruction(out / "sparse/0")
    rescale(model, settings.distance)
    names = [*registered_names(model), *report["unregistered_photos"]]
    report |= model_part(model, names, settings.distance is not None)
    report["settings"] = settings.model_dump(mode="json")
    photos = {name: out / "images" / name for name in registered_names(model)}
    write_scene(out, photos, model, report)
    return report


def prepare(work: Work, made_from: str) -> None:
    """An empty folder to work in, or the one that an earlier process of this capture left."""
    note = work.folder / "made_from.txt"
    if note.is_file() and note.read_text(encoding="utf-8") == made_from:
        return
    shutil.rmtree(work.folder, ignore_errors=True)
    work.folder.mkdir(parents=True)
    note.write_text(made_from, encoding="utf-8")


def select(source: Path, work: Work, settings: Capture) -> Report:
    """Names of the photos that are kept, their focal length, and what the report says of them."""
    if work.selection.is_file():
        return json.loads(work.selection.read_text(encoding="utf-8"))
    choice = choose(str(source), look_at(source, settings.frames), settings)
    shutil.rmtree(work.images, ignore_errors=True)
    work.images.mkdir()
    written = [replace(shot, name=colmap_name(shot.name)) for shot in choice.shots]
    write_shots(source, written, work.images, settings.longest_side)
    names = [shot.name for shot in choice.shots]
    found = {
        "names": names,
        "focal": choice.focal,
        "report": selection_part(names, choice.counts(), choice.dropped),
    }
    with atomic_file(work.selection) as temporary:
        temporary.write_text(json.dumps(found), encoding="utf-8")
    return found


def reconstruct(
    source: Path, work: Work, selection: Report, settings: Capture
) -> pycolmap.Reconstruction:
    """The best model of the photos that are kept; UserError where it is not good enough."""
    names = selection["names"]
    listed = [path.name for path in work.photos(names).values()]
    add_photos(work.database, work.images, listed, selection["focal"], settings)
    add_features(work.database, work.images, settings)
    pairs = chosen_pairs(read_descriptors(work.database), is_video(source), settings)
    add_matches(work.database, pairs, settings.seed)
    graph = match_graph(work.database)
    models = map_photos(work.database, work.images, work.models, settings)
    registered = [registered_names(model) for model in models] or [[]]
    others = [sorted(set(each) - set(registered[0])) for each in registered[1:]]
    angle = median_angle(models[0]) if models else 0.0
    found = Found(len(names), registered[0], others, angle)
    judge(str(source), graph, found, settings.min_registered)
    refine(models[0])
    return models[0]


def write_scene(
    out: Path, photos: Mapping[str, Path], model: pycolmap.Reconstruction, report: Report
) -> None:
    """Write the scene folder, which appears when it is complete.

    Args:
        photos: the file of each photo, by its name in the scene.
    """
    # `refuse_places` has seen that a capture is there or nothing; other files of it are kept below.
    with atomic_folder(out, lambda there: () if finished(there) else files_in(there)) as folder:
        (folder / "images").mkdir()
        for name in registered_names(model):
            link_or_copy(photos[name], folder / "images" / name)
        (folder / "sparse/0").mkdir(parents=True)
        model.write(folder / "sparse/0")
        write_report(folder, report)
        figure = draw(model, folder / "images", text(report)[0])
        figure.savefig(folder / "report.png", dpi=80)
        for path in out.iterdir() if out.is_dir() else ():
            if path.name not in MADE:
                keep(path, folder / path.name)


def link_or_copy(path: Path, place: Path) -> None:
    """A second name for a file; a copy of it on file systems without such links (exFAT, SMB)."""
    try:
        os.link(path, place)
    except OSError:
        shutil.copy2(path, place)


def keep(path: Path, place: Path) -> None:
    """Copy a person's own file or folder; links stay links, wherever they lead."""
    if path.is_dir() and not path.is_symlink():
        shutil.copytree(path, place, symlinks=True)
    else:
        shutil.copy2(path, place, follow_symlinks=False)
