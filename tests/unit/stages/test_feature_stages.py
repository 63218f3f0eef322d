"""The four feature stages on a tiny scene: contents, bad input, and going on after a kill."""

import json

import numpy as np
import pytest
import torch
from features_fixtures import CLASSES, FRAMES, HEIGHT, NAMES, WIDTH, tiny_labels, write_regions

from ovnerf.cli import main
from ovnerf.config.features import CacheDino, CacheFeatures, Simulated
from ovnerf.config.labels import RankRegions
from ovnerf.config.regions import ProposeRegions, Superpixels
from ovnerf.encoders.pyramid import PyramidFeatures, window_grids
from ovnerf.labels.rsr import majority
from ovnerf.labels.void import VOID
from ovnerf.regions.runlength import Regions
from ovnerf.regions.sam import build_sam
from ovnerf.regions.superpixels import propose_superpixels, snapping_parts
from ovnerf.runtime.errors import UserError
from ovnerf.stages import cache_dino, cache_features, propose_regions, rank_regions
from ovnerf.storage import by_frame, stores
from ovnerf.storage.stores import open_store, read, write_store

TRAIN = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11]
CLIP = CacheFeatures(
    encoder=Simulated(kind="simulated", width=16, noise=0.2), scales=(5, 7, 10), stride=0.5
)

SUPERPIXELS = Superpixels(scales=(300, 50))


class Killed(Exception):
    """Stands for the kill of a job."""


def kill_after(monkeypatch, frames):
    """Make the stage die after it has finished this many frames."""
    finish, done = by_frame.save_part, []

    def save_part(path, arrays):
        if len(done) == frames:
            raise Killed
        finish(path, arrays)
        done.append(path)

    monkeypatch.setattr(by_frame, "save_part", save_part)
    return done


def check_resume(monkeypatch, out, stage, count):
    """Run `stage(path)` whole and in two halves; both must give the same bytes."""
    whole, halves = out.with_name("whole.zarr"), out
    stage(whole)
    with monkeypatch.context() as patch:
        kill_after(patch, 3)
        with pytest.raises(Killed):
            stage(halves)
    assert not halves.exists()
    with monkeypatch.context() as patch:
        done = kill_after(patch, count)
        stage(halves)
    assert len(done) == count - 3
    kind = json.loads((whole / "zarr.json").read_text())["attributes"]["kind"]
    first, second = open_store(whole, kind), open_store(halves, kind)
    assert dict(first.attrs) == dict(second.attrs)
    stores.verify(second)
    return second


def test_propose_regions_from_truth(tiny_scene, tmp_path):
    frames, truth = tiny_scene
    settings = ProposeRegions(architecture="truth", weights="absent")
    with pytest.raises(UserError, match="needs --truth"):
        propose_regions.run(frames=frames, out=tmp_path / "r.zarr", settings=settings)
    propose_regions.run(frames=frames, out=tmp_path / "r.zarr", settings=settings, truth=truth)
    group = open_store(tmp_path / "r.zarr", "regions")
    label = read(open_store(truth, "truth"), "label", TRAIN[0])
    for mask in Regions(group).masks(TRAIN[0]):
        assert len(np.unique(label[mask])) == 1
    assert (Regions(group).masks(TRAIN[0]).sum(0) == (label != VOID)).all()


def test_cache_features_simulated(tiny_scene, tmp_path, monkeypatch):
    frames, truth = tiny_scene

    def stage(out):
        return cache_features.run(frames=frames, out=out, settings=CLIP, truth=truth)

    group = check_resume(monkeypatch, tmp_path / "features.zarr", stage, len(TRAIN))
    windows = sum(grid.count for grid in window_grids(HEIGHT, WIDTH, (5, 7, 10), 0.5, 0.25))
    assert group.attrs["frames"] == TRAIN
    assert group.attrs["classes"] == CLASSES
    assert group["embedding"].shape == (len(TRAIN), windows, 16)
    assert group["embedding"].dtype == np.float16
    assert group["box"].dtype == np.int16
    assert group["scale"].shape == (windows,)
    assert group["text_ensemble"].shape == (3, 16)
    assert group["text_blank"].shape == (16,)
    features = PyramidFeatures(group)
    slot = torch.tensor([TRAIN.index(11)])
    one = features.lookup(slot, torch.tensor([0]), torch.tensor([0]))[0, 0].numpy()
    assert int((read(group, "text_bare") @ one).argmax()) == 0


def test_the_simulated_encoder_refuses_scenes_without_labels(tiny_scene, tmp_path):
    frames, truth = tiny_scene
    out = tmp_path / "features.zarr"
    with pytest.raises(UserError, match="no labelled pixel"):
        cache_features.run(frames=frames, out=out, settings=CLIP)
    empty = np.full((FRAMES, HEIGHT, WIDTH), VOID, dtype=np.uint16)
    write_store(truth, "truth", {"label": empty}, {"names": NAMES}, "empty")
    with pytest.raises(UserError, match="no labelled pixel"):
        cache_features.run(frames=frames, out=out, settings=CLIP, truth=truth)
    assert not out.exists()


def test_truth_of_other_frames_is_refused(tiny_scene, tmp_path):
    frames, truth = tiny_scene
    others = {"names": [*NAMES[1:], "012"]}
    write_store(truth, "truth", {"label": tiny_labels()}, others, "shifted")
    out, said = (
        tmp_path / "out.zarr",
        r"truth\.zarr: its frames differ from those in .*frames\.zarr",
    )
    with pytest.raises(UserError, match=said):
        cache_features.run(frames=frames, out=out, settings=CLIP, truth=truth)
    settings = ProposeRegions(architecture="truth", weights="absent")
    with pytest.raises(UserError, match=said):
        propose_regions.run(frames=frames, out=out, settings=settings, truth=truth)
    assert not out.exists()


def test_no_encoder_is_refused(tiny_scene, tmp_path):
    with pytest.raises(UserError, match=r"cache_features\.encoder"):
        cache_features.run(
            frames=tiny_scene[0], out=tmp_path / "features.zarr", settings=CacheFeatures()
        )


@pytest.fixture
def sam_weights(tmp_path):
    """Random toy weights; no real threshold lets their masks pass."""
    torch.manual_seed(0)
    torch.save(build_sam("toy").state_dict(), tmp_path / "sam.pth")
    return ProposeRegions(
        architecture="toy",
        weights=str(tmp_path / "sam.pth"),
        points_per_side=2,
        pred_iou_thresh=-100,
        stability_score_thresh=0,
    )


def test_propose_regions(tiny_scene, tmp_path, sam_weights, monkeypatch):
    def stage(out):
        return propose_regions.run(frames=tiny_scene[0], out=out, settings=sam_weights)

    group = check_resume(monkeypatch, tmp_path / "regions.zarr", stage, len(TRAIN))
    assert group.attrs["frames"] == TRAIN
    assert ProposeRegions(**group.attrs["settings"]) == sam_weights
    masks = Regions(group).masks(4)
    slot = TRAIN.index(4)
    begin, end = read(group, "area_offset")[slot : slot + 2]
    assert masks.shape == (end - begin, HEIGHT, WIDTH)
    assert len(masks) > 0
    assert read(group, "area")[begin:end].tolist() == masks.sum((1, 2)).tolist()
    with pytest.raises(UserError, match="holds no regions of frame 0"):
        Regions(group).masks(0)


def test_propose_superpixels(tiny_scene, tmp_path, monkeypatch):
    settings = ProposeRegions(architecture="superpixels", weights="absent", superpixels=SUPERPIXELS)

    def stage(out):
        return propose_regions.run(frames=tiny_scene[0], out=out, settings=settings)

    group = check_resume(monkeypatch, tmp_path / "regions.zarr", stage, len(TRAIN))
    assert ProposeRegions(**group.attrs["settings"]) == settings
    image = read(open_store(tiny_scene[0], "frames"), "rgb", 4)
    assert np.array_equal(Regions(group).masks(4), propose_superpixels(image, SUPERPIXELS).masks)


def test_cache_dino(tiny_scene, tmp_path, monkeypatch):
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    model = VisionTransformer(
        patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=0, dynamic_img_size=True
    )
    torch.save(model.state_dict(), tmp_path / "dino.pt")
    monkeypatch.setattr("ovnerf.encoders.dino.build_dino", lambda name: model)
    settings = CacheDino(model="tiny", weights=str(tmp_path / "dino.pt"))

    def stage(out):
        return cache_dino.run(frames=tiny_scene[0], out=out, settings=settings)

    group = check_resume(monkeypatch, tmp_path / "dino.zarr", stage, len(TRAIN))
    assert group.attrs["patch"] == 8
    assert CacheDino(**group.attrs["settings"]) == settings
    assert group["token"].shape == (len(TRAIN), 6, 8, 24)
    assert group["token"].dtype == np.float16


def proposed(frame):
    """Regions of one frame: one over nearly everything, painted first, and one per true object."""
    label = tiny_labels()[frame]
    most = np.ones((HEIGHT, WIDTH), bool)
    most[:, 62:] = False
    return np.stack([most, label == 1, label == 2])


@pytest.fixture
def clip_and_regions(tiny_scene, tmp_path):
    """Paths for `rank_regions`; the regions cover test views and miss frame 11."""
    frames, truth = tiny_scene
    clip, regions = tmp_path / "features.zarr", tmp_path / "regions.zarr"
    cache_features.run(frames=frames, out=clip, settings=CLIP, truth=truth)
    write_regions(regions, {frame: proposed(frame) for frame in range(11)})
    return {"frames": frames, "features": clip, "regions": regions}


def test_rank_regions(clip_and_regions, tmp_path, monkeypatch):
    def stage(out):
        return rank_regions.run(**clip_and_regions, out=out, settings=RankRegions())

    both = TRAIN[:-1]
    group = check_resume(monkeypatch, tmp_path / "labels.zarr", stage, len(both))
    assert group.attrs["frames"] == both
    relevancy, ranked = read(group, "clip"), read(group, "rsr")
    truth = tiny_labels()[both]
    known = truth != VOID
    assert relevancy.dtype == ranked.dtype == np.uint16
    assert (relevancy == truth)[known].mean() > 0.8
    assert (ranked == truth)[known].mean() == 1.0
    assert (ranked[:, :, 62:] == VOID).all()


def test_rank_regions_snaps_to_the_photos_superpixels(clip_and_regions, tmp_path):
    maps = {}
    for snap in (False, True):
        out = tmp_path / f"{snap}.zarr"
        rank_regions.run(**clip_and_regions, out=out, settings=RankRegions(snap=snap))
        maps[snap] = read(open_store(out, "labels"), "rsr", 3)
    image = read(open_store(clip_and_regions["frames"], "frames"), "rgb", 4)
    parts = snapping_parts(image)
    assert np.array_equal(maps[True], majority(maps[False], parts, len(CLASSES)))
    assert not np.array_equal(maps[True], maps[False])


def test_rank_regions_as_shipped(clip_and_regions, tmp_path):
    settings = RankRegions(blank_prompt=True, uncovered="void_class", text_bank="bare")
    out = tmp_path / "labels.zarr"
    rank_regions.run(**clip_and_regions, out=out, settings=settings)
    ranked = read(open_store(out, "labels"), "rsr")
    assert (ranked[:, :, 62:] == len(CLASSES)).all()
    assert ranked.max() == len(CLASSES)


def test_void_class_needs_the_blank_prompt(clip_and_regions, tmp_path):
    out = tmp_path / "labels.zarr"
    with pytest.raises(UserError, match=r"rank_regions\.uncovered"):
        settings = RankRegions(uncovered="void_class")
        rank_regions.run(**clip_and_regions, out=out, settings=settings)
    assert not out.exists()


def test_regions_of_other_frames_are_refused(clip_and_regions, tmp_path):
    regions, out = clip_and_regions["regions"], tmp_path / "labels.zarr"
    write_regions(regions, {frame: proposed(frame) for frame in (0, 10)})
    with pytest.raises(UserError, match="no frame is in both"):
        rank_regions.run(**clip_and_regions, out=out, settings=RankRegions())
    arrays = {name: read(open_store(regions, "regions"), name) for name in ("runs", "run_bytes")}
    write_store(regions, "regions", arrays, {"frames": [1], "shape": [96, 128]}, "other")
    with pytest.raises(UserError, match="frames of 128x96 pixels, expected 64x48"):
        rank_regions.run(**clip_and_regions, out=out, settings=RankRegions())
    assert not out.exists()


def test_the_command_line(tiny_scene, tmp_path, capsys):
    frames, truth = tiny_scene
    out = tmp_path / "features.zarr"
    options = ["--frames", str(frames), "--out", str(out), "--settings", CLIP.model_dump_json()]
    assert main(["cache_features", *options]) == 2
    assert "needs ground truth" in capsys.readouterr().err
    assert main(["cache_features", *options, "--truth", str(truth)]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == len(TRAIN)
