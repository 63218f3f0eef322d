"""What a job of each rule costs: memory, seconds and disk, from its settings and its sizes.

One model for everyone who asks. The workflow reserves `reserved_mb` and `time_limit_minutes` for a
job, with sizes from the config (`inspection.jobs`); a stage that does not fit is refused before it
starts, with sizes from its inputs (`runtime.memory`); `workflow/scripts/projected_cost.py` adds up
hours and disk; docs/faults.md prints the formulas. Imports only the standard library, because
Snakemake may be installed alone. Nothing here changes a result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from ovnerf.runtime import cost_constants as constant
from ovnerf.runtime import memory_formulas as formulas
from ovnerf.runtime.cost_constants import MB, PATCH
from ovnerf.runtime.job import Job, Parts


def capture_seconds(job: Job) -> float:
    """SIFT of every photo, matches of every pair, and poses, whose time grows with both."""
    settings = job.settings
    partners = 2 * settings.overlap + settings.loops
    pairs = min(partners * job.frames, job.frames**2 / 2)
    matching = constant.MATCH * settings.features**2 * pairs
    return constant.SIFT * job.frames * job.photo_pixels + matching + constant.POSE * job.frames


def size_share(job: Job, usual: float) -> float:
    """Size of a job's network over that of the usual one, whose weight file has so many bytes."""
    return job.weights / usual if job.weights else 1.0


def feature_seconds(job: Job) -> float:
    """Windows, or whole images, of a scene's frames through the encoder."""
    encoder = job.settings.encoder
    window = constant.CLIP_FLOP * size_share(job, constant.CLIP_BYTES)
    each = {"openclip": job.windows * window, "lseg": constant.LSEG_FLOP}.get(encoder.kind, 0.0)
    if encoder.kind == "dense_clip":
        proxy = constant.PROXY_FLOP if encoder.attention == "proxy" else 0.0
        each = formulas.dense_windows(job, encoder.side) * (window + proxy)
    return 0.0 if job.gathers else job.frames * each / constant.FLOPS / job.settings.parts


def region_seconds(job: Job) -> float:
    """SAM: the encoder once per frame, the decoder once per prompt. Others work on a CPU."""
    settings = job.settings
    if not settings.reads_weights:
        scales = len(settings.superpixels.scales)
        return constant.SUPERPIXELS * scales * job.frames * job.pixels
    toy = size_share(job, constant.SAM_B_BYTES) if settings.architecture == "toy" else 1.0
    prompts = settings.points_per_side**2 * constant.PROMPT_FLOP
    return job.frames * toy * (constant.SAM_FLOP[settings.architecture] + prompts) / constant.FLOPS


def dino_seconds(job: Job) -> float:
    """ViT-B: 2 x 85 M parameters x tokens, and attention in twelve layers; others by their size.

    Parameters grow with the square of the width, attention with the width.
    """
    tokens, share = job.pixels / PATCH**2, size_share(job, constant.DINO_BYTES)
    flop = 2 * 85e6 * share * tokens + 12 * 4 * 768 * share**0.5 * tokens**2
    return job.frames * flop / constant.FLOPS


def reconstruct_seconds(job: Job) -> float:
    """Every iteration's rays."""
    return constant.RECONSTRUCT * job.settings.iterations * job.settings.batch_rays


def reconstruct_on_cpu(job: Job) -> float:
    """One core against a card: the wider the colour head, the more of the time is spent in it."""
    head = (job.settings.head_width / constant.HEAD_WIDTH) ** 2
    return constant.CPU_RECONSTRUCT * (1 - constant.HEAD_SHARE * (1 - head))


def step_seconds(job: Job) -> float:
    """Optimisation steps: the shared part's up to iteration T, a variant's from there."""
    settings = job.settings
    start = settings.cse.start
    share = start if job.rule == "train_shared" else 1 - start
    return constant.TRAIN * settings.iterations * share * settings.batch_rays / constant.TRAIN_RAYS


def refresh_seconds(job: Job) -> float:
    """Label maps that self-enhancement renders anew, all refreshes together."""
    cse = job.settings.cse
    if job.rule == "train_shared" or not cse.enabled:
        return 0.0
    refreshes = ceil(round((1 - cse.start) / cse.every, 6))
    labelled = job.settings.view_fraction * (job.frames - job.held_out)
    return constant.LABEL_VIEW * refreshes * (labelled + cse.novel_views) * job.pixels


def train_seconds(job: Job) -> float:
    """Optimisation steps and refreshed labels."""
    return step_seconds(job) + refresh_seconds(job)


def train_on_cpu(job: Job) -> float:
    """One core against a card; label maps gain more from a card than steps do."""
    cpu = constant.CPU_TRAIN * step_seconds(job) + constant.CPU_LABEL_VIEW * refresh_seconds(job)
    return cpu / train_seconds(job)


def as_long(times: float) -> Callable[[Job], float]:
    """A rule that one CPU core takes so many times longer for, whatever the job."""
    return lambda job: times


AS_LONG = as_long(1.0)
"""Of rules whose seconds are those of a CPU core."""


@dataclass(frozen=True)
class Cost:
    """How a rule is reckoned.

    Attributes:
        memory: bytes of a job beside the program's own, an upper estimate on CPU.
        seconds: of a job without its start; on a card for rules that compute on one.
        disk: bytes of its results before compression.
        source: where the seconds come from.
        card: whether it computes on a card where there is one.
        on_cpu: how many times longer one CPU core takes for a job than `seconds` says.
        spare_minutes: of its time limit.
    """

    memory: Callable[[Job], Parts]
    seconds: Callable[[Job], float]
    disk: Callable[[Job], float]
    source: str
    card: bool = False
    on_cpu: Callable[[Job], float] = AS_LONG
    spare_minutes: int = constant.SPARE_MINUTES


def per_pixel(
    memory: Callable[[Job], Parts],
    per_megapixel: float = 0.0,
    bytes_per_pixel: float = 0.0,
    spare_minutes: int = constant.SPARE_MINUTES,
) -> Cost:
    """A rule whose seconds and disk follow the number of pixels that it works on.

    Args:
        per_megapixel: seconds, measured on the demo's two rooms, without the start.
    """
    return Cost(
        memory,
        lambda job: per_megapixel * views_of(job) * job.pixels / 1e6,
        lambda job: bytes_per_pixel * views_of(job) * job.pixels,
        constant.OF_THE_DEMO,
        spare_minutes=spare_minutes,
    )


def views_of(job: Job) -> int:
    """Frames that a job works on: rules after the trainings look at the held-out ones alone."""
    held_out = job.rule in ("render_views", "evaluate", "query", "draw_figures")
    return job.held_out if held_out else job.frames


def feature_bytes(job: Job) -> float:
    """Embeddings in halves; a part's are counted with the whole that is put together from them."""
    return 0.0 if job.rule == "cache_features_part" else 2 * job.embeddings


def cube_bytes(field: float) -> float:
    """A field's file on disk where the box is a cube; plans take the most uneven box."""
    return field / constant.UNEVEN


def trained(memory: Callable[[Job], Parts], disk: Callable[[Job], float]) -> Cost:
    """A training of the semantic branch."""
    return Cost(
        memory,
        train_seconds,
        disk,
        constant.OF_THE_PAPER,
        card=True,
        on_cpu=train_on_cpu,
    )


def region_bytes(job: Job) -> float:
    """A mask is runs along its edge, which grows with the image's side: 0.3 MB at 640 x 480."""
    return job.frames * 540 * job.pixels**0.5


FEATURES = Cost(
    formulas.cache_features,
    feature_seconds,
    feature_bytes,
    constant.OF_ARITHMETIC,
    card=True,
    on_cpu=as_long(constant.CPU_ENCODERS),
)
COSTS: dict[str, Cost] = {
    "fetch_weights": per_pixel(formulas.nothing, spare_minutes=constant.DOWNLOAD_MINUTES),
    "make_room": per_pixel(formulas.make_room, 15.0, 3),
    "capture": Cost(
        formulas.capture,
        capture_seconds,
        lambda job: job.frames * (0.5 * job.photo_pixels + 100 * job.settings.features),
        constant.OF_CAPTURES,
    ),
    "sample_frames": per_pixel(formulas.sample_frames, 1.0, 3),
    "read_truth": per_pixel(formulas.read_truth, 0.5, 2),
    "propose_regions": Cost(
        formulas.propose_regions,
        region_seconds,
        region_bytes,
        constant.OF_ARITHMETIC,
        card=True,
        # Superpixels are counted in seconds of a CPU core.
        on_cpu=lambda job: constant.CPU_ENCODERS if job.settings.reads_weights else 1.0,
    ),
    "cache_dino": Cost(
        formulas.cache_dino,
        dino_seconds,
        lambda job: 2 * job.tokens,
        constant.OF_ARITHMETIC,
        card=True,
        on_cpu=as_long(constant.CPU_ENCODERS),
    ),
    "cache_features_part": FEATURES,
    "cache_features": FEATURES,
    "rank_regions": per_pixel(formulas.one_frame, 3.0, 4),
    "fuse_labels": Cost(
        formulas.fuse_labels,
        lambda job: 2 * constant.FUSE * job.frames**2 * job.pixels,
        lambda job: 4 * job.frames * job.pixels,
        constant.OF_THE_DEMO,
    ),
    "score_labels": per_pixel(formulas.one_frame, 0.5),
    "score_agreement": Cost(
        formulas.all_views,
        lambda job: constant.FUSE * min(job.frames, constant.COMPARED) ** 2 * job.pixels,
        lambda job: 0.0,
        constant.OF_THE_DEMO,
    ),
    "reconstruct": Cost(
        formulas.reconstruct,
        reconstruct_seconds,
        lambda job: 1.1 * cube_bytes(job.radiance),
        constant.OF_TENSORF,
        card=True,
        on_cpu=reconstruct_on_cpu,
    ),
    "render_depth": Cost(
        formulas.render_depth,
        lambda job: constant.RENDER * job.frames * job.pixels,
        lambda job: 4 * job.frames * job.pixels,
        constant.OF_THE_PAPER,
        card=True,
        on_cpu=as_long(constant.CPU_TRAIN),
    ),
    # A checkpoint holds the field and Adam's moments; a trained branch its field alone.
    "train_shared": trained(formulas.train_shared, lambda job: 4 * cube_bytes(job.radiance)),
    "train_semantics": trained(formulas.train_semantics, lambda job: cube_bytes(job.semantics)),
    # Its checkpoint is deleted at the end; pictures are small.
    "draw_refreshes": trained(formulas.train_semantics, lambda job: 4 * cube_bytes(job.semantics)),
    "render_views": Cost(
        formulas.render_views,
        lambda job: constant.RENDER * views_of(job) * job.pixels,
        lambda job: 14 * views_of(job) * job.pixels,
        constant.OF_THE_PAPER,
        card=True,
        on_cpu=as_long(constant.CPU_VIEW),
    ),
    "lift": Cost(
        formulas.lift,
        lambda job: constant.RENDER * job.frames * job.pixels,
        lambda job: 4 * job.held_out * job.pixels,
        constant.OF_THE_PAPER,
        card=True,
        on_cpu=as_long(constant.CPU_TRAIN),
    ),
    "evaluate": per_pixel(formulas.one_frame, 2.5),
    "fuse_points": Cost(
        formulas.fuse_points,
        lambda job: constant.RENDER * (job.frames - job.held_out) * job.pixels,
        lambda job: constant.POINT_BYTES * constant.VOXELS_PER_PIXEL * job.pixels,
        constant.OF_THE_PAPER,
        card=True,
        on_cpu=as_long(constant.CPU_TRAIN),
    ),
    "query": per_pixel(formulas.query, 100.0, 20),
    "draw_query": Cost(
        formulas.draw_query,
        lambda job: 100.0 * job.settings.views * job.pixels / 1e6,
        lambda job: 12 * len(job.settings.phrases) * job.settings.views * job.pixels,
        constant.OF_THE_DEMO,
    ),
    "export": Cost(
        formulas.export,
        lambda job: constant.RENDER * job.frames * job.pixels,
        lambda job: (300 * constant.VOXELS_PER_PIXEL + 6 * job.frames) * job.pixels,
        constant.OF_THE_PAPER,
        card=True,
        on_cpu=as_long(constant.CPU_TRAIN),
    ),
    "write_page": per_pixel(formulas.write_page, bytes_per_pixel=4),
    "draw_figures": per_pixel(formulas.panels, 5.0, 3),
    "aggregate": per_pixel(formulas.score_rows),
    "draw_paper": per_pixel(formulas.panels, 2.0, 1),
    "paper_tables": per_pixel(formulas.score_rows),
    "summarise_runs": per_pixel(formulas.nothing),
}
"""Every rule of the workflow, in its order."""


def memory_parts(job: Job) -> Parts:
    """Bytes that a job's process needs on CPU, by what they are for; an upper estimate."""
    return {"program": constant.PROGRAM, **COSTS[job.rule].memory(job)}


def megabytes(parts: Parts) -> float:
    """Sum of the parts, in MB."""
    return sum(parts.values()) / MB


def modelled_seconds(job: Job) -> float:
    """Seconds of a job with its start, on a card where its rule computes on one."""
    return constant.START + COSTS[job.rule].seconds(job)


def reserved_mb(job: Job) -> int:
    """`mem_mb` of a job's first attempt: the estimate and a margin, rounded up."""
    needed = constant.MEMORY_MARGIN * megabytes(memory_parts(job))
    return ceil(needed / constant.ROUNDING_MB) * constant.ROUNDING_MB


def time_limit_minutes(job: Job, device: str) -> int:
    """`runtime` of a job's first attempt.

    Args:
        device: of the config. Only `cpu` is sure to have no card: `auto` may find one.
    """
    slower = constant.TIME_MARGIN
    if device == "cpu":
        slower = max(slower, constant.TIME_MARGIN_ON_CPU * COSTS[job.rule].on_cpu(job))
    return COSTS[job.rule].spare_minutes + ceil(slower * modelled_seconds(job) / 60)
