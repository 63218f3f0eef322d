"""Every scientific choice of the workflow, typed: one model per rule, unknown keys refused.

Imports only the standard library, pydantic and PyYAML, because the Snakefile reads it in an
environment that may hold Snakemake alone. Where the paper and the published code disagree the
default is ours and the other behaviour is a value of the same field (docs/conventions.md).
"""

from __future__ import annotations

import csv
import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ovnerf.errors import UserError
from ovnerf.paths import typed_path
from ovnerf.text import read_lines, read_text

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
Name = Annotated[str, Field(pattern=NAME)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0)]
RESERVED = {
    "dataset": {"tables", "logs", "benchmarks"},
    "encoder": {"room", "frames.zarr", "truth.zarr", "regions.zarr", "dino.zarr", "radiance"},
    "variant": {"clip.zarr", "clip-parts", "labels.zarr", "label_scores.csv", "figures"},
}
"""Names that results beside a folder of this kind have (`trunk-...` is a variant's, too)."""
Layout = Literal["replica", "semantic_nerf", "nice_slam", "scannet", "llff", "colmap", "nerfstudio"]


class Strict(BaseModel):
    """Base of every settings model: no unknown key, no NaN, no silent change after validation."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class MakeRoom(Strict):
    """A procedural toy room (`ovnerf/toy/rooms.py`), written in the Replica layout."""

    seed: int = 0
    """Which room. Demo rooms use seeds below 1000; toy models are trained on seeds from 1000."""
    frames: Positive = 40
    """Views on the camera path."""
    width: Positive = 160
    """Image width in pixels."""
    height: Positive = 120
    """Image height in pixels."""
    supersampling: Positive = 2
    """Rays per pixel side; colour is their mean, the label that of the pixel centre."""


class SampleFrames(Strict):
    """Which frames of a posed video are used, at which size, and where the scene box lies."""

    layout: Layout = "replica"
    """Folder layout of the scene; docs/conventions.md draws two, docs/datasets.md the others."""
    frames: Positive | None = None
    """Uniformly sampled count; all frames when empty."""
    width: Positive | None = None
    """Target size in pixels; the native size when empty. Intrinsics follow."""
    height: Positive | None = None
    """Given together with `width`."""
    test_every: Positive = 10
    """Frame i is held out when i mod test_every == 0 (docs/method.md#data)."""
    held_out: Literal["every_nth", "labelled", "none"] = "every_nth"
    """`labelled`: the views that have ground truth are held out and no other. `none`: they are
    scored, and trained on as all others are, which is the published split of 3DOVS scenes."""
    classes: str = ""
    """Class names: a list of the package (`replica_51`, `scannet_20`, `nyu_40`), or a text file
    with one name a line. The scene's own list when empty. Ground truth of other names is void."""
    box: Literal["triangulated", "as_shipped", "ndc"] = "triangulated"
    """Scene box. `triangulated`: robust bounds of image features triangulated over the training
    frames. `as_shipped`: the cube of +-1.5 around the world origin after dividing translations by
    their largest training component (docs/method.md#pose-scale). `ndc`: rays are warped into
    normalised device coordinates, for captures that look one way (layout `llff`;
    docs/method.md#ndc)."""


class ReadTruth(Strict):
    """Ground-truth labels of the sampled frames (for scoring, and for the `simulated` encoder)."""

    layout: Layout = "replica"
    """Folder layout of the scene."""
    classes: str = ""
    """As in `sample_frames`, and the same there."""


class ProposeRegions(Strict):
    """SAM automatic masks (segment_anything's own generator; names and defaults are its own)."""

    architecture: Literal["toy", "vit_b", "vit_l", "vit_h", "truth"] = "vit_h"
    """SAM's size; `toy` is the one that ships with the repository. `truth`: no SAM but the
    connected parts of each true class, to measure what better regions could give."""
    weights: str = "weights/sam_vit_h_4b8939.pth"
    """Weight file, relative to the directory the workflow runs in; not read for `truth`."""
    views: Literal["train", "all"] = "train"
    """`all` also proposes regions on test views (used for scoring label maps only)."""
    points_per_side: Positive = 32
    """Prompts along each image side; time grows with the square."""
    points_per_batch: Positive = 64
    """Prompts decoded at once; memory, not results."""
    pred_iou_thresh: float = 0.88
    """Masks with a lower predicted IoU are dropped."""
    stability_score_thresh: float = 0.95
    """Masks that change more when the logit cut moves are dropped."""
    stability_score_offset: float = 1.0
    """How far the logit cut moves for that test."""
    box_nms_thresh: float = 0.7
    """Of two masks whose boxes overlap more than this IoU the worse is dropped."""
    min_mask_region_area: int = 0
    """Holes and islands smaller than this (pixels) are removed; 0 removes none."""


class OpenClip(Strict):
    """Any open_clip model, the toy one included."""

    kind: Literal["openclip"]
    """Always `openclip`."""
    model: str
    """open_clip model name, or a path to a model config JSON."""
    weights: str
    """Weight file (safetensors, or a state dict loadable with weights_only)."""


class Simulated(Strict):
    """Window embeddings made from ground truth, for studying RSR and CSE under known noise."""

    kind: Literal["simulated"]
    """Always `simulated`."""
    width: Positive = 64
    """Embedding dimension D."""
    text_cosine: Fraction = 0.7
    """Mean pairwise cosine of the class vectors (CLIP text embeddings are about this close)."""
    noise: float = Field(default=0.0, ge=0)
    """Standard deviation of Gaussian noise per window, relative to the unit embedding's norm."""
    confusion: Fraction = 0.0
    """Probability per (view, class) that its embedding is another class's. It does not average out
    over the windows of a view."""
    seed: int = 0
    """Seed of class vectors, noise and confusion."""


class LSeg(Strict):
    """LSeg: a ViT with a DPT head whose pixels live in the space of CLIP text."""

    kind: Literal["lseg"]
    """Always `lseg`."""
    weights: str
    """The published checkpoint, or its state dict as safetensors."""
    cell: Positive = 8
    """Features are stored as means of squares of so many pixels."""


class Precomputed(Strict):
    """Label maps or feature maps made elsewhere (FC-CLIP, for example), one per frame."""

    kind: Literal["precomputed"]
    """Always `precomputed`."""
    folder: str
    """Folder of the maps and their `manifest.json`; `{dataset}` and `{scene}` are filled in."""
    cell: Positive = 8
    """Features are stored as means of squares of so many pixels. Label maps are stored at pixel
    size as well, and are the first labels as they are."""

    @field_validator("folder")
    @classmethod
    def no_other_braces(cls, folder: str) -> str:
        rest = folder.replace("{dataset}", "").replace("{scene}", "")
        if "{" in rest or "}" in rest:
            raise ValueError("only `{dataset}` and `{scene}` may stand in braces")
        return folder


Encoder = Annotated[OpenClip | Simulated | LSeg | Precomputed, Field(discriminator="kind")]


class CacheClip(Strict):
    """CLIP pyramid, stored as window embeddings and boxes (docs/method.md#clip-pyramid)."""

    encoder: Encoder | None = None
    """Filled in from config/encoders/<name>.yaml."""
    views: Literal["train", "all"] = "train"
    """`all` also embeds test views (used for scoring label maps only)."""
    scales: tuple[Positive, ...] = (5, 7, 10)
    """Window side of scale k is floor(min(H, W) / k)."""
    stride: Fraction = 0.25
    """Stride as a fraction of the window side; at least 1 pixel."""
    jitter: Fraction = 0.25
    """Each side of a window moves outward by up to this fraction of its side."""
    seed: int = 0
    """Seed of the window jitter."""
    batch: Positive = 256
    """Windows encoded at once; memory, not results."""
    parts: Positive = 1
    """Jobs that share a scene's frames, for several GPUs; does not change the result."""


class CacheDino(Strict):
    """DINO patch tokens of whole images (docs/method.md#dino-tokens; see `dino.mode`)."""

    model: str = "vit_base_patch8_224.dino"
    """timm model name, or `toy`."""
    weights: str = "weights/dino_vitb8.safetensors"
    """Weight file."""
    stride: Literal[8] = 8
    """Patch side in pixels; only 8 is implemented."""


class RankRegions(Strict):
    """Relevancy labels (paper Eq. 4) and region semantic ranking, RSR (docs/method.md#rsr)."""

    text_bank: Literal["ensemble", "bare"] = "ensemble"
    """85-template prompt ensemble, or bare class names."""
    order: Literal["generator", "descending_area"] = "generator"
    """Which mask wins an overlap: the last in generator order, or the smallest."""
    uncovered: Literal["ignore", "void_class"] = "ignore"
    """Pixels no voting region covers: ignored by the loss, or trained toward the blank prompt."""
    blank_prompt: bool = False
    """As shipped: a blank prompt competes as an extra class."""


class Reconstruct(Strict):
    """TensoRF-VM radiance field (docs/method.md#field). Schedules are fractions of `iterations`."""

    iterations: Positive = 30_000
    """Optimisation steps."""
    batch_rays: Positive = 4096
    """Rays per step."""
    voxels_start: Positive = 2_097_156
    """Voxels of the first grid."""
    voxels_end: Positive = 262_144_000
    """Voxels of the last grid."""
    upsample_at: tuple[Fraction, ...] = (2000 / 30000, 3000 / 30000, 4000 / 30000, 5500 / 30000)
    """When the grid grows, as fractions of `iterations`; sizes are spaced evenly in log."""
    occupancy_at: tuple[Fraction, ...] = (2500 / 30000,)
    """When the occupancy grid is made (the first time the box shrinks, too); never before
    iteration 400."""
    density_ranks: tuple[int, int, int] = (16, 4, 4)
    """Density components per axis pair."""
    appearance_ranks: tuple[int, int, int] = (48, 12, 12)
    """Appearance components per axis pair."""
    appearance_width: Positive = 27
    """Width of the appearance feature."""
    head_width: Positive = 128
    """Hidden width of the colour head."""
    step_ratio: float = 0.5
    """Step length in mean voxel edges."""
    distance_scale: float = 25.0
    """Step lengths are multiplied by this before alpha is computed."""
    weight_threshold: float = 1e-4
    """Samples with a smaller rendering weight carry no appearance."""
    learning_rate_grid: float = 0.02
    """Adam, planes and lines."""
    learning_rate_head: float = 1e-4
    """Adam, appearance basis and colour head."""
    learning_rate_decay: float = 0.1
    """Learning rates fall to this factor over the run."""
    tv_density: float = 1.0
    """Weight of the total variation of density planes."""
    tv_appearance: float = 1.0
    """Weight of the total variation of appearance planes."""
    random_background: bool = True
    """Composite over white for half of the batches (docs/method.md#random-background)."""
    near_scene: float = 0.05
    """Rays begin this far from the camera, in scene units."""
    seed: int = 20211202
    """Seed of initial values and ray batches."""


class Cse(Strict):
    """Cross-view self-enhancement: pseudo-label update and novel views (docs/method.md#cse)."""

    enabled: bool = True
    """Off: the first labels stay to the end."""
    start: Fraction = 10_000 / 15_000
    """T as a fraction of the iterations."""
    every: Fraction = 1000 / 15_000
    """N as a fraction of the iterations."""
    rank_pseudo_labels: bool = True
    """Clean the rendered labels by RSR (off in Table VII `w CSE`)."""
    text_bank: Literal["ensemble", "bare"] = "ensemble"
    """Bank that turns renders into pseudo labels."""
    novel_views: int = Field(default=60, ge=0)
    """Views added from poses without a photograph; 0 for none."""
    novel_path: Literal["interpolated", "panorama"] = "interpolated"
    """`interpolated`: between training poses. `panorama`: the as-shipped yaw circle."""
    panorama_centre: tuple[float, float, float] | None = None
    """Scene units; the mean training camera centre when empty."""
    min_opacity: Fraction = 0.5
    """A novel pixel is void below this accumulated opacity."""
    min_seen_by: int = Field(default=2, ge=0)
    """A novel pixel is void when fewer training views see its surface point."""
    min_valid: Fraction = 0.3
    """A novel view with a smaller share of valid pixels is skipped."""
    cache_mb: int = Field(default=1024, ge=0)
    """Memory for rendering weights of refreshed views; the rest is recomputed. Never changes a
    result."""


class Dino(Strict):
    """DINO / class-distribution correlation loss (docs/method.md#correlation-loss)."""

    mode: Literal["cached", "online"] = "cached"
    """`cached`: tokens of whole images (approximation). `online`: the paper's crops."""
    crops: int = Field(default=8, ge=0)
    """Crops per step; 0 leaves the loss out."""
    crop_side: float = 0.53
    """Crop side over the short image side, rounded to a multiple of 8 (256 of 480)."""
    shift: float = 0.7
    """Similarity below this counts as different."""
    temperature: float = 0.2
    """Temperature of the class distribution."""
    positive_weight: float = 200.0
    """Weight of pixel pairs that DINO calls alike."""
    negative_weight: float = 0.2
    """Weight of pairs that it calls different."""
    divergence: Literal["kl", "js"] = "kl"
    """KL is what the published code evaluates; the paper says Jensen-Shannon."""


class TrainSemantics(Strict):
    """Semantic branch on the frozen density (docs/method.md#semantic-branch)."""

    iterations: Positive = 15_000
    """Optimisation steps."""
    joint_start: Fraction = 5000 / 15_000
    """From here appearance, its basis and the colour head train as well, with the colour loss
    (stage B). 0 is the paper's wording: colour loss throughout."""
    labels: Literal["relevancy", "ranked"] = "ranked"
    """First labels: argmax CLIP (paper Eq. 4; label maps of a `precomputed` encoder as they are),
    or the same after RSR (Eq. 6)."""
    view_fraction: Fraction = 0.8
    """Share of the training views that carries labels and features (`clip_input`)."""
    batch_rays: Positive = 4096
    """Rays per step."""
    head_width: Positive = 128
    """Width of the two inner layers of the semantic head."""
    select_ranks: tuple[int, int, int] = (16, 4, 4)
    """Components per axis pair of the scale-selection volume."""
    ray_length: Literal["full", "as_shipped"] = "full"
    """`as_shipped` cuts training rays at the initial grid's count (docs/method.md#short-rays)."""
    logits: Literal["dot", "cosine"] = "dot"
    """Cross-entropy logits: dot product at temperature 1, or cosine / `logit_temperature`."""
    logit_temperature: float = 0.05
    """Divides cosine logits."""
    text_bank: Literal["ensemble", "bare"] = "ensemble"
    """Bank of the training losses (as shipped: bare)."""
    feature_weight: float = 1.0
    """Weight of the loss to the CLIP features."""
    label_weight: float = 1.0
    """Weight of the cross-entropy to the labels."""
    colour_weight: float = 1.0
    """Weight of the colour loss."""
    novel_weight: float = 1.0
    """Weight of the cross-entropy on novel views."""
    learning_rate_grid: float = 0.02
    """Adam, scale-selection volume."""
    learning_rate_head: float = 1e-4
    """Adam, semantic head."""
    learning_rate_joint_grid: float = 5e-3
    """Adam, appearance planes and lines from `joint_start`."""
    learning_rate_joint_head: float = 5e-5
    """Adam, appearance basis and colour head from `joint_start`."""
    learning_rate_decay: float = 0.1
    """Learning rates fall to this factor over the run."""
    dino: Dino = Dino()
    cse: Cse = Cse()


class RenderViews(Strict):
    """Rendering of held-out views at full size."""

    text_bank: Literal["ensemble", "bare"] = "ensemble"
    """Text vectors that pixels are compared with."""
    blank_prompt: bool = False
    """As shipped: a blank prompt competes; a pixel it wins is predicted void."""


class Evaluate(Strict):
    """Scores of rendered views; both protocols are always written."""


class Config(Strict):
    """A whole run: which scenes, encoders, variants and seeds, and one section per rule."""

    scenes: str
    """Scene sheet (tab separated), for example `config/scenes/demo.tsv`. Required."""
    encoders: tuple[Name, ...] = Field(default=("clip",), min_length=1)
    """Names of files in config/encoders."""
    variants: tuple[Name, ...] = Field(default=("baseline", "rsr", "cse", "ovnerf"), min_length=1)
    """Names of files in config/variants."""
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1)
    """Seeds of train_semantics; everything before it is made once per scene."""
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
    sample_frames: SampleFrames = SampleFrames()
    propose_regions: ProposeRegions = ProposeRegions()
    cache_clip: CacheClip = CacheClip()
    cache_dino: CacheDino = CacheDino()
    rank_regions: RankRegions = RankRegions()
    reconstruct: Reconstruct = Reconstruct()
    train_semantics: TrainSemantics = TrainSemantics()
    render_views: RenderViews = RenderViews()
    evaluate: Evaluate = Evaluate()

    @model_validator(mode="after")
    def lists_without_repeats(self) -> Config:
        for name in ("encoders", "variants", "seeds"):
            listed = getattr(self, name)
            if len(set(listed)) < len(listed):
                raise ValueError(f"{name}: an entry is listed twice in {list(listed)}")
        if self.cache_clip.encoder is not None:
            raise ValueError("cache_clip.encoder: name the encoder under `encoders` instead")
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

    train_semantics: dict[str, Any] = {}
    """Changes to that section."""
    render_views: dict[str, Any] = {}
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
    """Folder of the scene, from the working directory or `~`; empty for a toy room."""
    toy_seed: int | None = None
    """Makes the scene with `make_room` instead of reading `path`."""
    frames: Positive | None = None
    """As in `sample_frames`."""
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

    @field_validator("path")
    @classmethod
    def as_typed(cls, path: str) -> str:
        return typed_path(path)

    @model_validator(mode="after")
    def one_source(self) -> Scene:
        if bool(self.path) == (self.toy_seed is not None):
            raise ValueError("give either path or toy_seed, not both and not neither")
        return self

    @field_validator("dataset")
    @classmethod
    def a_name_that_results_have_not(cls, dataset: str) -> str:
        refuse_reserved("dataset", dataset)
        return dataset


def refuse_reserved(kind: str, name: str) -> None:
    """ValueError for a name that would put a folder where results of another kind lie."""
    if name in RESERVED[kind] or (kind == "variant" and name.startswith("trunk-")):
        raise ValueError(f"{kind} {name}: results have a file or folder of this name; take another")


def explain(error: ValidationError, where: str) -> UserError:
    """One readable message for a pydantic error: each key, what was found, what was expected."""
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "(row)"
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
    return scenes


def override(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, map by map; neither argument is changed."""
    merged = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = override(merged[key], value) if nested else value
    return merged


def read_config(data: Any, where: str = "config") -> Config:
    """The whole configuration from what Snakemake merged; UserError for every bad key."""
    return parse(Config, data, where)


def cache_clip_settings(config: Config, path: Path | str) -> CacheClip:
    """The `cache_clip` section completed with the encoder file at `path`."""
    section = config.cache_clip.model_dump()
    return parse(CacheClip, {**section, "encoder": read_yaml(path)}, str(path))


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
        settings = trunk_settings(settings)
    return settings, parse(RenderViews, render, str(path))


def trunk_settings(settings: TrainSemantics) -> TrainSemantics:
    """What variants share up to iteration T: CSE off, its fields forgotten but for `start`."""
    return settings.model_copy(update={"cse": Cse(enabled=False, start=settings.cse.start)})


def scene_settings(section: Strict, scene: Scene) -> Any:
    """A section with the scene sheet's cells laid over the fields of the same name."""
    cells = scene.model_dump(exclude_unset=True, exclude={"dataset", "scene", "path", "toy_seed"})
    if scene.toy_seed is not None:
        cells["seed"] = scene.toy_seed
    known = {key: value for key, value in cells.items() if key in type(section).model_fields}
    return section.model_copy(update=known)
