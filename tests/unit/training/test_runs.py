"""Whole training runs on a tiny scene: resuming, branching, and what they may not read."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import zarr
from features_fixtures import HEIGHT, WIDTH, tiny_labels
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import parity
from ovnerf.asking.description import open_field
from ovnerf.config.features import CacheFeatures
from ovnerf.config.field import Reconstruct
from ovnerf.config.labels import RankRegions
from ovnerf.config.refresh_figures import DrawRefreshes
from ovnerf.config.regions import ProposeRegions
from ovnerf.config.semantics import TrainSemantics
from ovnerf.evaluation.refresh_figures import label_rows
from ovnerf.field import marched, reference
from ovnerf.field.field import radiance_from_header
from ovnerf.field.rendering import render_rgb, to_uint8, view_weights
from ovnerf.field.semantic_field import semantics_from_header
from ovnerf.regions.runlength import encode_all
from ovnerf.runtime import progress
from ovnerf.runtime.errors import Stopped, UserError
from ovnerf.stages import (
    cache_features,
    draw_refreshes,
    rank_regions,
    reconstruct,
    train_semantics,
    train_shared,
)
from ovnerf.storage.by_frame import write_by_frame
from ovnerf.storage.provenance import LIST
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import open_store, seal, write_store
from ovnerf.storage.tensors import load_tensors, save_tensors
from ovnerf.training import assemble, novel_regions
from ovnerf.training.batches import generator
from ovnerf.training.data import load_photos, scene_box
from ovnerf.training.pseudo_labels import PseudoLabels
from ovnerf.training.reconstruct import Reconstruction, growth, occupancy_updates
from ovnerf.training.semantics import refresh_interval

RECONSTRUCT = Reconstruct(
    iterations=24,
    batch_rays=64,
    voxels_start=1000,
    voxels_end=4000,
    upsample_at=(0.3, 0.6),
    head_width=8,
    density_ranks=(2, 1, 1),
    appearance_ranks=(4, 2, 2),
    appearance_width=5,
)
SEMANTICS = TrainSemantics(
    iterations=12,
    batch_rays=64,
    head_width=8,
    scale_selection_ranks=(2, 1, 1),
    dino={"crops": 2},
    cse={"every": 1 / 12, "novel_views": 2, "min_seen_by": 1, "min_valid": 0.0, "min_opacity": 0.0},
)
REGIONS = ProposeRegions(architecture="toy", weights="unused")


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Every input of semantic training, made by the real stages (regions from the labels)."""
    from features_fixtures import write_tiny_scene

    folder = tmp_path_factory.mktemp("scene")
    frames, truth = write_tiny_scene(folder)
    train = frame_indices(open_store(frames, "frames"), "train")

    def masks(todo):
        for slot in todo:
            label = tiny_labels()[train[slot]]
            found = encode_all(np.stack([label == value for value in range(3)]))
            yield slot, {**found, "score": np.ones(3, "f4"), "area": np.ones(3, "i4")}

    shape = {"frames": train, "shape": [HEIGHT, WIDTH]}
    write_by_frame(
        folder / "regions.zarr",
        "regions",
        len(train),
        masks,
        shape,
        "regions",
        ragged=("runs", "run_bytes", "score", "area"),
    )
    token = np.random.default_rng(0).normal(size=(len(train), 6, 8, 4)).astype("f2")
    write_store(folder / "dino.zarr", "dino", {"token": token}, {**shape, "settings": {}}, "dino")
    encoder = {"kind": "simulated", "width": 16, "confusion": 0.3}
    settings = CacheFeatures(encoder=encoder, scales=(3, 5), stride=0.5)
    cache_features.run(frames=frames, out=folder / "features.zarr", settings=settings, truth=truth)
    rank_regions.run(
        frames=frames,
        features=folder / "features.zarr",
        regions=folder / "regions.zarr",
        out=folder / "labels.zarr",
        settings=RankRegions(),
    )
    reconstruct.run(frames=frames, out=folder / "radiance", settings=RECONSTRUCT)
    return folder


def inputs(folder):
    names = {"frames": "frames.zarr", "features": "features.zarr", "dino": "dino.zarr"}
    paths = {key: folder / name for key, name in names.items()}
    paths |= {"labels": folder / "labels.zarr", "radiance": folder / "radiance"}
    return {**paths, "rank_settings": RankRegions()}


def train(folder, out, settings=SEMANTICS, seed=0):
    """Shared and branch; returns the final tensors and the header."""
    train_shared.run(**inputs(folder), out=out / "shared", settings=settings, seed=seed)
    train_semantics.run(
        **inputs(folder),
        regions=folder / "regions.zarr",
        shared=out / "shared",
        out=out / "semantics",
        settings=settings,
        region_settings=REGIONS,
        seed=seed,
    )
    return load_tensors(out / "semantics" / "field.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def halves(_):
    """Halves of the image stand in for SAM, which has tests of its own."""
    masks = np.zeros((2, HEIGHT, WIDTH), dtype=bool)
    masks[0, : HEIGHT // 2], masks[1, HEIGHT // 2 :] = True, True
    return masks


@pytest.fixture(scope="module", autouse=True)
def regions_of_novel_views():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(novel_regions, "lazy_proposer", lambda settings: halves)
        yield


@pytest.fixture(scope="module")
def whole(stores, tmp_path_factory):
    """Folder, final tensors and header of one unbroken run."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, *train(stores, folder)


@pytest.mark.parametrize(
    ("every", "iterations", "interval"),
    [
        (1000 / 15_000, 15_000, 1000),
        (0.115, 800, 92),
        (1 / 15, 800, 54),
        (1 / 15, 2000, 134),
        (0, 9, 1),
    ],
)
def test_no_refresh_comes_from_rounding(every: float, iterations: int, interval: int) -> None:
    """1333 + 5 x 133 would be a sixth refresh, two of 2000 iterations before the end."""
    assert refresh_interval(every, iterations) == interval


def test_a_trained_field_gives_what_the_published_arithmetic_gives(
    stores, whole, capsys, monkeypatch
):
    folders = stores / "frames.zarr", stores / "features.zarr", whole[0] / "semantics"
    arguments = [str(folder) for folder in folders]
    assert parity.main(arguments) == 0
    found = capsys.readouterr().out
    assert f"{HEIGHT * WIDTH} rays" in found and "| colour over white |" in found
    plain = parity.fast_outputs

    for factor in (1.01, float("nan")):

        def wrong(field, rays, factor=factor):
            outputs = plain(field, rays)
            return {**outputs, "scales": outputs["scales"] * factor}

        monkeypatch.setattr(parity, "fast_outputs", wrong)
        assert parity.main(arguments) == 1 and "FAILED" in capsys.readouterr().out


def test_the_file_of_a_field_describes_its_run(stores, whole):
    folder, tensors, header = whole
    field, description = open_field(folder / "semantics", torch.device("cpu"))
    assert description.digest == header["digest"]
    assert description.encoder == {**description.encoder, "kind": "simulated", "width": 16}
    assert len(description.names) == len(description.pose) == 12
    assert same(field.state_dict(), tensors)


def test_a_fitted_start_is_nearer_to_features_and_labels(stores):
    def first_losses(start):
        settings = SEMANTICS.model_copy(update={"head_start": start})
        opened = assemble.open_inputs(**inputs(stores))
        return assemble.assemble_training(opened, settings, 0).losses()

    random, fitted = first_losses("random"), first_losses("fitted")
    for name in ("label", "feature"):
        assert fitted[name] < 0.9 * random[name], name
    again = first_losses("fitted")
    assert all(torch.equal(again[name], fitted[name]) for name in fitted)


def decoding(stores, colour_per):
    """A joint training whose field decodes colours once a `colour_per`."""
    opened = assemble.open_inputs(**inputs(stores))
    opened.radiance_header["field"]["colour_per"] = colour_per
    settings = SEMANTICS.model_copy(update={"joint_start": 0.0, "colour_weight": 2.0})
    return assemble.assemble_training(opened, settings, 0)


def test_a_field_that_decodes_once_a_ray_is_trained_so(stores):
    """Only the colour loss differs: it is that of the mean features, decoded by themselves."""
    run = decoding(stores, "ray")
    losses, others = run.losses(), decoding(stores, "sample").losses()
    for name in losses.keys() - {"colour"}:
        torch.testing.assert_close(losses[name], others[name])
    assert losses["colour"] != others["colour"]
    data, radiance = run.data, run.field.radiance
    slot, row, column = run.pixels.at(0)
    photo = data.labelled[slot]
    origin, direction = data.photos.rays(photo, row, column)
    jitter = torch.rand(len(origin), generator=generator(0, "jitter", 0))
    samples, weight = radiance.samples_above_threshold(origin, direction, jitter)
    rgb = torch.zeros(len(origin), 3)
    for ray in range(len(origin)):
        own = samples.ray == ray
        if own.any():
            feature = radiance.appearance_features(samples)[own]
            mean = (weight[own, None] * feature).sum(0) / weight[own].sum()
            decoded = reference.colour(radiance, mean, direction[ray])
            rgb[ray] = weight[own].sum() * decoded
    error = (rgb - data.photos.colours(photo, row, column)).square().mean()
    torch.testing.assert_close(losses["colour"], 2 * error)


def test_a_field_that_decodes_once_a_voxel_is_trained_so(stores):
    """Only the colour loss differs from that of each sample: it is the reference's."""
    run = decoding(stores, "voxel")
    losses, others = run.losses(), decoding(stores, "sample").losses()
    for name in losses.keys() - {"colour"}:
        torch.testing.assert_close(losses[name], others[name])
    assert losses["colour"] != others["colour"]
    slot, row, column = run.pixels.at(0)
    photo = run.data.labelled[slot]
    origin, direction = run.data.photos.rays(photo, row, column)
    jitter = torch.rand(len(origin), generator=generator(0, "jitter", 0))[: len(origin)]
    batch = origin, direction, jitter, run.data.max_samples
    rgb = reference.render_semantics(run.field, *batch)["colour"]
    error = (rgb - run.data.photos.colours(photo, row, column)).square().mean()
    torch.testing.assert_close(losses["colour"], 2 * error)


def test_a_reconstruction_starts_from_the_density_it_is_told(stores):
    frames = open_store(stores / "frames.zarr", "frames")
    photos, box = load_photos(frames, [1, 2]), scene_box(frames)
    settings = RECONSTRUCT.model_copy(update={"density_start": 0.3})
    device = torch.device("cpu")
    plain, started = (
        Reconstruction(photos, box, one, device).field.density for one in (RECONSTRUCT, settings)
    )
    for mode in range(3):
        for before, after in (
            (plain.planes[mode], started.planes[mode]),
            (plain.lines[mode], started.lines[mode]),
        ):
            torch.testing.assert_close(after[:, 0], torch.full_like(after[:, 0], 0.1**0.5))
            assert before[:, 0].std() > 0 and torch.equal(after[:, 1:], before[:, 1:])


def test_schedules_by_hand():
    assert list(growth(RECONSTRUCT)) == [7, 14]
    assert list(growth(RECONSTRUCT).values()) == pytest.approx([2000, 4000])
    assert occupancy_updates(RECONSTRUCT) == [400]  # never sooner, so never in this run
    paper = Reconstruct()
    assert list(growth(paper)) == [2000, 3000, 4000, 5500]
    voxels = [7_012_260, 23_446_895, 78_399_380, 262_144_000]
    assert list(growth(paper).values()) == pytest.approx(voxels, rel=1e-6)
    assert occupancy_updates(paper) == [2500]


def test_reconstruction_resumes_to_the_same_field(stores, tmp_path):
    frames = open_store(stores / "frames.zarr", "frames")
    photos = load_photos(frames, frame_indices(frames, "train"))
    device = torch.device("cpu")

    def fresh():
        return Reconstruction(photos, scene_box(frames), RECONSTRUCT, device)

    whole, first, second = fresh(), fresh(), fresh()
    for _ in range(RECONSTRUCT.iterations):
        whole.step()
    for _ in range(10):
        first.step()
    first.save(tmp_path / "half.safetensors", "digest")
    assert not second.restore(tmp_path / "half.safetensors", "another digest")
    assert second.restore(tmp_path / "half.safetensors", "digest")
    while second.iteration < RECONSTRUCT.iterations:
        second.step()
    assert same(whole.field.state_dict(), second.field.state_dict())
    assert whole.rows == second.rows and len(whole.rows) == RECONSTRUCT.iterations


def test_reconstruction_learns(stores):
    log = (stores / "radiance" / "train.csv").read_text().splitlines()
    loss = [float(line.split(",")[1]) for line in log[1:]]
    assert np.mean(loss[-4:]) < 0.5 * np.mean(loss[:4])


def test_an_empty_field_is_said(stores, tmp_path, monkeypatch):
    """From the third iteration on no cell is occupied, so no ray has a sample."""

    def empty(run):
        if run.iteration == 2:
            run.field.occupancy.cells.zero_()
            run.field.occupancy.coarse.zero_()

    monkeypatch.setattr(Reconstruction, "change_grids", empty)
    frames = stores / "frames.zarr"
    closing = reconstruct.run(frames=frames, out=tmp_path / "radiance", settings=RECONSTRUCT)
    assert (closing["occupied"], closing["rays_without_samples"]) == (0, 1)
    nothing = "all of the rays of the last batch meet nothing"
    assert closing["warning"] == f"no cell of the box is occupied; {nothing}"
    log = (tmp_path / "radiance" / "train.csv").read_text().splitlines()
    share = [
        float(line.split(",")[log[0].split(",").index("rays_without_samples")]) for line in log[1:]
    ]
    assert share[0] < 0.5 and share[2:] == [1.0] * 22
    paths = {**inputs(stores), "radiance": tmp_path / "radiance"}
    closing = train_shared.run(**paths, out=tmp_path / "shared", settings=SEMANTICS)
    assert closing["warning"] == "all of the labelled rays of the last batch meet nothing"


class Waits(TorchDispatchMode):
    """Counts operations that would wait for a device: those whose result's size is in the data."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, call, types, args=(), kwargs=None):
        name = call.overloadpacket.__name__
        places = args[1] if name in ("index", "index_put", "index_put_") else []
        by_mask = any(place is not None and place.dtype == torch.bool for place in places)
        sized = name == "repeat_interleave" and (kwargs or {}).get("output_size") is not None
        asks = "_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2"
        if by_mask or name in asks or (name == "repeat_interleave" and not sized):
            self.seen.append(name)
        return call(*args, **(kwargs or {}))


def waits(monkeypatch, step):
    """What one `step` waits for by tensor operations, and how often it asks the device."""
    monkeypatch.setenv("OVNERF_NATIVE", "0")
    step()  # makes place for the batch
    asked = []
    monkeypatch.setattr(marched, "to_host", lambda tensor: asked.append(1) or tensor.numpy())
    with Waits() as found:
        step()
    return found.seen, len(asked)


def test_waits_are_seen():
    with Waits() as found:
        one = torch.arange(3.0)
        one[one > 1], one.nonzero(), one.sum().item()
        torch.repeat_interleave(torch.arange(2), torch.tensor([1, 2]))
        torch.repeat_interleave(torch.arange(2), torch.tensor([1, 2]), output_size=3)
    assert found.seen == ["index", "nonzero", "_local_scalar_dense", "repeat_interleave"]


@pytest.mark.parametrize("stage", ["a", "b", "c"])
def test_a_semantic_step_waits_once(monkeypatch, stores, stage):
    opened = assemble.open_inputs(**inputs(stores))
    regions = open_store(stores / "regions.zarr", "regions")
    run = assemble.assemble_training(opened, SEMANTICS.model_copy(update={"iterations": 1000}), 0)
    start = {"a": 0, "b": run.joint_start, "c": run.cse_start}[stage]
    if stage == "c":
        run.pseudo_labels = assemble.assemble_pseudo_labels(run, opened, regions, halves)
        run.iteration = start
        run.refresh_labels()
    run.iteration = start + 4  # nothing is logged in the next two
    run.new_optimiser()
    assert waits(monkeypatch, run.step) == ([], 1)


@pytest.mark.parametrize("colour_per", ["sample", "voxel"])
def test_a_reconstruction_step_waits_once(monkeypatch, stores, colour_per):
    frames = open_store(stores / "frames.zarr", "frames")
    photos = load_photos(frames, frame_indices(frames, "train"))
    changed = {"iterations": 10_000, "colour_per": colour_per}
    settings = RECONSTRUCT.model_copy(update=changed)
    run = Reconstruction(photos, scene_box(frames), settings, torch.device("cpu"))
    assert waits(monkeypatch, run.step) == ([], 1)


@pytest.mark.parametrize("cut", [3, 9])
def test_semantics_resume_to_the_same_field(stores, whole, tmp_path, cut):
    """Killed in stage A, and just after a refresh."""
    opened = assemble.open_inputs(**inputs(stores))
    regions = open_store(stores / "regions.zarr", "regions")

    def fresh():
        run = assemble.assemble_training(opened, SEMANTICS, 0)
        run.pseudo_labels = assemble.assemble_pseudo_labels(run, opened, regions, halves)
        return run

    first = fresh()
    while first.iteration < cut:
        first.step()
    first.save(tmp_path / "cut.safetensors", "digest")
    second = fresh()
    assert second.restore(tmp_path / "cut.safetensors", "digest")
    while second.iteration < SEMANTICS.iterations:
        second.step()
    assert same(second.field.state_dict(), whole[1])


def test_regions_of_novel_views_are_proposed_once_on_reconstructed_colours(stores):
    opened = assemble.open_inputs(**inputs(stores))
    regions, images = open_store(stores / "regions.zarr", "regions"), []

    def propose(image):
        images.append(image)
        return halves(image)

    run = assemble.assemble_training(opened, SEMANTICS, 0)
    run.pseudo_labels = assemble.assemble_pseudo_labels(run, opened, regions, propose)
    refreshes = 0
    while run.iteration < SEMANTICS.iterations:
        refreshes += run.refreshes_now()
        run.step()
    novel = run.pseudo_labels.novel
    assert refreshes > 1 and len(images) == len(novel) > 0
    before = radiance_from_header(opened.radiance_header, opened.radiance)
    for image, (_, camera, _) in zip(images, novel, strict=True):
        rgb = render_rgb(before, view_weights(before, camera))
        np.testing.assert_array_equal(image, to_uint8(rgb, HEIGHT, WIDTH).numpy())


def test_superpixels_snapping_and_class_balance_resume_to_the_same_field(stores, tmp_path):
    """Cut after the first refresh (iteration 8), so the labels that weigh classes are pseudo."""
    ranking = RankRegions(snap=True)
    paths = {**inputs(stores), "labels": tmp_path / "labels.zarr", "rank_settings": ranking}
    rank_regions.run(
        frames=paths["frames"],
        features=paths["features"],
        regions=stores / "regions.zarr",
        out=paths["labels"],
        settings=ranking,
    )
    opened = assemble.open_inputs(**paths)
    regions = open_store(stores / "regions.zarr", "regions")
    propose = novel_regions.novel_view_proposer(regions, ProposeRegions(architecture="superpixels"))
    settings = SEMANTICS.model_copy(update={"class_balance": 0.5})

    def fresh(changed=settings):
        run = assemble.assemble_training(opened, changed, 0)
        run.pseudo_labels = assemble.assemble_pseudo_labels(run, opened, regions, propose)
        return run

    first, second, plain = fresh(), fresh(), fresh(SEMANTICS)
    assert all(ranker.parts is not None for ranker in first.pseudo_labels.rankers)
    while first.iteration < settings.iterations:
        if first.iteration == 9:
            first.save(tmp_path / "cut.safetensors", "digest")
        first.step()
        plain.step()
    assert second.restore(tmp_path / "cut.safetensors", "digest")
    while second.iteration < settings.iterations:
        second.step()
    assert same(first.field.state_dict(), second.field.state_dict())
    assert not same(first.field.state_dict(), plain.field.state_dict())


def test_density_never_trains_and_appearance_does(stores, whole):
    _, tensors, header = whole
    before, _ = load_tensors(stores / "radiance" / "field.safetensors")
    frozen = [key for key in before if "density" in key or "occupancy" in key]
    moved = [key for key in before if "appearance" in key or "colour" in key or "basis" in key]
    assert frozen and all(torch.equal(before[key], tensors[key]) for key in frozen)
    assert moved and not any(torch.equal(before[key], tensors[key]) for key in moved)
    semantics_from_header(header, tensors)


def test_variants_share_their_shared(stores, whole, tmp_path):
    """Without CSE the shared part is the same, the end is not."""
    off = SEMANTICS.cse.model_copy(update={"enabled": False})
    tensors, _ = train(stores, tmp_path, SEMANTICS.model_copy(update={"cse": off}))
    shared_runs = [
        load_tensors(folder / "shared" / "checkpoint.safetensors")[0]
        for folder in (whole[0], tmp_path)
    ]
    assert same(*shared_runs)
    assert not same(tensors, whole[1])


def test_training_never_reads_ground_truth(stores, whole, tmp_path):
    """Where the scene's ground truth cannot be read, the same field comes out."""
    blind = tmp_path / "blind"
    shutil.copytree(stores, blind)
    (blind / "truth.zarr/zarr.json").write_text("not a store")
    with pytest.raises(UserError):
        open_store(blind / "truth.zarr", "truth")
    other, _ = train(blind, tmp_path / "without")
    assert same(whole[1], other)


def test_seed_changes_the_result(stores, whole, tmp_path):
    other, _ = train(stores, tmp_path, seed=1)
    assert not same(whole[1], other)


def test_without_crops_the_correlation_loss_is_left_out(stores, tmp_path):
    dino = SEMANTICS.dino.model_copy(update={"crops": 0})
    train(stores, tmp_path, SEMANTICS.model_copy(update={"dino": dino}))
    columns = (tmp_path / "semantics" / "train.csv").read_text().splitlines()[0].split(",")
    assert "label" in columns and not any(name.startswith("dino") for name in columns)


def test_missing_labels_are_named(stores, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(stores, broken)
    group = zarr.open_group(str(broken / "labels.zarr"))
    said = {**group.attrs, "frames": [0] * len(group.attrs["frames"])}
    del said["seal"]
    group.update_attributes({**said, "seal": seal(said, group)})
    with pytest.raises(UserError, match="no labels of training frames"):
        train(broken, tmp_path / "out")


def test_training_starts_from_fused_labels(stores, tmp_path):
    settings = SEMANTICS.model_copy(update={"labels": "fused"})
    with pytest.raises(UserError, match="no store of fused labels"):
        assemble.assemble_training(assemble.open_inputs(**inputs(stores)), settings, 0)
    train = frame_indices(open_store(stores / "frames.zarr", "frames"), "train")
    label = np.arange(len(train), dtype=np.uint16)[:, None, None] * np.ones((1, HEIGHT, WIDTH))
    fused = tmp_path / "fused.zarr"
    write_store(fused, "fused", {"label": label.astype(np.uint16)}, {"frames": train}, "fused")
    opened = assemble.open_inputs(**inputs(stores), fused=fused)
    run = assemble.assemble_training(opened, settings, 0)
    assert (run.label == run.data.labelled[:, None, None]).all()
    assert opened.digests()["fused"] == "fused"
    assert "fused" not in assemble.open_inputs(**inputs(stores)).digests()


def test_damaged_checkpoint_is_named(tmp_path):
    path = tmp_path / "field.safetensors"
    save_tensors(path, {"a": torch.zeros(1000)}, {})
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"field\.safetensors"):
        load_tensors(path)


def test_the_same_tensors_are_the_same_bytes(tmp_path):
    for number in range(8):
        save_tensors(tmp_path / f"{number}", {"a": torch.zeros(3), "b": torch.ones(2)}, {"x": 1})
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def replay(folder, trained, out, settings=SEMANTICS):
    """Figures of the refreshes of the training in `trained`; returns the closing line."""
    return draw_refreshes.run(
        **inputs(folder),
        regions=folder / "regions.zarr",
        shared=trained / "shared",
        semantics=trained / "semantics",
        out=out,
        settings=settings,
        region_settings=REGIONS,
        figure_settings=DrawRefreshes(views=2),
    )


def test_a_replay_draws_the_labels_of_the_training(stores, tmp_path, monkeypatch):
    refresh, used, drawn = PseudoLabels.refresh, [], {}

    def recorded(self):
        used.append(refresh(self))
        return used[-1]

    def rows(views, columns, classes, title):
        drawn[title] = (columns, [panels[-4:] for panels in views.values()])
        return label_rows(views, columns, classes, title)

    monkeypatch.setattr(PseudoLabels, "refresh", recorded)
    train(stores, tmp_path)
    monkeypatch.setattr(PseudoLabels, "refresh", refresh)
    monkeypatch.setattr(draw_refreshes, "label_rows", rows)
    closing = replay(stores, tmp_path, tmp_path / "refreshes")
    assert closing == {"refreshes": 4, "views": 2, "novel_views": 2}
    moments = [f"iteration {iteration}" for iteration in (8, 9, 10, 11)]
    slots = [0, len(used[0][0]) // 2]
    for title, first, part, views in (
        ("training views", ["photo", "first labels"], 0, slots),
        ("novel views", ["render"], 1, [0, 1]),
    ):
        columns, panels = drawn[title]
        assert columns == [*first, *moments]
        expected = [[labels[part][view].numpy() for labels in used] for view in views]
        np.testing.assert_array_equal(panels, expected)


def test_a_replay_that_was_stopped_gives_the_same_pictures(stores, whole, tmp_path, monkeypatch):
    replay(stores, whole[0], tmp_path / "unbroken")
    with monkeypatch.context() as patch:
        asked = iter([False, False, True])  # after the third iteration from T on
        patch.setattr(progress, "stop_wanted", lambda: next(asked))
        with pytest.raises(Stopped):
            replay(stores, whole[0], tmp_path / "broken")
    assert not (tmp_path / "broken").exists()
    replay(stores, whole[0], tmp_path / "broken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "unbroken"]
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "unbroken").iterdir()}
    assert pictures.keys() - {LIST} == {"training_views.png", "novel_views.png"}
    assert pictures == {path.name: path.read_bytes() for path in (tmp_path / "broken").iterdir()}


def test_a_replay_says_where_it_is_another_training(stores, whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run")
    log = tmp_path / "run/semantics/train.csv"
    table = pd.read_csv(log)
    table.loc[table["iteration"] == 9, "label"] *= 1.01
    table.to_csv(log, index=False)
    closing = replay(stores, tmp_path / "run", tmp_path / "refreshes")
    assert closing["warning"].startswith("`label` is not that of train.csv")
    without = SEMANTICS.model_copy(
        update={"cse": SEMANTICS.cse.model_copy(update={"enabled": False})}
    )
    with pytest.raises(UserError, match="never refreshes a label"):
        replay(stores, whole[0], tmp_path / "none", without)


def test_cse_that_does_nothing_says_so(stores, tmp_path):
    """Without a refresh the variant is another name of the training without CSE."""
    idle = {"start": 1.0, "min_seen_by": 99, "min_valid": 0.5}
    settings = SEMANTICS.model_copy(update={"cse": SEMANTICS.cse.model_copy(update=idle)})
    train_shared.run(**inputs(stores), out=tmp_path / "shared", settings=settings)
    closing = train_semantics.run(
        **inputs(stores),
        regions=stores / "regions.zarr",
        shared=tmp_path / "shared",
        out=tmp_path / "semantics",
        settings=settings,
        region_settings=REGIONS,
    )
    assert "CSE starts after the last iteration and replaces no label" in closing["warning"]
    assert "none of the 2 novel views asked for could be used" in closing["warning"]
    with pytest.raises(UserError, match="after the last of 12 iterations, so this training never"):
        replay(stores, tmp_path, tmp_path / "figures", settings)
