"""The compared systems: what each trains on, and that each resumes to the same field."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from features_fixtures import CLASSES, HEIGHT, NAMES, WIDTH, tiny_labels
from test_runs import REGIONS, SEMANTICS, inputs, same, stores  # noqa: F401

from ovnerf.asking import label_files
from ovnerf.asking.label_files import LabelMaps
from ovnerf.asking.run import open_run
from ovnerf.config.features import CacheFeatures
from ovnerf.config.lift import Lift
from ovnerf.config.run import override, parse, read_yaml
from ovnerf.config.semantics import TrainSemantics
from ovnerf.config.views import RenderViews
from ovnerf.field.semantic_field import semantics_from_header
from ovnerf.labels.patches import without_small_patches
from ovnerf.labels.void import VOID
from ovnerf.runtime.errors import UserError
from ovnerf.stages import (
    cache_features,
    evaluate,
    lift,
    render_views,
    train_semantics,
    train_shared,
)
from ovnerf.storage.provenance import REPOSITORY_ROOT
from ovnerf.storage.stores import open_store, read
from ovnerf.storage.tensors import load_tensors
from ovnerf.training import assemble
from ovnerf.training.batches import generator
from ovnerf.training.feature_terms import by_side

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
    "language": ["feature"],
    "lerf": ["feature", "dino_feature"],
    "3dovs": ["feature", "rda", "dino_positive", "dino_negative", "colour"],
}
OWN_VOLUME = ("dff", "language", "lerf")


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
    assert any(key.startswith("own.") for key in moved) == (variant in OWN_VOLUME)
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


@pytest.mark.parametrize(
    ("last", "said"),
    # Of the last tenth of twenty rows: the last batch alone, 0.3, would have hidden the first.
    [((0.94, 0.3), "one class takes 62% of the rays"), ((0.3, 0.7), "")],
)
def test_a_collapse_is_said(stores: Path, last: tuple[float, float], said: str) -> None:  # noqa: F811
    run = assemble.assemble_training(
        assemble.open_inputs(**inputs(stores)), settings_of("3dovs"), 0
    )
    run.rows = [{"dominant_share": share} for share in (18 * [0.99] + list(last))]
    warned = run.warnings().get("warning", "")
    assert said in warned and bool(said) == ("collapse" in warned)


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


def test_a_rays_scale_by_hand(stores: Path) -> None:  # noqa: F811
    """LERF's random scale: with H 480 and f_y 320, s = 0.125 at distance 2 is sigma 0.375."""
    run = assemble.assemble_training(assemble.open_inputs(**inputs(stores)), settings_of("lerf"), 0)
    seen = []
    scales = [run.data.pyramid.grids[index].side for index in by_side(run.data.pyramid)]
    assert scales == sorted(scales) and len(scales) == 2
    features = run.field.clip.features

    def spied(ray: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        seen.append(sigma)
        return features(ray, sigma)

    run.field.clip.features = spied
    losses = run.losses()
    (sigma,) = seen
    # 48 pixels high, f_y 32; s lies in [0, 1), and distances between the near plane and the box.
    assert losses["feature"] > 0 and sigma.min() >= 0
    drawn = generator(0, "scale", 0)
    torch.randint(1, sigma.shape, generator=drawn)
    share = torch.rand(sigma.shape, generator=drawn)
    distance = sigma / (share * 48 / 32)
    hit = sigma > 0
    assert hit.any() and distance[hit].min() >= 0.05 and distance[hit].max() < 6


def test_lerf_renders_two_label_maps_and_both_are_scored(
    stores: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings_of("lerf").model_copy(update={"iterations": 3})
    paths = inputs(stores)
    train_shared.run(**paths, out=tmp_path / "shared", settings=settings)
    train_semantics.run(
        **paths,
        regions=stores / "regions.zarr",
        shared=tmp_path / "shared",
        out=tmp_path / "semantics",
        settings=settings,
        region_settings=REGIONS,
    )
    views = tmp_path / "views.zarr"
    named = {"frames": stores / "frames.zarr", "features": paths["features"]}
    fields = {"radiance": stores / "radiance", "semantics": tmp_path / "semantics"}
    rule = RenderViews(prediction="relevancy", query_scales=3)
    render_views.run(**named, **fields, out=views, settings=rule)
    group = open_store(views, "views")
    assert read(group, "label").shape == read(group, "label_cosine").shape
    # The export takes these maps, and computes the same ones for frames that are not there.
    maps = LabelMaps(open_run(tmp_path))
    frame = group.attrs["frames"][0]
    np.testing.assert_array_equal(maps.of(frame), read(group, "label", 0))
    monkeypatch.setattr(label_files, "FrameIndex", lambda store: ())
    np.testing.assert_array_equal(maps.of(frame), read(group, "label", 0))
    # So short a training sees one class everywhere, so the patches are made up.
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 3, HEIGHT * WIDTH))
    monkeypatch.setattr(render_views, "predictor", lambda *_: lambda view: [("label", noise)])
    cleaned, share = tmp_path / "cleaned.zarr", {"least_patch": 3.5 / (HEIGHT * WIDTH)}
    render_views.run(**named, **fields, out=cleaned, settings=rule.model_copy(update=share))
    made_up = noise.view(HEIGHT, WIDTH).numpy()
    expected = without_small_patches(made_up, 4)
    assert 0.1 < (expected != made_up).mean() < 0.5
    np.testing.assert_array_equal(read(open_store(cleaned, "views"), "label", 0), expected)
    closing = evaluate.run(
        frames=stores / "frames.zarr",
        views=views,
        truth=stores / "truth.zarr",
        out=tmp_path / "metrics.csv",
        **{"dataset": "d", "scene": "s", "encoder": "e", "variant": "lerf", "seed": 0},
    )
    assert {"field_pooled_mIoU", "field_cosine_pooled_mIoU"} < set(closing)
    before, _ = load_tensors(stores / "radiance" / "field.safetensors")
    after, _ = load_tensors(tmp_path / "semantics" / "field.safetensors")
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_lifted_labels_need_no_training_and_are_the_same_again(
    stores: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    paths = {name: stores / f"{name}.zarr" for name in ("frames", "features", "labels")}
    settings = Lift(voxels=4000, view_fraction=1)
    found = []
    for name in ("a", "b"):
        lift.run(**paths, radiance=stores / "radiance", out=tmp_path / name, settings=settings)
        group = open_store(tmp_path / name, "views")
        found.append([read(group, array) for array in ("label", "label_votes")])
    assert all((one == other).all() for one, other in zip(*found, strict=True))
    label, votes = found[0]
    assert label.shape == (2, HEIGHT, WIDTH) and label.dtype == np.uint16
    truth = tiny_labels()[[0, 10]]
    known = (truth != VOID) & (votes != VOID)
    # Two of three classes would be wrong by chance.
    assert (votes[known] == truth[known]).mean() > 0.6
