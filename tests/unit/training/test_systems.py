"""The compared systems: what each trains on, and that each resumes to the same field."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from features_fixtures import CLASSES, NAMES, tiny_labels
from test_runs import SEMANTICS, inputs, same, stores  # noqa: F401

from ovnerf.config.features import CacheFeatures
from ovnerf.config.run import override, parse, read_yaml
from ovnerf.config.semantics import TrainSemantics
from ovnerf.field.field import semantics_from_header
from ovnerf.labels.void import VOID
from ovnerf.runtime.errors import UserError
from ovnerf.stages import cache_features
from ovnerf.storage.provenance import REPOSITORY_ROOT
from ovnerf.training import assemble

VARIANTS = REPOSITORY_ROOT / "config/variants"


def settings_of(variant: str) -> TrainSemantics:
    """The tiny training with a shipped variant file over it."""
    changes = read_yaml(VARIANTS / f"{variant}.yaml")["train_semantics"]
    return parse(TrainSemantics, override(SEMANTICS.model_dump(), changes), variant)


@pytest.fixture(scope="module")
def cells(stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A features store of 4-pixel cells beside the simulated windows: the labels as maps."""
    folder = tmp_path_factory.mktemp("cells")
    (folder / "maps").mkdir()
    for name, label in zip(NAMES, tiny_labels(), strict=True):
        np.save(folder / "maps" / f"{name}.npy", np.where(label == VOID, 3, label).astype("i4"))
    files = {name: f"{name}.npy" for name in NAMES}
    content = {"kind": "labels", "classes": CLASSES, "void": 3, "files": files}
    (folder / "maps" / "manifest.json").write_text(json.dumps(content))
    out = folder / "features.zarr"
    encoder = {"kind": "precomputed", "folder": str(folder / "maps"), "cell": 4}
    settings = CacheFeatures.model_validate({"encoder": encoder})
    cache_features.run(frames=stores / "frames.zarr", out=out, settings=settings)
    return out


LOSSES = {
    "fcclip": ["label", "colour"],
    "dff": ["feature"],
    "3dovs": ["feature", "rda", "dino_positive", "dino_negative", "colour"],
}


@pytest.mark.parametrize("variant", LOSSES)
def test_a_system_resumes_to_the_same_field_and_has_its_losses(
    stores: Path,  # noqa: F811
    tmp_path: Path,
    cells: Path,
    variant: str,
) -> None:
    settings = settings_of(variant)
    paths = inputs(stores) | ({"features": cells} if variant == "dff" else {})
    opened = assemble.open_inputs(**paths)
    first, second = (assemble.assemble_training(opened, settings, 0) for _ in range(2))
    initial = {key: value.clone() for key, value in first.field.state_dict().items()}
    while first.iteration < settings.iterations:
        if first.iteration == 5:
            first.save(tmp_path / "cut.safetensors", "digest")
        first.step()
    assert second.restore(tmp_path / "cut.safetensors", "digest")
    while second.iteration < settings.iterations:
        second.step()
    assert same(first.field.state_dict(), second.field.state_dict())
    watched = ["dominant_share"] if variant == "3dovs" else []
    assert list(first.rows[-1]) == ["iteration", "total", *LOSSES[variant], *watched]
    moved = {
        key for key, value in first.field.state_dict().items() if not value.equal(initial[key])
    }
    assert any(key.startswith("clip.") for key in moved)
    assert not any("density" in key or "occupancy" in key for key in moved)
    assert any(key.startswith("own.") for key in moved) == (variant == "dff")
    assert any("appearance" in key for key in moved) == ("colour" in LOSSES[variant])
    assert any("scale_selection" in key for key in moved) == first.feature_terms.selects_scales


def test_a_term_of_weight_nothing_is_as_if_it_were_not_there(stores: Path) -> None:  # noqa: F811
    """fcclip reads no CLIP feature: with all of them gone the same field comes out."""
    settings = settings_of("fcclip")
    opened = assemble.open_inputs(**inputs(stores))
    first, second = (assemble.assemble_training(opened, settings, 0) for _ in range(2))
    second.data.pyramid.embedding.fill_(torch.nan)
    for _ in range(3):
        first.step()
        second.step()
    assert same(first.field.state_dict(), second.field.state_dict())


def test_extremes_are_those_of_every_pixel(stores: Path) -> None:  # noqa: F811
    run = assemble.assemble_training(
        assemble.open_inputs(**inputs(stores)), settings_of("3dovs"), 0
    )
    height, width = run.data.photos.size
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    slot = torch.full((height * width,), 1)
    feature = run.data.pyramid.lookup(slot, column.flatten(), row.flatten())
    cosine = torch.einsum("rkd,cd->rkc", feature, run.data.text)
    expected = torch.stack([cosine.amin(0), cosine.amax(0)], -1)
    torch.testing.assert_close(run.data.extremes[1], expected, atol=1e-5, rtol=0)


def test_a_volume_of_its_own_is_what_the_head_reads_and_is_kept(
    stores: Path,  # noqa: F811
    cells: Path,
) -> None:
    opened = assemble.open_inputs(**{**inputs(stores), "features": cells})
    run = assemble.assemble_training(opened, settings_of("dff"), 0)
    field, header = run.field, run.field.header()
    again = semantics_from_header(header, field.state_dict())
    origin, direction = run.data.photos.rays(*torch.zeros(3, 1, dtype=torch.long))
    samples, weight = field.radiance.samples_above_threshold(origin, direction)
    u = field.ray_features(samples, weight)
    assert torch.equal(u, again.ray_features(samples, weight))
    x = field.own.basis(field.own.grid.features(samples.point))
    torch.testing.assert_close(u[0, :-1], (weight[:, None] * x).sum(0), atol=1e-5, rtol=1e-4)


def test_cells_are_refused_for_windows(stores: Path) -> None:  # noqa: F811
    with pytest.raises(UserError, match="found overlapping windows, expected cells"):
        assemble.assemble_training(assemble.open_inputs(**inputs(stores)), settings_of("dff"), 0)
