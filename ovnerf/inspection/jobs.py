"""The jobs of a plan: settings and sizes of each, before any data is there.

What the config, the scene sheet and the scenes' folders do not say is taken as stated here.
Imports only the standard library, pydantic and PyYAML, because Snakemake may be installed alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ovnerf.capture.sources import is_video
from ovnerf.config.features import CacheFeatures, Precomputed
from ovnerf.config.frames import ReadTruth
from ovnerf.config.run import Config, scene_settings, shared_settings
from ovnerf.config.semantics import TrainSemantics
from ovnerf.inspection.model_sizes import embedding_width, token_width, weight_bytes, windows_of
from ovnerf.inspection.photo_size import photo_size
from ovnerf.inspection.plan import Key, Plan, folder_of_maps
from ovnerf.runtime.cost_constants import PATCH, UNEVEN
from ovnerf.runtime.errors import UserError
from ovnerf.runtime.job import Job
from ovnerf.runtime.memory import array_shape, weight_file
from ovnerf.runtime.memory_formulas import own_share
from ovnerf.scenes.layouts import find_class_list
from ovnerf.storage.provenance import digest
from ovnerf.storage.text import read_lines

OF_SEED = "-seed"
"""Between `radiance` and the seed in the names of several fields of a scene."""
FRAMES = 30
"""Frames of a scene whose sheet gives none and whose folder is not there."""
SIZE = (640, 480)
"""Width and height of photos that are not there, or whose header is of another kind."""
CLASSES = 100
"""Class names of a scene whose list is not there; Replica's own lists have about as many."""
ASKING = ("fuse_points", "query", "draw_query", "export", "write_page")
"""Stages that are run for the variants that their section names."""
OF_ALL_SCORES = ("aggregate", "paper_tables")
"""Stages that read every score of the run."""
READING_WORDS = ("query", "draw_query")
"""Stages that load the text half of a run's encoder."""
BRANCH_TRAININGS = ("train_semantics", "draw_refreshes")
"""Stages that train the semantic branch of a variant."""
BRANCH = 1.4
"""File of a trained semantic branch over that of the radiance field that it holds."""


@dataclass(frozen=True)
class SceneSize:
    """Sizes of a scene.

    Attributes:
        frames, width, height: as `sample_frames` will write them.
        photo: (width, height) of the photos in the scene's folder.
        classes: number of class names.
        guessed: what nothing says, and was taken as stated above.
    """

    frames: int
    width: int
    height: int
    photo: tuple[int, int]
    classes: int
    guessed: tuple[str, ...]


def key_of(wildcards: Mapping[str, str]) -> Key:
    """The scene of a job; two empty names for a job of no scene."""
    return wildcards.get("dataset", ""), wildcards.get("scene", "")


def encoder_settings(section: CacheFeatures, key: Key) -> CacheFeatures:
    """A section of `cache_features` with the scene's own folder of maps."""
    if not isinstance(section.encoder, Precomputed):
        return section
    folder = folder_of_maps(section.encoder, key)
    encoder = section.encoder.model_copy(update={"folder": folder})
    return section.model_copy(update={"encoder": encoder})


def shared_id(settings: TrainSemantics) -> str:
    """Name of what variants share up to iteration T; variants that agree have the same."""
    shared = shared_settings(settings)
    return f"{shared.labels}-{digest(shared.model_dump(mode='json'))[:8]}"


def field_seed(config: Config, seed: str) -> int | None:
    """Seed of the radiance field that the runs of `seed` train on; None where a scene has one.

    UserError for a seed that the config does not list, which has no place in that order.
    """
    fields = config.reconstruct.seeds
    if not fields:
        return None
    if int(seed) not in config.seeds:
        raise UserError(
            f"seed {seed}: expected one of `seeds`, {list(config.seeds)}",
            "`reconstruct.seeds` gives each of them a radiance field by its place in that list",
        )
    return fields[config.seeds.index(int(seed)) % len(fields)]


def field_suffixes(config: Config) -> tuple[str, ...]:
    """What follows `radiance` in the names of a scene's fields, in the order of their seeds."""
    return tuple(f"{OF_SEED}{seed}" for seed in config.reconstruct.seeds) or ("",)


def scene_size(plan: Plan, key: Key) -> SceneSize:
    """Sizes of a scene: as the sheet or config says, else as its folder does, else a guess."""
    config, scene, files = plan.config, plan.scenes[key], plan.files[key]
    wanted = scene_settings(config.sample_frames, scene)
    listed, photo = files.frames, photo_size(files.images[0]) if files.images else None
    if scene.toy_seed is not None:
        room = scene_settings(config.make_room, scene)
        listed, photo = room.frames, (room.width, room.height)
    elif scene.capture:
        listed, photo = captured_size(plan, key)
    elif not files.images:  # perhaps an earlier run left its frames and the photos are gone
        listed, photo = stored_frames(Path(config.results, *key, "frames.zarr"))
    count = min((number for number in (wanted.frames, listed) if number), default=None)
    width, height = target_size(photo or SIZE, wanted.width, wanted.height)
    guessed = [] if count else [f"{FRAMES} frames"]
    if not photo and not (wanted.width and wanted.height):
        guessed.append(f"{width}x{height}")
    named = "/".join(key)
    return SceneSize(
        count or FRAMES,
        width,
        height,
        photo or (width, height),
        class_count(files.class_file, wanted.classes),
        tuple(f"{named}: {text}" for text in guessed),
    )


def captured_size(plan: Plan, key: Key) -> tuple[int | None, tuple[int, int] | None]:
    """Number and (width, height) of the photos that `capture` keeps at most; see `stored_frames`.

    The size of a video is not known without opening it; it is taken as 16:9.
    """
    made = stored_frames(Path(plan.config.results, *key, "frames.zarr"))
    if made[0]:
        return made
    settings = scene_settings(plan.config.capture, plan.scenes[key])
    sources, longest = plan.files[key].sources, settings.longest_side
    if not sources or is_video(Path(plan.scenes[key].capture)):
        return settings.frames, (longest, round(longest * 9 / 16))
    width, height = photo_size(sources[0]) or SIZE
    share = min(1.0, longest / max(width, height))
    return len(sources), (round(width * share), round(height * share))


def stored_frames(store: Path) -> tuple[int | None, tuple[int, int] | None]:
    """Number and (width, height) of the frames of a store; None of each where there is none."""
    try:
        count, height, width, _ = array_shape(store, "rgb")
    except (OSError, ValueError, KeyError):
        return None, None
    return count, (width, height)


def target_size(native: tuple[int, int], width: int | None, height: int | None) -> tuple[int, int]:
    """(width, height) asked for; a missing side follows the photo's aspect ratio."""
    if width and height:
        return width, height
    if width:
        return width, round(native[1] * width / native[0])
    if height:
        return round(native[0] * height / native[1]), height
    return native


def class_count(file: str, named: str) -> int:
    """Class names in a list: entries of a JSON document, else lines of a text.

    Args:
        file: the list that the scene's folder or the config leads to; empty where there is none.
        named: the list that the config names.
    """
    try:
        path = Path(file) if file else find_class_list(named) if named else None
        if path is None:
            return CLASSES
        if path.suffix == ".json":
            return len(json.loads(path.read_text(encoding="utf-8"))["classes"])
        return len(read_lines(path))
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return CLASSES  # the stage that reads it says what is wrong


class PlannedJobs:
    """The jobs of a plan, by rule and wildcards."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.known: dict[tuple[str, ...], Job] = {}

    @cached_property
    def shared(self) -> dict[str, TrainSemantics]:
        """Settings of `train_shared` by the name of the shared part."""
        trainings = [train for train, _ in self.plan.variants.values()]
        return {shared_id(train): shared_settings(train) for train in trainings}

    @cached_property
    def sizes(self) -> dict[Key, SceneSize]:
        """Sizes of every scene."""
        return {key: scene_size(self.plan, key) for key in self.plan.scenes}

    def settings(self, stage: str, wildcards: Mapping[str, str]) -> Any:
        """The settings of a stage's job; None for a stage that has none."""
        plan, key = self.plan, key_of(wildcards)
        if stage == "read_truth":
            frames = scene_settings(plan.config.sample_frames, plan.scenes[key])
            return ReadTruth(layout=frames.layout, classes=frames.classes)
        if stage in ("cache_features", "cache_features_part"):
            return encoder_settings(plan.encoders[wildcards["encoder"]], key)
        if stage == "render_views":
            return plan.variants[wildcards["variant"]][1]
        if stage == "reconstruct" and wildcards.get("of_seed"):
            seed = int(wildcards["of_seed"].removeprefix(OF_SEED))
            return plan.config.reconstruct.model_copy(update={"seed": seed, "seeds": ()})
        if stage in ASKING:  # whose `variants` change nothing in a job
            return getattr(plan.config, stage).model_copy(update={"variants": ()})
        if stage in ("paper_tables", "draw_paper"):  # which `write` changes nothing of
            return plan.config.paper_tables.model_copy(update={"write": False})
        if stage in ("make_room", "capture", "sample_frames", "lift"):
            section = getattr(plan.config, stage)
        elif stage == "train_shared":
            section = self.shared[wildcards["shared"]]
        elif stage in BRANCH_TRAININGS:
            section = plan.variants[wildcards["variant"]][0]
        else:
            return getattr(plan.config, stage, None)
        return scene_settings(section, plan.scenes[key])

    def job(self, rule: str, wildcards: Mapping[str, str]) -> Job:
        """A job's settings and sizes; seeds and parts differ in neither."""
        names = ("dataset", "scene", "encoder", "shared", "variant")
        key = (rule, *(wildcards.get(name, "") for name in names))
        if key not in self.known:
            self.known[key] = self.made(rule, wildcards)
        return self.known[key]

    def made(self, rule: str, wildcards: Mapping[str, str]) -> Job:
        """See `job`."""
        key, settings = key_of(wildcards), self.settings(rule, wildcards)
        if key not in self.plan.scenes:
            return Job(rule, settings, rows=self.rows() if rule in OF_ALL_SCORES else 0)
        config, size = self.plan.config, self.sizes[key]
        regions = config.propose_regions if rule in BRANCH_TRAININGS else None
        source = regions or settings
        if rule in READING_WORDS:
            source = self.plan.encoders[wildcards["encoder"]]
        kind = getattr(getattr(source, "encoder", None), "kind", "") or getattr(source, "model", "")
        radiance = self.field_bytes()
        return Job(
            rule,
            settings,
            regions,
            frames=size.frames,
            height=size.height,
            width=size.width,
            held_out=self.held_out(key),
            photo_pixels=size.photo[0] * size.photo[1],
            classes=size.classes,
            weights=weight_bytes(weight_file(source), getattr(source, "architecture", kind)),
            radiance=radiance,
            semantics=(BRANCH + self.own_share(wildcards.get("variant", ""))) * radiance,
            gathers=rule == "cache_features" and config.cache_features.parts > 1,
            tokens=self.tokens(size),
            **self.features(key, wildcards.get("encoder", "")),
        )

    def own_share(self, variant: str) -> float:
        """Size of a variant's own feature volume over that of the radiance field."""
        trained = variant in self.plan.variants  # and not lifted
        return own_share(self.plan.variants[variant][0]) if trained else 0.0

    def tokens(self, size: SceneSize) -> float:
        """Numbers of a scene's DINO store."""
        area = size.width * size.height / PATCH**2
        return size.frames * area * token_width(self.plan.config.cache_dino.model)

    def features(self, key: Key, encoder: str) -> dict[str, int]:
        """Windows of a frame and numbers of the features store; none where no encoder is named."""
        if not encoder:
            return {}
        section, size = self.plan.encoders[encoder], self.sizes[key]
        windows = windows_of(section, size.width, size.height)
        width = embedding_width(encoder_settings(section, key).encoder, size.classes)
        return {"windows": windows, "embeddings": size.frames * windows * width}

    def held_out(self, key: Key) -> int:
        """Frames of a scene that are rendered and scored."""
        return -(-self.sizes[key].frames // self.plan.config.sample_frames.test_every)

    def field_bytes(self) -> float:
        """Planes of the last grid in fp32 (docs/method.md#upsampling), of the most uneven box."""
        section = self.plan.config.reconstruct
        ranks = sum(section.density_ranks) + sum(section.appearance_ranks)
        return UNEVEN * 4 * ranks * max(section.voxels_start, section.voxels_end) ** (2 / 3)

    def rows(self) -> int:
        """Rows of scores of all runs: every class, and a few sums, of every held-out frame."""
        of_run = {key: self.held_out(key) * (size.classes + 10) for key, size in self.sizes.items()}
        of_seed = sum(of_run[dataset, scene] for dataset, scene, *_ in self.plan.runs)
        return of_seed * len(self.plan.config.seeds)
