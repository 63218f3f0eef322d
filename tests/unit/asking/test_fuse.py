"""Points of a field: sums by hand, a slow reference, and the algebra F = U u."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from asking_fixtures import DESCRIPTION, RUN, TEXT, asked_field, write_field

from ovnerf.asking import fuse, surfaces, voxels
from ovnerf.asking.description import read_description
from ovnerf.asking.voxels import VoxelGrid, VoxelSums
from ovnerf.config.points import FusePoints
from ovnerf.field.rendering import render_rgb, view_weights
from ovnerf.field.semantic_field import SemanticField
from ovnerf.field.surface import distances_at_shares, ray_colours, render_ray_features
from ovnerf.geometry.similarity import Similarity
from ovnerf.runtime.errors import Stopped, UserError
from ovnerf.stages import fuse_points
from ovnerf.storage.stores import open_store, read, verify

# Voxel faces off those of the field's box, where many first samples lie.
GRID = VoxelGrid(np.array([-2.0317, -2.0571, -2.0713]), 0.25)
SETTINGS = FusePoints(min_opacity=0.4, max_spread=0.3, voxel_size=0.25)


def slow_rays(view):
    """(ray, its samples, opacity, median distance) of each pixel that counts."""
    sure = []
    for ray in range(len(view.origin)):
        inside = slice(int(view.offset[ray]), int(view.offset[ray + 1]))
        weight, distance = view.weight[inside].double(), view.distance[inside].double()
        opacity = float(weight.sum())
        if opacity <= SETTINGS.min_opacity:
            continue
        sums = np.cumsum(weight.numpy())
        quarter, median, three_quarters = (
            float(distance[int(np.argmax(sums >= sums[-1] * share))]) for share in (0.25, 0.5, 0.75)
        )
        sure.append(((three_quarters - quarter) / median, (ray, inside, opacity, median)))
    limit = max(SETTINGS.max_spread, np.quantile([spread for spread, _ in sure], 0.25))
    return [kept for spread, kept in sure if spread <= limit]


def slow_points(field, frames):
    """Voxel -> (opacity, pixels, views, xyz, rgb, F), pixel by pixel and sample by sample."""
    found = {}
    for frame in frames:
        camera = DESCRIPTION.camera(DESCRIPTION.pose[frame])
        view = view_weights(field.radiance, camera)
        low, high = field.radiance.box
        for ray, inside, opacity, median in slow_rays(view):
            weight = view.weight[inside].double()
            place = view.origin[ray].double() + median * view.direction[ray].double()
            world = place.numpy() / 2 + np.array([1.0, 2.0, 3.0])
            world_samples = view.origin[ray] + view.distance[inside, None] * view.direction[ray]
            point = (world_samples - low) * (2 / (high - low)) - 1
            appearance = field.radiance.basis(field.radiance.appearance.features(point))
            head = field.clip(appearance)
            seen = (weight[:, None] * appearance.double()).sum(0) / opacity
            rgb = field.radiance.colour(seen[None].float(), view.direction[ray][None])[0]
            feature = (weight[:, None] * head.double()).sum(0).detach().numpy()
            cell = tuple(np.floor((world - GRID.origin) / GRID.size).astype(int))
            row = found.setdefault(cell, [0.0, 0, set(), 0.0, 0.0, 0.0])
            row[0] += opacity
            row[1] += 1
            row[2].add(frame)
            row[3] = row[3] + opacity * world
            row[4] = row[4] + opacity * opacity * rgb.detach().double().numpy()
            row[5] = row[5] + opacity * feature
    return found


def test_colours_of_a_field_whose_features_have_their_own_volume_are_rendered():
    field = asked_field()
    view = view_weights(field.radiance, DESCRIPTION.camera(DESCRIPTION.pose[0]))
    own = SemanticField(
        field.radiance, (1, 1, 1), 2, 16, 8, torch.Generator().manual_seed(0), own_ranks=(2, 1, 1)
    )
    feature = render_ray_features(own, view)
    rendered = render_rgb(field.radiance, view)
    assert torch.equal(ray_colours(own, view, feature), rendered)
    decoded = ray_colours(field, view, render_ray_features(field, view))
    assert 0 < (decoded - rendered).abs().max() < 0.2


def test_points_are_those_of_a_slow_reference(tmp_path):
    field = asked_field()
    frames = DESCRIPTION.training_frames
    parts = [
        fuse.voxel_sums(surfaces.see(field, DESCRIPTION, frame, SETTINGS), GRID) for frame in frames
    ]
    matrix = field.clip.matrix().detach().numpy()
    arrays = fuse.point_arrays(voxels.merged(parts), GRID, matrix, TEXT)
    slow = slow_points(field, frames)
    assert [*map(tuple, arrays["cell"].tolist())] == sorted(slow) and len(slow) > 20
    for index, cell in enumerate(sorted(slow)):
        weight, pixels, views, place, colour, feature = slow[cell]
        assert arrays["opacity"][index] == pytest.approx(weight / pixels, abs=1e-5)
        assert arrays["views"][index] == len(views)
        np.testing.assert_allclose(arrays["xyz"][index], place / weight, atol=1e-5)
        np.testing.assert_allclose(arrays["rgb"][index], 255 * colour / weight, atol=0.51)
        unit = feature / np.linalg.norm(feature)
        np.testing.assert_allclose(matrix @ arrays["feature"][index], unit, atol=2e-4)
        scores = TEXT @ unit
        assert scores[arrays["label"][index]] == pytest.approx(scores.max(), abs=2e-4)
    assert max(len(row[2]) for row in slow.values()) > 1


def rays_by_hand(offset, distance, weight):
    """A view of rays along x from the origin, with the samples given."""
    view = view_weights(asked_field().radiance, DESCRIPTION.camera(DESCRIPTION.pose[0]))
    count = len(offset) - 1
    return dataclasses.replace(
        view,
        origin=torch.zeros(count, 3),
        direction=torch.tensor([1.0, 0.0, 0.0]).expand(count, 3),
        offset=torch.tensor(offset),
        distance=torch.tensor(distance),
        weight=torch.tensor(weight),
    )


def test_distances_at_shares_of_a_rays_weight_by_hand():
    distance, weight = [1.0, 2.0, 3.0, 5.0, 7.0, 8.0], [0.1, 0.5, 0.4, 0.2, 0.25, 0.25]
    rays = rays_by_hand([0, 3, 3, 4, 6], distance, weight)
    # First ray: 0.1 < 0.25 and 0.5 <= 0.6 < 0.75 < 1. The second has no sample, the third one.
    # Last ray: 0.25 reaches a quarter and half of 0.5, the second the rest.
    assert distances_at_shares(rays, (0.25, 0.5, 0.75)).tolist() == [
        [2.0, 0.0, 5.0, 7.0],
        [2.0, 0.0, 5.0, 7.0],
        [3.0, 0.0, 5.0, 8.0],
    ]
    empty = rays_by_hand([0] * 5, [], [])
    assert distances_at_shares(empty, (0.5, 1.0)).tolist() == [[0.0] * 4] * 2


def test_pixels_whose_weight_is_spread_widely_do_not_count(monkeypatch):
    """The middle half of the weight, 0.25 to 0.75 of it, against a tenth of the median distance."""
    cases = {
        (0.3, 0.4, 0.3): False,  # from 3.6 to 4.4: 0.8 of 4
        (0.2, 0.6, 0.2): True,  # all at 4
        (0.0, 0.6, 0.4): True,  # from 4 to 4.4: exactly a tenth of 4
        (0.1, 0.2, 0.1): False,  # all at 4, but of opacity 0.4
    }
    weight = [share for case in cases for share in case]
    rays = rays_by_hand([0, 3, 6, 9, 12], [3.6, 4.0, 4.4] * 4, weight)
    monkeypatch.setattr(surfaces, "view_weights", lambda field, camera: rays)
    pose = np.eye(4)[None].repeat(4, 0)
    similarity = Similarity(2.0, (0.0, 0.0, 0.0))
    description = dataclasses.replace(DESCRIPTION, pose=pose, similarity=similarity)
    settings = FusePoints(min_opacity=0.45, max_spread=0.1001)
    found = surfaces.depths(asked_field(), description, 0, settings)
    assert found.seen.tolist() == [*cases.values()]
    np.testing.assert_allclose(found.distance, 2, atol=1e-6)  # two scene units are one of the world
    np.testing.assert_allclose(found.point, [[2, 0, 0]] * 4, atol=1e-6)


def test_the_surest_quarter_of_a_view_counts_in_fog():
    """Spreads 0.2 to 0.6: a quarter of the way through five of them lies the second."""
    spread = np.array([0.5, 0.2, 0.6, 0.3, 0.4])
    assert surfaces.widest(spread, 0.07) == pytest.approx(0.3)
    assert surfaces.widest(spread, 0.35) == 0.35
    assert surfaces.widest(np.zeros(0), 0.07) == 0.07


def test_ray_features_give_the_composited_head():
    field = asked_field()
    view = view_weights(field.radiance, DESCRIPTION.camera(DESCRIPTION.pose[1]))
    rendered = render_ray_features(field, view) @ field.clip.matrix().T
    low, high = field.radiance.box
    for ray in range(0, len(view.origin), 7):
        inside = slice(int(view.offset[ray]), int(view.offset[ray + 1]))
        place = view.origin[ray] + view.distance[inside, None] * view.direction[ray]
        point = (place - low) * (2 / (high - low)) - 1
        head = field.clip(field.radiance.basis(field.radiance.appearance.features(point)))
        composited = (view.weight[inside, None] * head).sum(0)
        torch.testing.assert_close(rendered[ray], composited, atol=1e-5, rtol=1e-4)


def test_normals_of_a_slanted_plane():
    """The plane z = 4 - x seen from the origin: normal (1, 0, 1) / sqrt 2, turned to the camera."""
    x, y = np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 4))
    point = np.stack([x, y, 4 - x], -1).reshape(-1, 3)
    seen = np.ones(20, dtype=bool)
    found = surfaces.normals(point, seen, np.zeros(3), (4, 5)).reshape(4, 5, 3)
    np.testing.assert_allclose(found[1:-1, 1:-1], np.full((2, 3, 3), [-(0.5**0.5), 0, -(0.5**0.5)]))
    assert not found[0].any() and not found[:, 0].any()
    seen[1 * 5 + 1] = False  # one pixel that does not count takes its neighbours' normals, too
    found = surfaces.normals(point, seen, np.zeros(3), (4, 5)).reshape(4, 5, 3)
    assert not found[1, 1].any() and not found[1, 2].any() and found[1, 3].any()


def test_keys_and_cells_are_inverses_and_ordered():
    cell = np.array([[-1, 5, 7], [0, -3, 2], [0, 0, -1], [0, 0, 0], [2**20 - 1, -(2**20), 3]])
    key = voxels.keys_of(cell)
    assert (np.diff(key) > 0).all()
    np.testing.assert_array_equal(voxels.cells_of_keys(key), cell)
    assert voxels.in_range(np.array([[2**20, 0, 0], [0, 0, -(2**20) - 1], [0, 0, 0]])).tolist() == [
        False,
        False,
        True,
    ]


def sums(keys, weight=1.0):
    ones = np.ones(len(keys), dtype=np.int64)
    values = np.arange(len(keys) * 2, dtype=np.float64).reshape(-1, 2)
    return VoxelSums(np.array(keys), ones, ones, weight * ones, values)


@pytest.mark.parametrize("pending", [0, 3, 1000])
def test_sums_of_views_do_not_depend_on_when_they_are_merged(monkeypatch, pending):
    monkeypatch.setattr(voxels, "PENDING_ROWS", pending)
    total = voxels.merged(iter([sums([1, 4]), sums([4, 9], 0.5), sums([1, 9]), sums([])]))
    assert total.key.tolist() == [1, 4, 9]
    assert total.weight.tolist() == [2, 1.5, 1.5]
    assert total.views.tolist() == [2, 2, 2]
    assert total.sums.tolist() == [[0, 2], [2, 4], [4, 6]]


def test_the_stage_writes_a_store_that_goes_on_after_a_stop(tmp_path, monkeypatch):
    write_field(tmp_path / "semantics")
    closing = fuse_points.run(
        semantics=tmp_path / "semantics", out=tmp_path / "points.zarr", settings=SETTINGS
    )
    store = open_store(tmp_path / "points.zarr", "points")
    verify(store)
    assert closing["points"] == store["xyz"].shape[0] > 20
    # cell 12, xyz 24, normal 12, rgb 3, opacity 4, views 2, label 2 bytes; 10 halves
    assert closing["bytes_per_point"] == 59 + 2 * store["feature"].shape[1]
    assert store["feature"].dtype == np.float16 and store["xyz"].dtype == np.float64
    assert store["feature"].chunks == store["feature"].shape
    unit = read(store, "feature").astype(np.float64) @ read(store, "matrix").T
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=5e-3)
    assert (store.attrs["units"], store.attrs["semantics"]) == ("metres", DESCRIPTION.digest)
    monkeypatch.setattr(fuse.progress, "stop_wanted", lambda: True)
    again = {"semantics": tmp_path / "semantics", "out": tmp_path / "again.zarr"}
    with pytest.raises(Stopped):
        fuse_points.run(**again, settings=SETTINGS)
    assert len([*(tmp_path / "again.zarr.partial").glob("*.npz")]) == 1
    monkeypatch.undo()
    fuse_points.run(**again, settings=SETTINGS)
    other = open_store(tmp_path / "again.zarr", "points")
    assert other.attrs["content"] == store.attrs["content"]
    assert not (tmp_path / "again.zarr.partial").exists()


def test_a_voxel_without_a_size_is_as_wide_as_a_pixel():
    field = asked_field()
    settings = SETTINGS.model_copy(update={"voxel_size": None})
    grid = fuse.voxel_grid(field, DESCRIPTION, settings)
    seen = [surfaces.see(field, DESCRIPTION, frame, settings) for frame in (1, 2, 3)]
    distances = np.concatenate([surface.distance[surface.seen] for surface in seen])
    assert grid.size == pytest.approx(np.median(distances) / 8)
    np.testing.assert_allclose(grid.origin, np.array([-1.5, -1.4, -1.2]) / 2 + [1, 2, 3], atol=1e-6)


def test_a_field_that_is_seen_nowhere_is_refused(tmp_path):
    write_field(tmp_path / "semantics")
    settings = SETTINGS.model_copy(update={"min_opacity": 1.0})
    with pytest.raises(UserError, match="no pixel of the training views"):
        fuse_points.run(
            semantics=tmp_path / "semantics", out=tmp_path / "points.zarr", settings=settings
        )
    assert not (tmp_path / "points.zarr").exists()


@pytest.mark.parametrize("space", ["metric", "ndc"])
def test_points_lie_on_their_pixels_in_the_world(space):
    """A surface point, projected by pose and intrinsics, is at the centre of its pixel."""
    pose = np.eye(4)
    pose[:3, 3] = [0.1, -0.05, 0.2]
    changes = {"space": space, "pose": [pose.tolist()] * 4}
    if space == "ndc":
        changes["similarity"] = {"scale": 0.5, "centre": [0.0, 0.0, 0.0]}
    else:
        changes["similarity"] = {"scale": 0.5, "centre": [0.0, 0.0, 4.0]}
    run = {"run": {**RUN, **changes}, "digest": "d"}
    description = read_description(run, Path("field"))
    settings = SETTINGS.model_copy(update={"min_opacity": 0.3, "max_spread": 0.5})
    surface = surfaces.see(asked_field(), description, 1, settings)
    assert surface.seen.sum() > 20
    local = surface.point[surface.seen] - pose[:3, 3]
    assert (local[:, 2] > 0).all()
    projected = local @ description.intrinsics.T
    column, row = (projected[:, :2] / projected[:, 2:]).T
    index = np.flatnonzero(surface.seen)
    np.testing.assert_allclose(column, index % description.width + 0.5, atol=1e-3)
    np.testing.assert_allclose(row, index // description.width + 0.5, atol=1e-3)
    np.testing.assert_allclose(surface.distance[surface.seen], np.linalg.norm(local, axis=1))
