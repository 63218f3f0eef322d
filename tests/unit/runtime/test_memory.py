from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from ovnerf import cli
from ovnerf.config.features import CacheDino, CacheFeatures, OpenClip
from ovnerf.config.field import Reconstruct
from ovnerf.config.regions import ProposeRegions
from ovnerf.config.semantics import TrainSemantics as Semantics
from ovnerf.config.views import RenderViews
from ovnerf.runtime import memory
from ovnerf.runtime.errors import UserError
from ovnerf.storage.provenance import REPOSITORY_ROOT
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
    (tmp_path / "radiance").mkdir()
    weights(tmp_path / "radiance/field.safetensors", 100)
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


def test_the_shape_is_that_of_a_real_store(tmp_path: Path) -> None:
    rgb = np.zeros((2, 4, 6, 3), np.uint8)
    write_store(tmp_path / "frames.zarr", "frames", {"rgb": rgb}, {}, "d")
    frames = memory.frames_of({"frames": tmp_path / "frames.zarr"})
    assert frames == memory.Frames(2, 4, 6) and frames.pixels == 24


def test_reconstruction_by_hand(options: dict) -> None:
    settings = Reconstruct(voxels_start=8, voxels_end=1_000_000, batch_rays=100)
    found = parts("reconstruct", options, settings)
    assert found["photos"] == 6 * 900 * 480 * 640
    # 24 + 72 components on 100 x 100 cells, half more for uneven boxes; 5 copies of 4 bytes.
    assert found["grids"] == pytest.approx(4 * 5 * 1.5 * 96 * 100**2 + 6e6)
    # The diagonal of 100 voxels in half steps: 346 samples, half more for uneven boxes.
    assert found["rays"] == pytest.approx(100 * 3**0.5 * 100 / 0.5 * 1.5 * 300)


def test_training_by_hand(options: dict) -> None:
    found = parts("train_shared", options, Semantics())
    assert found["features"] == 4 * 720 * 3000 * 512
    assert found["dino"] == 3 * 720 * 60 * 80 * 768
    assert found["grids"] == 5 * 100 * MB
    more = parts("train_semantics", options, Semantics(), region_settings=ProposeRegions())
    assert more["refresh"] > 1024 * MB and sum(more.values()) > sum(found.values())
    plain = Semantics(cse={"enabled": False})
    assert parts("train_semantics", options, plain, region_settings=None) == found


def test_attention_grows_with_the_square_of_the_tokens(options: dict) -> None:
    found = parts("cache_dino", options, CacheDino(weights="none"))
    assert found["tokens"] == 96 * 4800**2 + 64_000 * 4800


def test_every_formula_gives_a_sum_in_reach_of_a_workstation(options: dict) -> None:
    encoder = CacheFeatures(encoder=OpenClip(kind="openclip", model="x", weights="none"))
    settings = {
        "propose_regions": ProposeRegions(),
        "cache_features": encoder,
        "cache_dino": CacheDino(),
        "rank_regions": None,
        "reconstruct": Reconstruct(),
        "train_shared": Semantics(),
        "train_semantics": Semantics(),
        "render_views": RenderViews(),
    }
    assert set(settings) == set(memory.FORMULAS)
    for stage, chosen in settings.items():
        total = sum(parts(stage, options, chosen, region_settings=ProposeRegions()).values()) / MB
        assert 1000 < total < 40_000, (stage, total)


def test_rules_ask_for_what_the_papers_scenes_need(options: dict, tmp_path: Path) -> None:
    """300 frames of 640x480 with the largest networks: no stage is refused in its own job."""
    paper = tmp_path / "paper"
    options["frames"] = shaped(paper / "frames", rgb=(300, 480, 640, 3))
    options["features"] = shaped(
        paper / "clip", embedding=(270, 3205, 512), text_ensemble=(101, 512)
    )
    options["dino"] = shaped(paper / "dino", token=(270, 60, 80, 768))
    sam = ProposeRegions(architecture="vit_h", weights=weights(tmp_path / "sam", 2450))
    clip = OpenClip(kind="openclip", model="x", weights=weights(tmp_path / "clip", 600))
    settings = {
        "propose_regions": sam,
        "cache_features": CacheFeatures(encoder=clip),
        "cache_dino": CacheDino(weights=weights(tmp_path / "dino", 330)),
        "rank_regions": None,
        "reconstruct": Reconstruct(),
        "train_shared": Semantics(),
        "train_semantics": Semantics(),
        "render_views": RenderViews(),
    }
    rules = "".join(path.read_text() for path in (REPOSITORY_ROOT / "workflow/rules").glob("*.smk"))
    asked = dict(re.findall(r"^rule (\w+):.*?mem_mb=growing\((\d+)\)", rules, re.S | re.M))
    for stage, chosen in settings.items():
        total = sum(parts(stage, options, chosen, region_settings=sam).values()) / MB
        assert total < int(asked[stage]) < 4 * total, stage


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


@pytest.mark.parametrize(
    "architecture", get_args(ProposeRegions.model_fields["architecture"].annotation)
)
def test_every_source_of_regions_has_a_figure(architecture: str) -> None:
    settings = ProposeRegions(architecture=architecture, weights="absent")
    needed = memory.regions_parts(memory.Frames(10, 48, 64), settings)
    assert needed["model"] == 0 if architecture == "truth" else needed["model"] >= 100 * MB
