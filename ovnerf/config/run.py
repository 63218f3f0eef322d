"""Every scientific choice of the workflow, typed: one model per rule, unknown keys refused.

Imports only the standard library, pydantic and PyYAML, because the Snakefile reads it in an
environment that may hold Snakemake alone. Where the paper and the published code disagree the
default is ours and the other behaviour is a value of the same field (docs/conventions.md).
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from ovnerf.config.asked import refused_as_setting
from ovnerf.config.base import Fraction, Name, Positive, Seed, Strict
from ovnerf.config.capture import Capture
from ovnerf.config.export import Export
from ovnerf.config.features import CacheDino, CacheFeatures
from ovnerf.config.field import Reconstruct
from ovnerf.config.frames import Layout, MakeRoom, SampleFrames
from ovnerf.config.groups import RunGroup, with_unions
from ovnerf.config.labels import RankRegions
from ovnerf.config.lift import Lift
from ovnerf.config.page import WritePage
from ovnerf.config.paper import PaperTables
from ovnerf.config.phrases import parse_phrase, parse_phrases, require_rivals
from ovnerf.config.points import FusePoints
from ovnerf.config.query import Query
from ovnerf.config.query_figures import DrawQuery
from ovnerf.config.refresh_figures import DrawRefreshes
from ovnerf.config.regions import ProposeRegions
from ovnerf.config.semantics import Cse, TrainSemantics
from ovnerf.config.views import Evaluate, RenderViews
from ovnerf.runtime.errors import UserError
from ovnerf.storage.paths import typed_path
from ovnerf.storage.text import read_lines, read_text

RESERVED = {
    "dataset": {"tables", "logs", "benchmarks"},
    "encoder": {
        "room",
        "captured",
        "frames.zarr",
        "truth.zarr",
        "regions.zarr",
        "dino.zarr",
        "radiance",
        "depth.zarr",
        "paper",
    },
    "variant": {
        *("features.zarr", "feature-parts", "labels.zarr", "fused.zarr", "figures"),
        *("label_scores.csv", "agreement.csv", "lift"),
    },
}
"""Names that results beside a folder of this kind have."""
SOURCES = ("dataset", "scene", "path", "toy_seed", "capture")
"""Cells of the scene sheet that say which scene it is; the others overlay settings."""
RESERVED_BEGINNINGS = {"dataset": (), "encoder": ("radiance-seed",), "variant": ("shared-",)}
"""Such names begin so."""


class Config(Strict):
    """A whole run: which scenes, encoders, variants and seeds, and one section per rule."""

    scenes: str
    """Scene sheet (tab separated), for example `config/scenes/demo.tsv`. Required."""
    encoders: tuple[Name, ...] = Field(default=("clip",), min_length=1)
    """Names of files in config/encoders."""
    variants: tuple[Name, ...] = Field(default=("baseline", "rsr", "cse", "ovnerf"), min_length=1)
    """Names of files in config/variants."""
    runs: tuple[RunGroup, ...] = ()
    """Groups of scenes, encoders and variants that go together, instead of every scene with every
    one of `encoders` and `variants`, which are then left out."""
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1)
    """Seeds of train_semantics; everything before it is made once per scene (radiance fields as
    `reconstruct.seeds` says)."""
    results: str = "results"
    """Folder of everything that is made, relative to the directory the workflow runs in."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` is CUDA where there is one."""
    weights_table: str = "config/weights.tsv"
    """Where weight files come from: one row per file, read by `fetch_weights`."""
    weights_dir: str = ""
    """A folder that already holds weight files under their own names, for machines without a
    network; `fetch_weights` looks there first."""
    compute_threads: Positive = 1
    """Threads of numerical libraries in a job. Sums differ between 1 and 2 threads, so this is a
    setting and not Snakemake's thread count."""
    container: str = "containers/ovnerf.sif"
    """Image that jobs run in with `--sdm apptainer`: a file, or an address that Apptainer takes,
    like `oras://registry.example.org/group/ovnerf:0.2.0`."""
    checkpoint_minutes: float = 5.0
    """Minutes between checkpoints of a training; not a part of the result: nothing runs again."""
    make_room: MakeRoom = MakeRoom()
    capture: Capture = Capture()
    sample_frames: SampleFrames = SampleFrames()
    propose_regions: ProposeRegions = ProposeRegions()
    cache_features: CacheFeatures = CacheFeatures()
    cache_dino: CacheDino = CacheDino()
    rank_regions: RankRegions = RankRegions()
    reconstruct: Reconstruct = Reconstruct()
    train_semantics: TrainSemantics = TrainSemantics()
    render_views: RenderViews = RenderViews()
    lift: Lift = Lift()
    evaluate: Evaluate = Evaluate()
    fuse_points: FusePoints = FusePoints()
    query: Query = Query()
    draw_query: DrawQuery = DrawQuery()
    draw_refreshes: DrawRefreshes = DrawRefreshes()
    export: Export = Export()
    write_page: WritePage = WritePage()
    paper_tables: PaperTables = PaperTables()

    @model_validator(mode="after")
    def lists_without_repeats(self) -> Config:
        lists = {name: getattr(self, name) for name in ("encoders", "variants", "seeds")}
        for name, listed in (lists | {"reconstruct.seeds": self.reconstruct.seeds}).items():
            if len(set(listed)) < len(listed):
                raise ValueError(f"{name}: an entry is listed twice in {list(listed)}")
        if self.cache_features.encoder is not None:
            raise ValueError("cache_features.encoder: name the encoder under `encoders` instead")
        return self

    @model_validator(mode="after")
    def asks_known_variants(self) -> Config:
        for section, names in (
            ("fuse_points", self.fuse_points.variants),
            ("query", self.query.variants),
            ("draw_query", self.draw_query.variants),
            ("draw_refreshes", self.draw_refreshes.variants),
            ("export", self.export.variants),
            ("write_page", self.write_page.variants),
        ):
            for name in names:
                if name not in self.variants:
                    raise ValueError(f"{section}.variants: {name} is not among `variants`")
        for section, asks in (("query", self.query), ("draw_query", self.draw_query)):
            if bool(asks.phrases) != bool(asks.variants):
                raise ValueError(f"{section}: give both `phrases` and `variants`, or neither")
        return self

    @model_validator(mode="after")
    def phrases_that_can_be_asked(self) -> Config:
        refused_as_setting(self.read_phrases)
        return self

    def read_phrases(self) -> None:
        """UserError for a phrase that would end its job, which runs hours later."""
        asked = parse_phrases(self.query.phrases, "query.phrases: phrase")
        if self.query.mode == "softmax":
            require_rivals(asked)
        parse_phrases(self.draw_query.phrases, "draw_query.phrases: phrase")
        if self.export.video_phrase:
            parse_phrase(self.export.video_phrase, "export.video_phrase")

    @model_validator(mode="after")
    def films_only_by_hand(self) -> Config:
        if "video" in self.export.products:
            raise ValueError(
                "export.products: found video, which needs a camera path that the workflow has "
                "not; make it by `python -m ovnerf export RUN --out FOLDER --path FILE`"
            )
        return self

    @model_validator(mode="after")
    def names_that_results_have_not(self) -> Config:
        for name in self.encoders:
            refuse_reserved("encoder", name)
        for name in self.variants:
            refuse_reserved("variant", name)
        return self


class Variant(Strict):
    """A variant file: changes to the sections that are made once per variant, and no others."""

    train_semantics: dict[str, Any] = Field(default_factory=dict)
    """Changes to that section."""
    render_views: dict[str, Any] = Field(default_factory=dict)
    """Changes to that section."""


class Scene(Strict):
    """One row of the scene sheet. An empty cell takes the value of the config's section."""

    dataset: Name
    """Name in paths and tables."""
    scene: Name
    """Name in paths and tables, unique in its dataset."""
    layout: Layout = "replica"
    """Folder layout."""
    path: str = ""
    """Folder of the scene, from the working directory or `~`; empty where the scene is made."""
    toy_seed: int | None = None
    """Makes the scene with `make_room` instead of reading `path`."""
    capture: str = ""
    """A video, or a folder of photos without poses: makes the scene with `capture` instead of
    reading `path`."""
    frames: Positive | None = None
    """As in `sample_frames`; of a captured scene as in `capture`."""
    width: Positive | None = None
    """As in `sample_frames`."""
    height: Positive | None = None
    """As in `sample_frames`."""
    classes: str = ""
    """As in `sample_frames`."""
    held_out: Literal["every_nth", "labelled", "none"] = "every_nth"
    """As in `sample_frames`."""
    box: Literal["triangulated", "as_shipped", "ndc"] = "triangulated"
    """As in `sample_frames`."""
    view_fraction: Fraction = 0.8
    """As in `train_semantics`."""

    @field_validator("path", "capture")
    @classmethod
    def as_typed(cls, path: str) -> str:
        return typed_path(path)

    @model_validator(mode="after")
    def one_source(self) -> Scene:
        if [bool(self.path), self.toy_seed is not None, bool(self.capture)].count(True) != 1:
            raise ValueError("give either path or toy_seed or capture, one of them")
        if self.capture and self.layout != "colmap" and "layout" in self.model_fields_set:
            raise ValueError("layout: captured scenes have the layout colmap; leave the cell empty")
        return self

    @field_validator("dataset")
    @classmethod
    def a_name_that_results_have_not(cls, dataset: str) -> str:
        refuse_reserved("dataset", dataset)
        return dataset


def refuse_reserved(kind: str, name: str) -> None:
    """ValueError for a name that would put a folder where results of another kind lie."""
    if name in RESERVED[kind] or name.startswith(RESERVED_BEGINNINGS[kind]):
        raise ValueError(f"{kind} {name}: results have a file or folder of this name; take another")


def explain(error: ValidationError, where: str) -> UserError:
    """One readable message for a pydantic error: each key, what was found, what was expected.

    What is wrong between several keys is told without them, because its message names them, and the
    whole config would be what was found. A row of the scene sheet is short: it is shown.
    """
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if not key and error.title != Scene.__name__:
            lines.append(f"{where}: {item['msg']}")
            continue
        key = key or "(row)"
        found = "" if item["type"] == "extra_forbidden" else f" (found {item['input']!r})"
        what = "unknown key" if item["type"] == "extra_forbidden" else item["msg"]
        if item["type"] == "string_type" and not isinstance(item["input"], (list, dict)):
            what += "; YAML reads it as something else, so put it in quotes"
        lines.append(f"{where}: {key}: {what}{found}")
    return UserError("\n".join(lines), "config/README.md lists every key, its type and its default")


def parse(model: type[BaseModel], data: Any, where: str) -> Any:
    """Validate `data` (a mapping) as `model`; UserError naming `where` and each bad key."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise explain(error, where) from None


def read_yaml(path: Path | str) -> dict[str, Any]:
    """A YAML mapping from a file; UserError when missing, unreadable or not a mapping."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file", "check the name in your config")
    try:
        data = yaml.safe_load(read_text(path)) or {}
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise UserError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected a mapping, found {type(data).__name__}")
    return data


def read_row(row: dict[Any, Any], where: str) -> Scene:
    """A line of the scene sheet by its column names; empty cells are left out."""
    if None in row:
        raise UserError(
            f"{where}: found {len(row) - 1 + len(row[None])} cells, expected {len(row) - 1}",
            "cells are separated by one tab each",
        )
    filled = {key: value.strip() for key, value in row.items() if value and value.strip()}
    for key, value in filled.items():
        if len(value) > 1 and value[0] == value[-1] == '"':
            raise UserError(
                f"{where}: {key}: found {value}, expected it without quotes",
                "cells are taken as they are; tabs alone separate them",
            )
        if any(unicodedata.category(letter) == "Cc" for letter in value):
            raise UserError(f"{where}: {key}: found {value!r}, expected no control characters")
    return parse(Scene, filled, where)


def read_scenes(path: Path | str) -> list[Scene]:
    """The scene sheet: tab separated, one header line; UserError for duplicates and bad rows."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such scene sheet", "set `scenes:` in your config")
    lines = [
        (number, line)
        for number, line in enumerate(read_lines(path), start=1)
        if line.strip() and not line.startswith("#")
    ]
    # Quotes are letters like any other: a cell that begins with one must not swallow the next.
    rows = csv.DictReader((line for _, line in lines), delimiter="\t", quoting=csv.QUOTE_NONE)
    columns = rows.fieldnames or []
    twice = [name for name in columns if name.strip() and columns.count(name) > 1]
    if twice:
        raise UserError(
            f"{path}: found the column {twice[0]!r} twice, expected each once",
            "rename or remove one of the two",
        )
    scenes = [read_row(row, f"{path}, row {lines[at][0]}") for at, row in enumerate(rows, start=1)]
    if not scenes:
        raise UserError(f"{path}: the scene sheet has no rows")
    ids = [(scene.dataset, scene.scene) for scene in scenes]
    for dataset, scene in ids:
        if ids.count((dataset, scene)) > 1:
            raise UserError(
                f"{path}: scene {dataset}/{scene} appears {ids.count((dataset, scene))} times, "
                "expected once",
                "rename or remove one of the rows",
            )
    refuse_twins([dataset for dataset, _ in ids], f"{path}: datasets")
    refuse_twins([f"{dataset}/{scene}" for dataset, scene in ids], f"{path}: scenes")
    return scenes


def refuse_twins(names: Sequence[str], where: str) -> None:
    """UserError for two names that differ in case alone.

    Tables compare datasets without case, as published tables spell them in several ways, and some
    file systems would give both names the same folder.
    """
    spelled: dict[str, str] = {}
    for name in names:
        first = spelled.setdefault(name.lower(), name)
        if first != name:
            raise UserError(
                f"{where}: found {first} and {name}, expected names that differ in more than case",
                "spell both alike, or rename one",
            )


def override(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, map by map; neither argument is changed."""
    merged = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = override(merged[key], value) if nested else value
    return merged


def laid_over(paths: Sequence[Path | str]) -> tuple[dict[str, Any], str]:
    """Config files laid over each other, the last on top, and what messages call them together.

    As `snakemake --configfile FIRST SECOND` merges them.
    """
    return reduce(override, map(read_yaml, paths)), " + ".join(map(str, paths))


def read_config(data: Any, where: str = "config") -> Config:
    """The whole configuration from what Snakemake merged; UserError for every bad key.

    With groups under `runs`, `encoders` and `variants` are those that any group names.
    """
    if isinstance(data, dict) and isinstance(data.get("runs"), list):
        groups = [
            parse(RunGroup, group, f"{where}: runs.{number}")
            for number, group in enumerate(data["runs"])
        ]
        data = with_unions(data, groups, where) if groups else data
    return parse(Config, data, where)


def cache_features_settings(config: Config, path: Path | str) -> CacheFeatures:
    """The `cache_features` section completed with the encoder file at `path`."""
    section = config.cache_features.model_dump()
    return parse(CacheFeatures, {**section, "encoder": read_yaml(path)}, str(path))


def variant_settings(config: Config, path: Path | str) -> tuple[TrainSemantics, RenderViews]:
    """The `train_semantics` and `render_views` sections with the variant file at `path` applied."""
    changes = parse(Variant, read_yaml(path), str(path))
    train = override(config.train_semantics.model_dump(), changes.train_semantics)
    render = override(config.render_views.model_dump(), changes.render_views)
    settings = parse(TrainSemantics, train, str(path))
    true_regions = config.propose_regions.architecture == "truth"
    if true_regions and settings.cse.enabled and settings.cse.novel_views:
        raise UserError(
            f"train_semantics.cse.novel_views: found {settings.cse.novel_views} with "
            "`propose_regions.architecture: truth`, expected 0",
            "novel views have no true regions",
        )
    if not settings.cse.enabled:
        # So that a change to CSE reruns only the variants that use it.
        settings = shared_settings(settings)
    return settings, parse(RenderViews, render, str(path))


def shared_settings(settings: TrainSemantics) -> TrainSemantics:
    """What variants share up to iteration T: CSE off, its fields forgotten but for `start`."""
    return settings.model_copy(update={"cse": Cse(enabled=False, start=settings.cse.start)})


def scene_settings(section: Strict, scene: Scene) -> Any:
    """A section with the scene sheet's cells laid over the fields of the same name."""
    cells = scene.model_dump(exclude_unset=True, exclude=set(SOURCES))
    if scene.toy_seed is not None:
        cells["seed"] = scene.toy_seed
    if scene.capture and isinstance(section, SampleFrames):
        # How many frames a capture keeps is known when it has been made: all are read.
        cells |= {"layout": "colmap", "frames": None}
    known = {key: value for key, value in cells.items() if key in type(section).model_fields}
    return section.model_copy(update=known)
