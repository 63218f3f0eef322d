from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from asking_fixtures import write_field
from sized_files import field_file

from ovnerf import cli
from ovnerf.config.export import Export
from ovnerf.config.features import CacheDino, CacheFeatures, OpenClip
from ovnerf.config.field import Reconstruct
from ovnerf.config.points import FusePoints
from ovnerf.config.query import Query
from ovnerf.config.query_figures import DrawQuery
from ovnerf.config.regions import ProposeRegions
from ovnerf.config.semantics import TrainSemantics as Semantics
from ovnerf.config.views import RenderViews
from ovnerf.runtime import memory
from ovnerf.runtime.errors import UserError
from ovnerf.storage.stores import write_store

MB = 2**20


def shaped(store: Path, **shapes: tuple[int, ...]) -> Path:
    """What `array_shape` reads of a store with these arrays."""
    for name, shape in shapes.items():
        (store / name).mkdir(parents=True)
        (store / name / "zarr.json").write_text(json.dumps({"shape": shape}))
    return store


def weights(path: Path, size_mb: int) -> str:
    """An empty file of a size that takes no room on the disk."""
    path.touch()
    os.truncate(path, size_mb * MB)
    return str(path)


@pytest.fixture
def options(tmp_path: Path) -> dict:
    """900 frames of 640x480, 3000 CLIP windows of 512 numbers, and a field of 100 MB."""
    encoder = {"kind": "openclip", "weights": weights(tmp_path / "encoder.bin", 600)}
    field_file(tmp_path / "radiance/field.safetensors", 100 * MB, 900, (480, 640), encoder)
    return {
        "frames": shaped(tmp_path / "frames.zarr", rgb=(900, 480, 640, 3)),
        "features": shaped(
            tmp_path / "features.zarr", embedding=(720, 3000, 512), text_ensemble=(51, 512)
        ),
        "dino": shaped(tmp_path / "dino.zarr", token=(720, 60, 80, 768)),
        "radiance": tmp_path / "radiance",
        "semantics": tmp_path / "radiance",
    }


def parts(stage: str, options: dict, settings: object, **more: object) -> dict[str, float]:
    found = memory.need(stage, {**options, "settings": settings, **more})
    assert found is not None
    return found


def test_sizes_are_those_of_the_inputs(options: dict, tmp_path: Path) -> None:
    clip = OpenClip(kind="openclip", model="x", weights=weights(tmp_path / "clip.bin", 7))
    job = memory.job_of("cache_features", {**options, "settings": CacheFeatures(encoder=clip)})
    assert (job.frames, job.height, job.width, job.weights) == (900, 480, 640, 7 * MB)
    assert (job.embeddings, job.classes) == (720 * 3000 * 512, 51)
    assert (job.tokens, job.radiance) == (720 * 60 * 80 * 768, 100 * MB)
    sam = ProposeRegions(weights=weights(tmp_path / "sam.bin", 9))
    more = {**options, "settings": Semantics(), "region_settings": sam}
    assert memory.job_of("train_semantics", more).weights == 9 * MB


def test_sizes_of_what_asks_a_field_are_those_in_its_file(options: dict, tmp_path: Path) -> None:
    given = {"run": tmp_path / "run", "settings": Query(phrases=("wall",)), "asked": ["a", "b"]}
    (tmp_path / "run").mkdir()
    assert memory.need("query", given) is None
    (tmp_path / "radiance").rename(tmp_path / "run/semantics")
    job = memory.job_of("query", given)
    assert (job.frames, job.height, job.width, job.held_out) == (900, 480, 640, 90)
    assert (job.semantics, job.weights) == (100 * MB, 600 * MB)
    assert job.settings.phrases == ("a", "b")
    (tmp_path / "run/semantics/field.safetensors").rename(tmp_path / "run/field.safetensors")
    assert memory.job_of("export", {**given, "asked": None}).semantics == 100 * MB
    for damage in (bytes(8), b"\xff" * 8, b""):
        (tmp_path / "run/field.safetensors").write_bytes(damage)
        assert memory.need("query", given) is None


def test_the_header_is_that_of_a_real_field(tmp_path: Path) -> None:
    write_field(tmp_path)
    found = memory.described_run(tmp_path / "field.safetensors")
    assert (found["height"], found["width"], found["names"]) == (9, 12, ["a", "b", "c", "d"])


def test_the_shape_is_that_of_a_real_store(tmp_path: Path) -> None:
    rgb = np.zeros((2, 4, 6, 3), np.uint8)
    write_store(tmp_path / "frames.zarr", "frames", {"rgb": rgb}, {}, "d")
    given = {"frames": tmp_path / "frames.zarr", "settings": Reconstruct()}
    job = memory.job_of("reconstruct", given)
    assert (job.frames, job.height, job.width, job.pixels) == (2, 4, 6, 24)


def test_joining_parts_needs_no_encoder(options: dict) -> None:
    clip = CacheFeatures(encoder=OpenClip(kind="openclip", model="x", weights="none"))
    assert parts("cache_features", options, clip, parts=[Path("0.zarr")]) == {"program": 1100 * MB}


def test_every_formula_gives_a_sum_in_reach_of_a_workstation(options: dict) -> None:
    encoder = CacheFeatures(encoder=OpenClip(kind="openclip", model="x", weights="none"))
    settings = {
        "propose_regions": ProposeRegions(),
        "cache_features_part": encoder,
        "cache_features": encoder,
        "cache_dino": CacheDino(),
        "rank_regions": None,
        "reconstruct": Reconstruct(),
        "train_shared": Semantics(),
        "train_semantics": Semantics(),
        "render_views": RenderViews(),
        "fuse_points": FusePoints(),
        "query": Query(phrases=("table", "lamp")),
        "draw_query": DrawQuery(),
        "export": Export(),
    }
    assert set(settings) == set(memory.CHECKED)
    for stage, chosen in settings.items():
        total = sum(parts(stage, options, chosen, region_settings=ProposeRegions()).values()) / MB
        assert 1000 < total < 40_000, (stage, total)


def test_small_stages_and_missing_inputs_are_not_judged(tmp_path: Path) -> None:
    assert memory.need("aggregate", {}) is None
    absent = {"frames": tmp_path / "absent.zarr", "settings": Reconstruct()}
    assert memory.need("reconstruct", absent) is None


def test_too_large_is_refused_with_the_number(
    options: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVNERF_DEVICE", "cpu")
    chosen = {**options, "settings": Reconstruct()}
    total = sum(memory.need("reconstruct", chosen).values()) / MB  # type: ignore[union-attr]
    monkeypatch.setattr(memory, "machine_mb", lambda: total - 1)
    with pytest.raises(UserError) as caught:
        memory.check_memory("reconstruct", chosen)
    said = str(caught.value)
    assert f"reconstruct: 900 frames of 640x480 need about {total:.0f} MB of memory" in said
    assert "for rays; found" in said and "on this machine" in said
    monkeypatch.setenv("OVNERF_MEMORY_MB", str(total + 1))
    memory.check_memory("reconstruct", chosen)


def test_features_stay_on_the_host_of_a_small_card(
    options: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {**options, "settings": Semantics()}
    found = memory.need("train_shared", chosen)
    assert found is not None
    held = {part: found[part] for part in ("program", "features", "dino")}
    card = {part: size for part, size in found.items() if part not in held}
    fits, too_small = sum(found.values()) / MB, sum(card.values()) / MB - 1
    monkeypatch.setattr(memory, "machine_mb", lambda: sum(held.values()) / MB + 1)

    monkeypatch.setattr(memory, "card_mb", lambda: fits)
    assert not memory.features_on_host("train_shared", chosen)
    memory.check_memory("train_shared", chosen)

    monkeypatch.setattr(memory, "card_mb", lambda: too_small + 2)
    assert memory.features_on_host("train_shared", chosen)
    memory.check_memory("train_shared", chosen)
    monkeypatch.setattr(memory, "machine_mb", lambda: sum(held.values()) / MB - 1)
    with pytest.raises(UserError, match=r"for dino; found .* on this machine"):
        memory.check_memory("train_shared", chosen)

    monkeypatch.setattr(memory, "card_mb", lambda: too_small)
    with pytest.raises(UserError, match=r"for rays; found .* on the card"):
        memory.check_memory("train_shared", chosen)
    # A stage without features has nothing to leave behind.
    plain = {**options, "settings": Reconstruct()}
    with pytest.raises(UserError, match="on the card"):
        memory.check_memory("reconstruct", plain)
    assert not memory.features_on_host("reconstruct", plain)


def test_the_machine_is_the_smaller_of_its_memory_and_the_jobs_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share, free = tmp_path / "share", tmp_path / "free"
    share.write_text(f"{300 * MB}\n")
    free.write_text("max\n")
    monkeypatch.setattr(memory, "CGROUP_LIMITS", (free, tmp_path / "absent"))
    assert memory.machine_mb() > 300
    monkeypatch.setattr(memory, "CGROUP_LIMITS", (free, share))
    assert memory.machine_mb() == 300


def test_a_stage_is_refused_before_it_starts(
    options: dict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setenv("OVNERF_MEMORY_MB", "500")
    monkeypatch.setattr(cli, "set_up_compute", lambda *compute: None)
    monkeypatch.setattr(cli, "set_up_torch", lambda threads: None)
    out = tmp_path / "out"
    code = cli.main(["reconstruct", "--frames", str(options["frames"]), "--out", str(out)])
    assert code == 2
    assert "need about" in capsys.readouterr().err
    assert not out.exists() and not list(tmp_path.glob("*partial*"))
