"""What a config asks for, checked as a whole: the Snakefile and `python -m ovnerf check` ask here.

Whatever is refused or warned of here is so in both. Imports only the standard library, pydantic and
PyYAML, because Snakemake may be installed alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import Any

from ovnerf.capture.sources import source_files
from ovnerf.config.features import (
    CacheFeatures,
    DenseClip,
    LSeg,
    OpenClip,
    Precomputed,
)
from ovnerf.config.run import (
    Config,
    Scene,
    cache_features_settings,
    read_config,
    read_scenes,
    scene_settings,
    variant_settings,
)
from ovnerf.config.semantics import TrainSemantics
from ovnerf.config.views import RenderViews
from ovnerf.inspection.misuse import (
    absent_stand_ins,
    refuse_meaningless,
    refuse_misuse,
    refuse_unknown_places,
    refuse_unmarked_truth,
)
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.layouts import LAYOUTS, find_class_list, list_scene
from ovnerf.storage.provenance import REPOSITORY_ROOT, shipped_file
from ovnerf.storage.weight_sources import SAFE_PATH, Weight, read_table

Key = tuple[str, str]
"""Dataset and scene."""
Run = tuple[str, str, str, str]
"""Dataset, scene, encoder and variant."""
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class SceneFiles:
    """The files that a scene is read from, as paths from the working directory.

    Attributes:
        folder: of the scene.
        images: what `sample_frames` reads.
        labels: what `read_truth` reads; apart, so that editing a label file retrains nothing.
        labelled: whether the scene has ground truth.
        frames: how many frames are used; None where the folder is not there yet.
        class_file: what says which classes there are; empty where nothing does.
        sources: what `capture` reads.
    """

    folder: str
    images: tuple[str, ...]
    labels: tuple[str, ...]
    labelled: bool
    frames: int | None = None
    class_file: str = ""
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A config that was found good, with all that it names.

    Attributes:
        config: the settings; `results` without needless dots and slashes.
        scenes: rows of the scene sheet.
        files: the files of each scene.
        encoders: settings of `cache_features` by encoder.
        variants: settings of `train_semantics` and `render_views` by variant.
        runs: what is trained for each seed, scene by scene, in the order of sheet and config.
        weights: rows of the table of weights, by file.
        warnings: what a person should know although it stops nothing.
    """

    config: Config
    scenes: Mapping[Key, Scene]
    files: Mapping[Key, SceneFiles]
    encoders: Mapping[str, CacheFeatures]
    variants: Mapping[str, tuple[TrainSemantics, RenderViews]]
    runs: tuple[Run, ...]
    weights: Mapping[str, Weight]
    warnings: tuple[str, ...]

    @property
    def encoded(self) -> tuple[tuple[str, str, str], ...]:
        """(dataset, scene, encoder) of the runs, each once."""
        return tuple(dict.fromkeys(run[:3] for run in self.runs))

    def variants_of(self, dataset: str, scene: str, encoder: str) -> tuple[str, ...]:
        """Variants that are trained on these features, in the order of the config."""
        return tuple(run[3] for run in self.runs if run[:3] == (dataset, scene, encoder))


def shipped(name: str) -> str:
    """A file that a config names: in the working directory, else of those that come with ovnerf."""
    inside = shipped_file(name)
    return name if Path(name).exists() or inside is None else os.path.relpath(inside)


def make_plan(data: Any, where: str = "config") -> Plan:
    """The plan of a config as YAML or JSON gave it; opens no image and no weight file.

    Args:
        where: how messages call the config.

    Raises:
        UserError: the first thing that no run could use.
    """
    try:
        return validated(data, where)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}", f"{where} names it") from None


def validated(data: Any, where: str) -> Plan:
    """See `make_plan`; names that the file system refuses are an OSError."""
    config = read_config(data, where)
    config = config.model_copy(update={"results": results_folder(config.results, where)})
    refuse_braces([str(REPOSITORY_ROOT)])
    scenes = {(row.dataset, row.scene): row for row in read_scenes(shipped(config.scenes))}
    encoders = {
        name: cache_features_settings(config, shipped(f"config/encoders/{name}.yaml"))
        for name in config.encoders
    }
    variants = {
        name: variant_settings(config, shipped(f"config/variants/{name}.yaml"))
        for name in config.variants
    }
    runs = planned_runs(config, scenes, where)
    refuse_equal_logs(runs)
    refuse_unknown_places(config.paper_tables)
    files = {key: scene_files(config, row) for key, row in scenes.items()}
    encoded = dict.fromkeys((name, (dataset, scene)) for dataset, scene, name, _ in runs)
    for name, key in encoded:
        kind = encoders[name].encoder.kind  # type: ignore[union-attr]
        refuse_misuse(name, kind, key, files[key].labelled)
        refuse_unmarked_truth(config.propose_regions.architecture, name, key, files[key].labelled)
    for name, variant in dict.fromkeys(run[2:] for run in runs):
        refuse_meaningless(name, encoders[name].encoder, variant, variants[variant][0])
    weights = read_table(Path(shipped(config.weights_table)))
    named = dict(named_files(config, encoders))
    refuse_unknown_files(named, weights, config.weights_table)
    refuse_absent_folder(config.weights_dir)
    folders = [
        folder_of_maps(encoder, key)
        for name, key in encoded
        if isinstance(encoder := encoders[name].encoder, Precomputed)
    ]
    maps = {folder: files_of_maps(folder) for folder in folders}
    for found in files.values():
        refuse_braces([found.folder, *found.images, *found.labels, *found.sources])
    refuse_braces([*named.values(), *chain(*maps.values()), *maps])
    said = list(warnings(scenes, files, maps, named, weights, config.weights_dir))
    if config.paper_tables.write:
        said += absent_stand_ins(config.paper_tables, scenes, config.encoders)
    return Plan(config, scenes, files, encoders, variants, runs, weights, tuple(said))


def planned_runs(config: Config, scenes: Iterable[Key], where: str) -> tuple[Run, ...]:
    """Every run of the config once, in the order of the sheet, then of encoders and variants.

    Raises:
        UserError: a group names a dataset or scene that the sheet does not have.
    """
    keys = list(scenes)
    known = {
        "datasets": {dataset for dataset, _ in keys},
        "scenes": {"/".join(key) for key in keys},
    }
    for number, group in enumerate(config.runs):
        for kind, names in known.items():
            unknown = [name for name in getattr(group, kind) if name not in names]
            if unknown:
                raise UserError(
                    f"{where}: runs.{number}.{kind}: {unknown[0]} is not in {config.scenes}",
                    f"it has {', '.join(sorted(names)[:8])}",
                )
    every = product(keys, config.encoders, config.variants)
    runs = [(*key, encoder, variant) for key, encoder, variant in every]
    groups = config.runs
    return tuple(run for run in runs if not groups or any(one.covers(*run) for one in groups))


def results_folder(name: str, where: str) -> str:
    """`results` in its shortest form.

    Raises:
        UserError: characters that a shell or Snakemake would take for something else, the working
            directory itself, or a file.
    """
    if not re.fullmatch(SAFE_PATH, name):
        raise UserError(
            f"{where}: results: found {name!r}",
            "commands are made of it: use letters, digits and ._-/ only",
        )
    short = os.path.normpath(name)
    if short in (".", "/"):
        raise UserError(
            f"{where}: results: found {name!r}, expected a folder of its own",
            "name one, for example `results`",
        )
    if Path(short).exists() and not Path(short).is_dir():
        raise UserError(f"{where}: results: {name} is a file, expected a folder", "name another")
    return short


def refuse_braces(paths: Iterable[str]) -> None:
    """UserError for the first path that Snakemake would take for a pattern."""
    for path in paths:
        if "{" in path or "}" in path:
            raise UserError(
                f"{path}: found a brace in a path, expected none",
                "Snakemake fills in what stands between braces; rename the file or folder",
            )


def refuse_equal_logs(runs: Iterable[Run]) -> None:
    """UserError where two jobs would write one log, whose name joins names by dots."""
    for depth in (2, 3, 4):
        seen: dict[str, str] = {}
        for run in runs:
            log, path = ".".join(run[:depth]), "/".join(run[:depth])
            if seen.setdefault(log, path) != path:
                raise UserError(
                    f"{seen[log]} and {path}: found the name {log} for the logs of both, "
                    "expected two names",
                    "rename a dataset, scene, encoder or variant whose name holds a dot",
                )


def scene_files(config: Config, scene: Scene) -> SceneFiles:
    """The files of a scene; none yet where its folder is not there, which is warned of."""
    if scene.toy_seed is not None:
        folder = f"{config.results}/{scene.dataset}/{scene.scene}/room"
        named = scene_settings(config.sample_frames, scene).classes
        # Without the list, editing it would rerun nothing.
        made = (f"{folder}/room.json", *([str(find_class_list(named))] if named else []))
        return SceneFiles(folder, made, made, True)
    if scene.capture:
        return captured_files(config, scene)
    if not Path(scene.path).exists():
        return SceneFiles(scene.path, (), (), LAYOUTS[scene.layout].labelled)
    wanted = scene_settings(config.sample_frames, scene)
    listing = list_scene(scene.path, wanted.layout, wanted.frames, wanted.classes)
    listing.require_classes()
    labels = listing.label_inputs() if any(listing.labels) else []
    return SceneFiles(
        scene.path,
        tuple(map(str, listing.image_inputs())),
        tuple(map(str, labels)),
        labelled=bool(labels),
        frames=len(listing.names),
        class_file=str(next(iter(listing.class_inputs()), "")),
    )


def captured_files(config: Config, scene: Scene) -> SceneFiles:
    """The folder that `capture` will make, and what it reads; UserError without a class list."""
    folder = f"{config.results}/{scene.dataset}/{scene.scene}/captured"
    classes = scene_settings(config.sample_frames, scene).classes
    if not classes:
        raise UserError(
            f"{config.scenes}: scene {scene.dataset}/{scene.scene} is captured and has no classes",
            "name a list in the column `classes`, or in `sample_frames`",
        )
    source = Path(scene.capture)
    found = tuple(map(str, source_files(source))) if source.exists() else ()
    class_file = str(find_class_list(classes))
    images = (folder, class_file)
    return SceneFiles(folder, images, (), False, class_file=class_file, sources=found)


def section_files(section: OpenClip | DenseClip | LSeg | Any) -> list[str]:
    """Files that a section names: weights, `model` where it is an open_clip config, a proxy's."""
    model = getattr(section, "model", "")
    named = [getattr(section, "weights", ""), model if model.endswith(".json") else ""]
    named.append(getattr(section, "proxy_weights", ""))
    return [shipped(os.path.normpath(name)) for name in named if name]


def named_files(config: Config, encoders: Mapping[str, CacheFeatures]) -> Iterator[tuple[str, str]]:
    """(setting, file) of every weight file and model config that the config needs."""
    sections: dict[str, Any] = {
        f"encoder {name}": section.encoder for name, section in encoders.items()
    }
    if config.propose_regions.reads_weights:
        sections["propose_regions"] = config.propose_regions
    sections["cache_dino"] = config.cache_dino
    for where, section in sections.items():
        for number, name in enumerate(section_files(section)):
            kind = "model" if name.endswith(".json") else "proxy_weights" if number else "weights"
            yield f"{where}: {kind}", name


def refuse_unknown_files(
    named: Mapping[str, str], weights: Mapping[str, Weight], table: str
) -> None:
    """UserError for a named file that is neither there nor in the table of weights."""
    for setting, name in named.items():
        if Path(name).is_dir():
            raise UserError(f"{setting}: {name} is a folder, expected a file")
        if not Path(name).exists() and name not in weights:
            raise UserError(
                f"{setting}: found no file {name}, and {table} has no row for it",
                "put the file there, or name one that is",
            )


def refuse_absent_folder(weights_dir: str) -> None:
    """UserError when `weights_dir` is given and is no folder."""
    if weights_dir and not Path(weights_dir).is_dir():
        raise UserError(
            f"weights_dir: found no folder {weights_dir}", "name one that is there, or leave it out"
        )


def folder_of_maps(encoder: Precomputed, scene: Key) -> str:
    """The folder of a `precomputed` encoder's maps of one scene."""
    named = encoder.folder.replace("{dataset}", scene[0]).replace("{scene}", scene[1])
    return shipped(named)


def files_of_maps(folder: str) -> list[str]:
    """The files below a folder of maps, sorted; none where it is not there.

    Raises:
        UserError: a folder without a manifest.
    """
    if not Path(folder).is_dir():
        return []
    if not (Path(folder) / MANIFEST).is_file():
        raise UserError(
            f"{folder}: found no {MANIFEST}, expected one beside the maps",
            "docs/datasets.md says what stands in it",
        )
    return [str(path) for path in sorted(Path(folder).rglob("*")) if path.is_file()]


def warnings(
    scenes: Mapping[Key, Scene],
    files: Mapping[Key, SceneFiles],
    maps: Iterable[str],
    named: Mapping[str, str],
    weights: Mapping[str, Weight],
    weights_dir: str,
) -> Iterator[str]:
    """What is not there yet. A plan needs no data: the job itself says what is missing."""
    for found in files.values():
        if not found.images:
            yield f"{found.folder}: no such scene folder, planned without looking inside"
    for row in scenes.values():
        if row.capture and not Path(row.capture).exists():
            yield f"{row.capture}: no such video or folder of photos, planned without it"
    for folder in maps:
        if not Path(folder).is_dir():
            yield f"{folder}: no such folder of maps, planned without looking inside"
    for name in dict.fromkeys(named.values()):
        here = Path(name).exists() or (
            weights_dir and (Path(weights_dir) / Path(name).name).exists()
        )
        if not here and not weights[name].url:
            yield f"{name}: no such file; it can only be got by hand, from {weights[name].source}"
