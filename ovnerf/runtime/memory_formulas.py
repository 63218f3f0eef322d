"""How much memory a job of each rule needs: upper estimates in bytes, on CPU.

Each docstring says what is held, then `Bytes:` and the formula that docs/faults.md prints: n frames
of P pixels, V voxels of the last grid, g = V^(1/3), R rays per batch, and sizes by their names.
`python workflow/scripts/describe_costs.py` writes the table there after a change.
"""

from __future__ import annotations

from math import ceil
from typing import Any

from ovnerf.config.regions import ProposeRegions
from ovnerf.runtime import cost_constants as constant
from ovnerf.runtime.cost_constants import MB, PATCH
from ovnerf.runtime.job import Job, Parts

RANKS = 88
"""Numbers that a cell of the radiance field's planes holds, at the default ranks."""


def nothing(job: Job) -> Parts:
    """A small job, whatever the scene.

    Bytes: 0
    """
    return {}


def make_room(job: Job) -> Parts:
    """One frame's rays at a time.

    Bytes: 500 P supersampling^2
    """
    return {"rays": 500 * job.pixels * job.settings.supersampling**2}


def capture(job: Job) -> Parts:
    """SIFT features of one photo, descriptors of all, points and their views in COLMAP.

    Bytes: 240 photo pixels + 600 n features + 100 kB n
    """
    features = (600 * job.settings.features + 100_000) * job.frames
    return {"photo": constant.SIFT_BYTES * job.photo_pixels, "features": features}


def sample_frames(job: Job) -> Parts:
    """All frames, and SIFT features of one photo.

    Bytes: 6 n P + 240 photo pixels + 2 MB n
    """
    work = constant.SIFT_BYTES * job.photo_pixels + 2 * MB * job.frames
    return {"photos": photos_bytes(job), "box": work}


def read_truth(job: Job) -> Parts:
    """All label maps, twice while they are counted; class masks where the layout has them.

    Bytes: n P (8 + classes / 8) + classes P
    """
    maps = job.frames * job.pixels * (8 + job.classes / 8)
    return {"labels": maps + job.classes * job.pixels}


def region_parts(job: Job, settings: ProposeRegions) -> Parts:
    """SAM on one frame: weights as f32 and their file, the encoder, masks of a batch of prompts.

    Superpixels on one frame: the graph and the masks. True regions: masks alone.
    """
    if settings.architecture == "truth":
        return {"masks": 1000 * job.pixels}
    if settings.architecture == "superpixels":
        superpixels = settings.superpixels
        count = len(superpixels.scales) / superpixels.min_share
        return {"graph": constant.GRAPH_BYTES * job.pixels, "masks": 2 * count * job.pixels}
    masks = 3 * settings.points_per_batch * job.pixels
    return {
        "model": 2 * job.weights + constant.ENCODING[settings.architecture],
        "masks": 12 * masks + settings.points_per_side**2 * job.pixels,
    }


def propose_regions(job: Job) -> Parts:
    """One frame at a time; run lengths of all frames are joined at the end.

    Bytes: 2 weights + encoder (vit_h 6 GB) + 36 P points_per_batch + P points_per_side^2 + n P;
    superpixels: 400 P + 2 P scales / min_share + n P
    """
    return {**region_parts(job, job.settings), "runs": job.frames * job.pixels}


def dense_windows(job: Job, side: int) -> int:
    """Windows of 224 pixels that overlap by half, on a frame with this shorter side."""
    whole, half = constant.CLIP_SIDE, constant.CLIP_SIDE // 2
    scale = side / min(job.height, job.width)
    rows, columns = (
        max(0, ceil((round(length * scale) - whole) / half)) + 1
        for length in (job.height, job.width)
    )
    return rows * columns


def cache_features(job: Job) -> Parts:
    """One batch of windows; none where the job only joins the stores of its parts.

    Bytes: 2 weights + batch weights / 64 (dense CLIP: its few windows, and 768 P)
    """
    if job.gathers:
        return {}
    if job.settings.encoder.kind == "dense_clip":
        count = min(job.settings.batch, dense_windows(job, job.settings.encoder.side))
        return {
            "model": 2 * job.weights,
            "windows": count * job.weights * constant.WINDOW_SHARE,
            "pixels": 3 * 4 * constant.DENSE_CHANNELS * job.pixels,
        }
    windows = job.settings.batch * job.weights * constant.WINDOW_SHARE
    return {"model": 2 * job.weights, "windows": windows}


def cache_dino(job: Job) -> Parts:
    """Attention of one frame's T = P / 64 tokens, 12 heads, twice; activations.

    Bytes: 2 weights + 96 T^2 + 64000 T
    """
    tokens = job.pixels / PATCH**2
    return {"model": 2 * job.weights, "tokens": 12 * 4 * 2 * tokens**2 + 64_000 * tokens}


def one_frame(job: Job) -> Parts:
    """Class scores and region masks of one frame.

    Bytes: P (24 classes + 1000)
    """
    return {"frame": job.pixels * (24 * job.classes + 1000)}


def photos_bytes(job: Job) -> int:
    """u8 colours, twice while they are picked from the store."""
    return 6 * job.frames * job.pixels


def march_bytes(rays: float, voxels: float, step_ratio: float) -> float:
    """Samples of rays through the whole box."""
    samples = 3**0.5 * voxels ** (1 / 3) / step_ratio * constant.UNEVEN
    return rays * samples * constant.SAMPLE_BYTES


def reconstruct(job: Job) -> Parts:
    """Photos, grids at their last size with Adam, occupancy, one batch.

    Bytes: 6 n P + 30 ranks g^2 + 6 V + R 2.6 g / step_ratio 300
    """
    settings = job.settings
    voxels = max(settings.voxels_start, settings.voxels_end)
    ranks = sum(settings.density_ranks) + sum(settings.appearance_ranks)
    planes = constant.UNEVEN * ranks * voxels ** (2 / 3)
    return {
        "photos": photos_bytes(job),
        "grids": 4 * constant.GRID_COPIES * planes + 6 * voxels,
        "rays": march_bytes(settings.batch_rays, voxels, settings.step_ratio),
    }


def render_depth(job: Job) -> Parts:
    """All photos, the field, one view's weights.

    Bytes: 6 n P + 3 fields + 1000 P
    """
    view = 1000 * job.pixels
    return {"photos": photos_bytes(job), "grids": 3 * job.radiance, "view": view}


def all_views(job: Job) -> Parts:
    """Distances and labels or shares of all views; class sums of one view, masks of one frame.

    Bytes: 16 n P + P (20 classes + 1000)
    """
    views = 16 * job.frames * job.pixels
    return {"views": views, "frame": job.pixels * (20 * job.classes + 1000)}


def fuse_labels(job: Job) -> Parts:
    """As `all_views`; before it the mean shares of the pixels that profiles are taken from.

    Bytes: 16 n P + the larger of P (20 classes + 1000) and 17 classes min(n P, 131 072)
    """
    parts = all_views(job)
    pixels = min(job.frames * job.pixels, constant.PROFILE_PIXELS)
    return parts | {"frame": max(parts["frame"], 17 * pixels * job.classes)}


def own_share(settings: Any) -> float:
    """Planes of the semantic head's own volume over those of the radiance field."""
    return sum(settings.own_ranks) / RANKS if settings.feature_volume == "own" else 0.0


def train_shared(job: Job) -> Parts:
    """Photos, labels, CLIP vectors as f32, DINO tokens, the field with Adam, one batch.

    The field grows by a volume of the head's own, where it has one.

    Bytes: 14 n P + 4 CLIP numbers + 3 DINO numbers + 5 field + a quarter of the rays'
    """
    settings = job.settings
    voxels = (job.radiance / 4 / RANKS / constant.UNEVEN) ** 1.5
    crop = (settings.dino.crop_side * min(job.height, job.width) / PATCH) ** 2
    rays = 2 * settings.batch_rays + settings.dino.crops * crop
    return {
        "photos": photos_bytes(job),
        "labels": 8 * job.frames * job.pixels,
        "features": 4 * job.embeddings,
        "dino": 3 * job.tokens,
        "grids": constant.GRID_COPIES * job.radiance * (1 + own_share(settings)),
        "rays": constant.OCCUPIED * march_bytes(rays, voxels, 0.5),
    }


def train_semantics(job: Job) -> Parts:
    """As the shared part; with CSE the views' weights, regions and pseudo labels, and the field
    as it was reconstructed.

    Bytes: train_shared + propose_regions' + cache_mb + field + 32 (n + novel views) P + 600 P
    """
    parts, cse = train_shared(job), job.settings.cse
    if not cse.enabled:
        return parts
    refreshed = (job.frames + cse.novel_views) * job.pixels
    regions = region_parts(job, job.regions) if cse.novel_views and job.regions else {}
    refresh = cse.cache_mb * MB + 32 * refreshed + 600 * job.pixels
    return {**parts, **regions, "reconstruction": job.radiance, "refresh": refresh}


def render_views(job: Job) -> Parts:
    """Two fields, the rendered frames' photos, one view's weights and its tiles.

    Bytes: 6 n P + 3 fields + 1000 P
    """
    fields = 3 * (job.radiance + job.semantics)
    return {"photos": photos_bytes(job), "grids": fields, "view": 1000 * job.pixels}


def lift(job: Job) -> Parts:
    """Photos, the field, sums of all voxels, one view's scores and weights.

    Bytes: 6 n P + 3 fields + 4 voxels (2 classes + 1) + P (40 classes + 1000)
    """
    voxels = 4 * job.settings.voxels * (2 * job.classes + 1)
    view = job.pixels * (40 * job.classes + 1000)
    grids = 3 * job.radiance + voxels
    return {"photos": photos_bytes(job), "grids": grids, "view": view}


def fuse_points(job: Job) -> Parts:
    """The field, one view with its colours and ray features, sums of the voxels that are seen.

    A voxel is as wide as a pixel, so there are about as many as pixels in ten views.

    Bytes: 3 field + 1500 P + 12500 P
    """
    voxels = constant.VOXELS_PER_PIXEL * job.pixels
    return {
        "grids": 3 * job.semantics,
        "view": 1500 * job.pixels,
        "points": constant.VOXEL_BYTES * voxels,
    }


def query(job: Job) -> Parts:
    """The field, its points, one view with its ray features, a score map per view and phrase.

    Bytes: 3 field + 3 weights + 5500 P + 8 P phrases (held-out views + 8)
    """
    voxels = constant.VOXELS_PER_PIXEL * job.pixels
    places = job.held_out * job.pixels + voxels
    return {
        "grids": 3 * job.semantics,
        "points": 400 * voxels,
        "view": 1500 * job.pixels,
        "text": 3 * job.weights,
        "scores": 8 * len(job.settings.phrases) * places,
    }


def draw_query(job: Job) -> Parts:
    """The field, its points, all views with their ray features, CLIP's scores of one of them.

    Bytes: 3 field + 3 weights + 5500 P + 200 P views
    """
    return {
        "grids": 3 * job.semantics,
        "points": 400 * constant.VOXELS_PER_PIXEL * job.pixels,
        "view": 1500 * job.pixels,
        "text": 3 * job.weights,
        "maps": 200 * job.settings.views * job.pixels,
    }


def export(job: Job) -> Parts:
    """The field, its points, one view with its ray features, the mesh's grid at its largest.

    Bytes: 3 field + 5500 P + 400 MB
    """
    return {
        "grids": 3 * job.semantics,
        "points": 400 * constant.VOXELS_PER_PIXEL * job.pixels,
        "view": 1500 * job.pixels,
        "mesh": 400 * MB,
    }


def write_page(job: Job) -> Parts:
    """The field, its points, the page with at most a given number of them.

    Bytes: 3 field + 4000 P + 150 max_points
    """
    return {
        "grids": 3 * job.semantics,
        "points": 400 * constant.VOXELS_PER_PIXEL * job.pixels,
        "page": 150 * job.settings.max_points,
    }


def panels(job: Job) -> Parts:
    """Pictures of one view side by side.

    Bytes: 1000 P
    """
    return {"panels": 1000 * job.pixels}


def score_rows(job: Job) -> Parts:
    """All rows of scores.

    Bytes: 1000 rows
    """
    return {"rows": constant.ROW_BYTES * job.rows}
