"""Sizes of planned jobs, and that no stage is refused in the memory that its job is given."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from sized_files import field_file, hollow

from ovnerf.config.run import override, read_yaml
from ovnerf.inspection import model_sizes
from ovnerf.inspection.jobs import PlannedJobs, field_seed, field_suffixes, shared_id
from ovnerf.inspection.photo_size import photo_size
from ovnerf.inspection.plan import files_of_maps, make_plan
from ovnerf.runtime import memory
from ovnerf.runtime.costs import COSTS, reserved_mb
from ovnerf.runtime.errors import UserError
from ovnerf.storage.provenance import REPOSITORY_ROOT

HEAD = "dataset\tscene\tlayout\tpath\tframes\twidth\theight\tclasses\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(config: str, **changes: Any) -> PlannedJobs:
    """The jobs of a config of the repository with `changes`."""
    return PlannedJobs(make_plan(override(read_yaml(REPOSITORY_ROOT / config), changes), config))


def with_row(*cells: str, **changes: Any) -> PlannedJobs:
    """The jobs of the demo's settings on a scene with these cells."""
    Path("sheet.tsv").write_text(HEAD + "\t".join(("mine", "room", *cells)) + "\n")
    return planned("config/config.yaml", scenes="sheet.tsv", **changes)


def wildcards_of(jobs: PlannedJobs, variant: str = "ovnerf") -> dict[str, str]:
    """Those of a job of the first scene and encoder."""
    (dataset, scene), plan = next(iter(jobs.plan.scenes)), jobs.plan
    names = {"dataset": dataset, "scene": scene, "encoder": plan.config.encoders[0]}
    return {**names, "variant": variant, "shared": shared_id(plan.variants[variant][0])}


def test_sizes_of_the_demo(here: Path) -> None:
    jobs = planned("config/config.yaml")
    job = jobs.job("train_semantics", wildcards_of(jobs))
    assert (job.frames, job.width, job.height, job.held_out) == (40, 160, 120, 4)
    # Sides 24, 17 and 12 with strides 12, 8 and 6: 9 x 13, 14 x 19 and 19 x 26 windows.
    assert job.windows == 117 + 266 + 494
    assert job.embeddings == 40 * 877 * 64
    assert job.radiance == pytest.approx(1.5 * 4 * 96 * 1_500_000 ** (2 / 3))
    assert job.weights == (REPOSITORY_ROOT / "ovnerf/toy/weights/sam.safetensors").stat().st_size
    assert not jobs.sizes["demo", "room0"].guessed
    # Two scenes, four variants, one encoder and seed; four views of 100 classes and ten sums.
    assert jobs.job("aggregate", {}).rows == 2 * 4 * 4 * 110


def test_sizes_of_a_scene_that_is_not_there(here: Path) -> None:
    jobs = with_row("colmap", "absent", "", "960", "", "")
    size = jobs.sizes["mine", "room"]
    assert (size.frames, size.width, size.height) == (30, 960, 720)
    assert size.guessed == ("mine/room: 30 frames", "mine/room: 960x720")
    assert size.classes == 100
    jobs = with_row("colmap", "absent", "12", "100", "50", "replica_51")
    size = jobs.sizes["mine", "room"]
    assert (size.frames, size.width, size.height, size.classes) == (12, 100, 50, 51)
    assert not size.guessed


def test_frames_of_an_earlier_run_are_better_than_a_guess(here: Path) -> None:
    stored(Path("results/mine/room/frames.zarr"), rgb=(77, 48, 64, 3))
    size = with_row("colmap", "absent", "", "", "", "").sizes["mine", "room"]
    assert (size.frames, size.width, size.height) == (77, 64, 48)


def scene_folder(folder: Path, count: int, suffix: str) -> None:
    """A Replica folder of grey photos of 60 x 40."""
    for name in ("rgb", "semantic_class"):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        cv2.imwrite(str(folder / f"rgb/rgb_{index}{suffix}"), np.full((40, 60, 3), 128, np.uint8))
    np.savetxt(folder / "traj_w_c.txt", np.tile(np.eye(4).ravel(), (count, 1)))
    names = [{"id": number, "name": f"class {number}"} for number in range(7)]
    (folder / "info_semantic.json").write_text(json.dumps({"classes": names}))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_sizes_of_a_scenes_folder(here: Path, suffix: str) -> None:
    scene_folder(here / "data", 12, suffix)
    (here / "data/semantic_class").rmdir()
    size = with_row("semantic_nerf", "data", "", "", "", "").sizes["mine", "room"]
    assert (size.frames, size.photo, size.classes) == (12, (60, 40), 7)
    assert (size.width, size.height) == (60, 40) and not size.guessed
    size = with_row("semantic_nerf", "data", "", "30", "", "").sizes["mine", "room"]
    assert (size.width, size.height, size.photo) == (30, 20, (60, 40))


def test_photos_of_other_kinds_have_no_size(here: Path) -> None:
    for name, content in {
        "cut.png": b"\x89PNG\r\n\x1a\n12",
        "cut.jpg": b"\xff\xd8\xff\xe0",
        "odd.jpg": b"\xff\xd812345678",
        "photo.bmp": b"BM" + bytes(60),
        "cut.sens": struct.pack("<I", 4),
    }.items():
        (here / name).write_bytes(content)
        assert photo_size(here / name) is None, name
    assert photo_size(here / "absent.png") is None


def test_widths_of_encoders(here: Path) -> None:
    openclip = {"kind": "openclip", "weights": "none.bin"}
    folder = Path("config/encoders")
    folder.mkdir(parents=True)

    def width(**encoder: Any) -> int:
        (folder / "mine.yaml").write_text(yaml.safe_dump(encoder))
        Path("none.bin").touch()
        jobs = with_row("colmap", "absent", "10", "64", "48", "replica_51", encoders=["mine"])
        job = jobs.job("cache_features", wildcards_of(jobs))
        return round(job.embeddings / job.frames / job.windows)

    assert width(**openclip, model="ViT-B-16") == 512
    assert width(**openclip, model="ViT-L-14") == 768
    assert width(**openclip, model="ViT-bigG-14") == 1280
    assert width(kind="lseg", weights="none.bin") == 512
    assert width(kind="dense_clip", weights="none.bin", model="ViT-L-14") == 768
    Path("maps").mkdir()
    np.save("maps/text.npy", np.zeros((51, 768), np.float32))
    Path("maps/manifest.json").write_text(json.dumps({"kind": "features", "text": "text.npy"}))
    assert width(kind="precomputed", folder="maps") == 768
    Path("maps/manifest.json").write_text(json.dumps({"kind": "labels"}))
    assert width(kind="precomputed", folder="maps") == 52


def stored(store: Path, **shapes: tuple[int, ...]) -> Path:
    """What the refusal reads of a store with these arrays."""
    for name, shape in shapes.items():
        (store / name).mkdir(parents=True)
        (store / name / "zarr.json").write_text(json.dumps({"shape": shape}))
    return store


def inputs(
    folder: Path,
    frames: int,
    size: tuple[int, int],
    vectors: tuple[int, int],
    field: int,
    encoder: dict[str, Any],
) -> dict[str, Path]:
    """Stores and fields as the stages write them, all frames being trained on.

    Args:
        vectors: windows of a frame and width of an embedding.
        field: bytes of the radiance field; the semantic branch's has a quarter more.
    """
    height, width = size
    hollow(folder / "radiance/field.safetensors", field)
    field_file(folder / "semantics/field.safetensors", field * 5 // 4, frames, size, encoder)
    return {
        "frames": stored(folder / "frames.zarr", rgb=(frames, height, width, 3)),
        "features": stored(
            folder / "features.zarr", embedding=(frames, *vectors), text_ensemble=(51, vectors[1])
        ),
        "dino": stored(folder / "dino.zarr", token=(frames, height // 8, width // 8, 768)),
        "radiance": folder / "radiance",
        "semantics": folder / "semantics",
    }


@pytest.mark.parametrize(
    ("config", "frames", "size", "vectors", "side"),
    [
        ("config/config.yaml", 40, (120, 160), (877, 64), 115),
        ("config/replica.yaml", 300, (480, 640), (3205, 512), 640),
    ],
)
def test_no_stage_is_refused_in_the_memory_of_its_own_job(
    here: Path,
    config: str,
    frames: int,
    size: tuple[int, int],
    vectors: tuple[int, int],
    side: int,
) -> None:
    """The demo and a scene of the paper's; boxes are flat: planes a third larger than a cube's."""
    jobs = planned(config)
    given_mb = {stage: reserved_mb(jobs.job(stage, wildcards_of(jobs))) for stage in memory.CHECKED}
    fetched = {"sam_vit_h_4b8939.pth": 2446, "clip_vit_b16_openai.safetensors": 571}
    for name, megabytes in {**fetched, "dino_vitb8.safetensors": 327}.items():
        hollow(here / "weights" / name, megabytes * 2**20)
    field = round(4 / 3 * 4 * 96 * side**2)
    encoder = jobs.plan.encoders[wildcards_of(jobs)["encoder"]].encoder.model_dump()
    options: dict[str, Any] = inputs(here / "made", frames, size, vectors, field, encoder)
    for stage in memory.CHECKED:
        job = jobs.job(stage, wildcards_of(jobs))
        given = {**options, "settings": job.settings, "region_settings": job.regions}
        expected = memory.expected_mb(stage, given)
        assert expected is not None
        assert expected <= given_mb[stage] < 1.6 * expected + 200, stage


def test_weights_that_are_not_there_are_taken_for_their_own_size(here: Path) -> None:
    jobs = planned("config/replica.yaml")
    sizes = {
        rule: jobs.job(rule, wildcards_of(jobs)).weights
        for rule in ("propose_regions", "train_semantics", "cache_features", "cache_dino")
    }
    sam = model_sizes.WEIGHT_BYTES["vit_h"]
    assert sizes == {
        "propose_regions": sam,
        "train_semantics": sam,
        "cache_features": model_sizes.WEIGHTS,
        "cache_dino": model_sizes.WEIGHT_BYTES["vit_base_patch8_224.dino"],
    }
    Path("weights").mkdir()
    Path("weights/dino_vitb8.safetensors").write_bytes(bytes(1234))
    jobs = planned("config/replica.yaml")
    assert jobs.job("cache_dino", wildcards_of(jobs)).weights == 1234


def test_variants_and_scenes_have_their_own_settings(here: Path) -> None:
    jobs = planned("config/benchmark.yaml")
    names = {"dataset": "scannet", "scene": "scene0004_00", "encoder": "clip"}
    baseline = jobs.job("train_semantics", {**names, "variant": "baseline"})
    assert not baseline.settings.cse.enabled and baseline.settings.view_fraction == 0.5
    ours = jobs.job("train_semantics", {**names, "variant": "ovnerf"})
    assert ours.settings.cse.enabled and reserved_mb(ours) > 2 * reserved_mb(baseline)
    shared = {**names, "shared": shared_id(jobs.plan.variants["rsr"][0])}
    assert jobs.job("train_shared", shared).settings.labels == "rsr"
    assert jobs.job("read_truth", names).settings.layout == "scannet"
    folder = "data/precomputed/fcclip/scannet/scene0004_00"
    maps = jobs.job("cache_features", {**names, "encoder": "fcclip"})
    assert maps.settings.encoder.folder == folder


def test_runs_take_the_fields_in_turn(here: Path) -> None:
    one = planned("config/config.yaml")
    assert field_suffixes(one.plan.config) == ("",)
    assert field_seed(one.plan.config, "0") is None and field_seed(one.plan.config, "9") is None
    assert one.settings("reconstruct", {**wildcards_of(one), "of_seed": ""}).seed == 20211202
    fields = {**read_yaml(REPOSITORY_ROOT / "config/config.yaml")["reconstruct"], "seeds": [5, 6]}
    two = planned("config/config.yaml", seeds=[4, 0, 2], reconstruct=fields)
    assert field_suffixes(two.plan.config) == ("-seed5", "-seed6")
    assert [field_seed(two.plan.config, seed) for seed in ("4", "0", "2")] == [5, 6, 5]
    job = two.settings("reconstruct", {**wildcards_of(two), "of_seed": "-seed6"})
    assert (job.seed, job.seeds) == (6, ())
    with pytest.raises(UserError, match="seed 9: expected one of `seeds`, \\[4, 0, 2\\]"):
        field_seed(two.plan.config, "9")


def test_every_rule_of_the_benchmark_is_given_something(here: Path) -> None:
    jobs = planned("config/benchmark.yaml")
    for rule in set(COSTS) - {"make_room"}:
        assert reserved_mb(jobs.job(rule, wildcards_of(jobs))) >= 1400, rule


def captured(source: str, classes: str = "nyu_40", layout: str = "", **changes: Any) -> PlannedJobs:
    """The jobs of the demo's settings on a scene that `capture` makes."""
    head, cells = (
        "dataset\tscene\tcapture\tclasses\tlayout\twidth\n",
        (source, classes, layout, "320"),
    )
    Path("sheet.tsv").write_text(head + "\t".join(("mine", "room", *cells)) + "\n")
    return planned("config/config.yaml", scenes="sheet.tsv", **changes)


def test_a_captured_scene_is_planned_before_its_video_is_opened(here: Path) -> None:
    """A plan opens no video; of photos it reads the first one's header and counts them."""
    jobs = captured("walk.mp4", capture={"frames": 40})
    assert jobs.plan.warnings[0].startswith("walk.mp4: no such video")
    job = jobs.job("sample_frames", wildcards_of(jobs))
    assert (job.frames, job.width, job.height) == (40, 320, 180)
    files = jobs.plan.files["mine", "room"]
    assert files.images == ("results/mine/room/captured", files.class_file)
    (here / "photos").mkdir()
    for number in range(12):
        cv2.imwrite(f"photos/{number}.png", np.zeros((2000, 3000, 3), np.uint8))
    jobs = captured("photos")
    job = jobs.job("capture", wildcards_of(jobs))
    assert (job.frames, job.photo_pixels) == (12, 1600 * 1067)
    assert len(jobs.plan.files["mine", "room"].sources) == 12


def test_a_class_list_is_an_input_of_scenes_that_the_workflow_makes(here: Path) -> None:
    """Else editing it would rerun nothing: settings hold the list's name."""
    Path("mine.txt").write_text("wall\nfloor\n")
    assert captured("walk.mp4", "mine.txt").plan.files["mine", "room"].images[1:] == ("mine.txt",)
    for classes, listed in (("mine.txt", ("mine.txt",)), ("", ())):
        Path("sheet.tsv").write_text(f"dataset\tscene\ttoy_seed\tclasses\na\tb\t3\t{classes}\n")
        files = planned("config/config.yaml", scenes="sheet.tsv").plan.files["a", "b"]
        assert files.images[1:] == files.labels[1:] == listed
        assert files.images[0] == "results/a/b/room/room.json"


def test_every_file_below_a_folder_of_maps_is_an_input(here: Path) -> None:
    """A manifest may name maps in sub-folders and arrays that are folders."""
    inside = ("0.png", "b.zarr/c/0/0", "b.zarr/zarr.json", "manifest.json", "sub/0.png")
    for name in inside:
        (here / "maps" / name).parent.mkdir(parents=True, exist_ok=True)
        (here / "maps" / name).touch()
    assert files_of_maps("maps") == [f"maps/{name}" for name in inside]


@pytest.mark.parametrize(
    ("classes", "layout", "expected"),
    [("", "", "is captured and has no classes"), ("nyu_40", "replica", "layout: captured scenes")],
)
def test_a_captured_scene_that_cannot_be_read_is_refused(
    here: Path, classes: str, layout: str, expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        captured("walk.mp4", classes, layout)


def test_the_capture_demo_is_planned_before_the_room_is_filmed(here: Path) -> None:
    overlay = read_yaml(REPOSITORY_ROOT / "config/overlays/capture_demo.yaml")
    jobs = planned("config/config.yaml", **overlay)
    (warning,) = jobs.plan.warnings
    assert warning.startswith("results/capture_demo/walk.mp4: no such video")
    assert jobs.plan.files["filmed", "room"].folder == "results/capture_demo/filmed/room/captured"
    assert jobs.job("query", wildcards_of(jobs)).classes == 15


def test_no_job_of_the_laptop_s_config_needs_eight_gigabytes(here: Path) -> None:
    jobs = planned("config/laptop.yaml")
    wildcards = wildcards_of(jobs)
    rules = [rule for rule in COSTS if rule not in ("make_room", "cache_features_part")]
    assert max(reserved_mb(jobs.job(rule, wildcards)) for rule in rules) < 8 * 1024
