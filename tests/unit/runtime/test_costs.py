"""The cost model by hand: a small scene, and one of the paper's size."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import get_args

import pytest
import yaml

from ovnerf.config.features import CacheDino, CacheFeatures, DenseClip, LSeg, OpenClip
from ovnerf.config.field import Reconstruct
from ovnerf.config.frames import MakeRoom
from ovnerf.config.regions import ProposeRegions
from ovnerf.config.semantics import TrainSemantics
from ovnerf.runtime import costs
from ovnerf.runtime.job import Job
from ovnerf.runtime.memory_formulas import region_parts
from ovnerf.stages import fuse_labels
from ovnerf.storage.provenance import REPOSITORY_ROOT

MB = 2**20
CLIP = OpenClip(kind="openclip", model="ViT-B-16", weights="none")
SMALL = Job("any", frames=10, height=48, width=64, held_out=1, photo_pixels=1000, classes=8)
PAPER = Job(
    "any",
    frames=300,
    height=480,
    width=640,
    held_out=30,
    photo_pixels=640 * 480,
    classes=51,
    windows=3205,
    embeddings=300 * 3205 * 512,
    tokens=300 * 4800 * 768,
    radiance=100e6,
    semantics=140e6,
)


def of(rule: str, job: Job = PAPER, settings: object = None, **sizes: object) -> Job:
    return replace(job, rule=rule, settings=settings, **sizes)  # type: ignore[arg-type]


def test_every_rule_of_the_workflow_has_a_cost_and_no_other() -> None:
    rules = REPOSITORY_ROOT / "workflow" / "rules"
    text = "".join(path.read_text(encoding="utf-8") for path in rules.glob("*.smk"))
    assert set(re.findall(r"(?m)^rule (\w+):", text)) == set(costs.COSTS)


def test_every_formula_states_itself() -> None:
    for rule, cost in costs.COSTS.items():
        assert "\n\n    Bytes: " in (cost.memory.__doc__ or ""), rule


def test_the_reconstructions_memory() -> None:
    settings = Reconstruct(voxels_start=8, voxels_end=1_000_000, batch_rays=100)
    found = costs.memory_parts(of("reconstruct", SMALL, settings))
    assert found["program"] == 1100 * MB
    assert found["photos"] == 6 * 10 * 48 * 64
    # 24 + 72 components on 100 x 100 cells, half more for uneven boxes; 5 copies of 4 bytes.
    assert found["grids"] == pytest.approx(4 * 5 * 1.5 * 96 * 100**2 + 6e6)
    # The diagonal of 100 voxels in half steps: 346 samples, half more for uneven boxes.
    assert found["rays"] == pytest.approx(100 * 3**0.5 * 100 / 0.5 * 1.5 * 300)


def test_the_reconstructions_memory_at_the_papers_size() -> None:
    found = costs.memory_parts(of("reconstruct", settings=Reconstruct()))
    # 640^3 voxels: photos 553 MB; planes 20 x 1.5 x 96 x 640^2 = 1.18 GB and 6 bytes a voxel;
    # 4096 rays of 2217 samples, half more, 300 bytes.
    assert found["photos"] == 552_960_000
    assert found["grids"] == pytest.approx(1_179_648_000 + 1_572_864_000)
    assert found["rays"] == pytest.approx(4096 * 640 * 3**0.5 * 2 * 1.5 * 300)
    # 1153 + 553 + 2753 + 4086 = 8545 million bytes; a quarter more, in 100 MB of 2^20.
    assert costs.reserved_mb(of("reconstruct", settings=Reconstruct())) == 10_200


def test_the_trainings_memory_at_the_papers_size() -> None:
    found = costs.memory_parts(of("train_shared", settings=TrainSemantics()))
    assert found["features"] == 4 * 300 * 3205 * 512
    assert found["dino"] == 3 * 300 * 4800 * 768
    assert found["labels"] == 8 * 300 * 640 * 480
    assert found["grids"] == 5 * 100e6
    sam = ProposeRegions()
    job = of("train_semantics", settings=TrainSemantics(), regions=sam, weights=2_500_000_000)
    more = costs.memory_parts(job)
    assert more["model"] == 2 * 2_500_000_000 + 6000 * MB
    assert more["refresh"] == 1024 * MB + (32 * (300 + 60) + 600) * 640 * 480
    assert {part: more[part] for part in found} == found
    plain = TrainSemantics(cse={"enabled": False})  # type: ignore[arg-type]
    assert costs.memory_parts(of("train_semantics", settings=plain)) == found


def test_attention_grows_with_the_square_of_the_tokens() -> None:
    found = costs.memory_parts(of("cache_dino", settings=CacheDino()))
    assert found["tokens"] == 96 * 4800**2 + 64_000 * 4800


def test_the_memory_of_rules_that_hold_all_frames() -> None:
    found = costs.memory_parts(of("sample_frames", SMALL))
    assert found["photos"] == 6 * 10 * 48 * 64 and found["box"] == 240 * 1000 + 20 * MB
    found = costs.memory_parts(of("read_truth", SMALL))
    assert found["labels"] == 48 * 64 * (10 * (8 + 1) + 8)
    # Ten small views have fewer pixels than profiles are taken from at most.
    found = costs.memory_parts(of("fuse_labels", SMALL))
    assert found["views"] == 16 * 10 * 48 * 64 and found["frame"] == 17 * 10 * 48 * 64 * 8
    middle = replace(PAPER, height=120, width=160, classes=60)
    found = costs.memory_parts(of("fuse_labels", middle))
    assert found["frame"] == 17 * fuse_labels.PROFILE_VIEWS * fuse_labels.PROFILE_PIXELS * 60
    assert costs.memory_parts(of("fuse_labels"))["frame"] == 480 * 640 * (20 * 51 + 1000)
    room = of("make_room", SMALL, MakeRoom(supersampling=3))
    assert costs.memory_parts(room)["rays"] == 500 * 48 * 64 * 9


@pytest.mark.parametrize(
    "architecture", get_args(ProposeRegions.model_fields["architecture"].annotation)
)
def test_every_source_of_regions_has_a_figure(architecture: str) -> None:
    settings = ProposeRegions(architecture=architecture)  # type: ignore[arg-type]
    parts = region_parts(SMALL, settings)
    assert parts.get("model", 0) >= 100 * MB if settings.reads_weights else "model" not in parts


def test_the_cost_of_superpixels() -> None:
    # At most 200 of half a percent of the pixels at each of two scales; masks are held twice.
    superpixels = {"scales": (300, 100), "min_share": 0.005}
    job = of(
        "propose_regions",
        SMALL,
        ProposeRegions(architecture="superpixels", superpixels=superpixels),
    )
    pixels = 48 * 64
    assert region_parts(job, job.settings) == {"graph": 400 * pixels, "masks": 800 * pixels}
    assert costs.modelled_seconds(job) == pytest.approx(4 + 2e-6 * 2 * 10 * pixels)


def test_seconds_on_a_card() -> None:
    # 40 iterations of 256 rays, where 30 000 of 4096 take 17.4 minutes.
    settings = Reconstruct(iterations=40, batch_rays=256)
    seconds = costs.modelled_seconds(of("reconstruct", SMALL, settings))
    assert seconds == pytest.approx(4 + 1044 * 40 * 256 / (30_000 * 4096))
    # 15 000 iterations take an hour, two thirds of it in the shared part.
    assert costs.modelled_seconds(of("train_shared", settings=TrainSemantics())) == 4 + 2400
    rest = costs.modelled_seconds(of("train_semantics", settings=TrainSemantics()))
    # Five refreshes of 0.8 x 270 labelled and 60 novel views, each 0.26 s.
    assert rest == pytest.approx(4 + 1200 + 5 * (216 + 60) * 0.26)
    # 3.8 s for each of the 30 held-out views.
    assert costs.modelled_seconds(of("render_views")) == pytest.approx(4 + 30 * 3.8)
    # 300 frames of 3205 windows of 35 GFLOP at 5 TFLOP/s; a third of them in each of three parts.
    three = CacheFeatures(encoder=CLIP, parts=3)
    part = costs.modelled_seconds(of("cache_features_part", settings=three))
    assert part == pytest.approx(4 + 300 * 3205 * 35e9 / 5e12 / 3)
    assert costs.modelled_seconds(of("cache_features", settings=three, gathers=True)) == 4
    lseg = CacheFeatures(encoder=LSeg(kind="lseg", weights="none"))
    assert costs.modelled_seconds(of("cache_features", settings=lseg)) == pytest.approx(4 + 90)
    # 640 x 480 becomes 448 x 336: 3 x 2 windows of 224 at steps of 112, for each of 300 frames.
    dense = CacheFeatures(encoder=DenseClip(kind="dense_clip", model="ViT-B-16", weights="none"))
    seconds = costs.modelled_seconds(of("cache_features", settings=dense))
    assert seconds == pytest.approx(4 + 300 * 6 * 35e9 / 5e12)


def test_seconds_on_a_core() -> None:
    def seconds(rule: str, settings: object) -> float:
        job = of(rule, settings=settings)
        return costs.COSTS[rule].on_cpu(job) * costs.COSTS[rule].seconds(job)

    ray = 1044 / (30_000 * 4096)
    for width, times in ((128, 24), (64, 24 * (0.35 + 0.65 / 4))):
        short = Reconstruct(iterations=40, batch_rays=256, head_width=width)
        assert seconds("reconstruct", short) == pytest.approx(times * 40 * 256 * ray)
    every = {"start": 0.5, "every": 0.2, "novel_views": 4}
    short = TrainSemantics.model_validate({"iterations": 1500, "batch_rays": 1024, "cse": every})
    # Half of the iterations, at a quarter of the rays, and refreshes at 0.5, 0.7 and 0.9.
    steps = 2 * 360 / 2 / 4
    assert seconds("train_shared", short) == pytest.approx(steps)
    views = 3 * (216 + 4)
    assert seconds("train_semantics", short) == pytest.approx(steps + views * 25 * 0.26)
    off = short.model_copy(update={"cse": short.cse.model_copy(update={"enabled": False})})
    assert seconds("train_semantics", off) == pytest.approx(steps)


def test_memory_of_dense_clip() -> None:
    # Six windows, or a batch of fewer, and 64 channels of 640 x 480 in three copies of floats.
    encoder = DenseClip(kind="dense_clip", model="ViT-B-16", weights="none")
    for batch, windows in ((256, 6), (4, 4)):
        job = of("cache_features", settings=CacheFeatures(encoder=encoder, batch=batch))
        parts = costs.COSTS["cache_features"].memory(job)
        assert parts == {
            "model": 2 * job.weights,
            "windows": windows * job.weights / 64,
            "pixels": 64 * 640 * 480 * 4 * 3,
        }


def test_disk_of_a_scene() -> None:
    def disk(rule: str) -> float:
        return costs.COSTS[rule].disk(of(rule))

    assert disk("sample_frames") == 300 * 640 * 480 * 3
    assert disk("cache_dino") == 300 * 4800 * 768 * 2
    assert disk("cache_features") == 300 * 3205 * 512 * 2 and disk("cache_features_part") == 0
    assert disk("render_views") == 30 * 640 * 480 * 14
    # A plan's field is that of the most uneven box, half more than a cube's.
    assert disk("train_shared") == pytest.approx(4 * 100e6 / 1.5)
    assert disk("train_semantics") == pytest.approx(140e6 / 1.5)


def test_time_limits() -> None:
    shared = of("train_shared", settings=TrainSemantics())
    # Half an hour, and six times 2404 seconds; one core takes about twice as long as the card,
    # and twice that is less than six times.
    assert costs.time_limit_minutes(shared, "auto") == 30 + 241
    assert costs.time_limit_minutes(shared, "cpu") == 30 + 241
    dino = of("cache_dino", settings=CacheDino())
    seconds = costs.modelled_seconds(dino)
    assert 30 + 6 * seconds / 60 <= costs.time_limit_minutes(dino, "cuda") < 31 + 6 * seconds / 60
    cpu = costs.time_limit_minutes(dino, "cpu")
    assert 30 + 100 * seconds / 60 <= cpu < 31 + 100 * seconds / 60
    assert costs.time_limit_minutes(Job("fetch_weights"), "auto") == 241


def test_the_rules_that_compute_on_a_card_ask_slurm_for_one() -> None:
    profile = REPOSITORY_ROOT / "workflow/profiles/slurm/config.yaml"
    asking = yaml.safe_load(profile.read_text(encoding="utf-8"))["set-resources"]
    assert set(asking) == {rule for rule, cost in costs.COSTS.items() if cost.card}
