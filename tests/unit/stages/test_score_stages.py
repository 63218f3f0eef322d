"""sample_frames to draw_figures on tiny stores whose scores can be counted by hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scene_formats
from features_fixtures import tiny_labels, write_regions
from PIL import Image
from scene_folders import CLASSES, label, photo, write_replica

from ovnerf.cli import main
from ovnerf.config.frames import ReadTruth, SampleFrames
from ovnerf.config.labels import RankRegions
from ovnerf.evaluation.rows import COLUMNS, row
from ovnerf.labels.void import VOID
from ovnerf.runtime.errors import UserError
from ovnerf.stages import (
    draw_figures,
    evaluate,
    read_truth,
    sample_frames,
    score_agreement,
    score_labels,
)
from ovnerf.storage.stores import open_store, read, verify, write_store

RANKING = RankRegions()
PLACE = {"dataset": "demo", "scene": "tiny", "encoder": "toy"}
TEST_FRAMES = [0, 10]


def views_store(path: Path, label: np.ndarray, rgb: np.ndarray, **arrays: np.ndarray) -> Path:
    write_store(
        path, "views", {"label": label, "rgb": rgb, **arrays}, {"frames": TEST_FRAMES}, "views"
    )
    return path


def read_table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False, dtype={"value": float})


def value(table: pd.DataFrame, **cells: str) -> float:
    """The one value whose row has these cells; cells not named are empty."""
    wanted = dict.fromkeys(("protocol", "frame", "class"), "") | cells
    rows = table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    assert len(rows) == 1, rows
    return float(rows["value"].iloc[0])


def test_sample_frames_writes_the_store(tmp_path):
    folder, out = write_replica(tmp_path / "scene", frames=24), tmp_path / "frames.zarr"
    summary = sample_frames.run(
        folder=folder, out=out, settings=SampleFrames(frames=12, width=16, height=12)
    )
    store = open_store(out, "frames")
    verify(store)
    assert summary["frames"] == 12
    assert summary["train"] == 10
    assert "box is a guess" in summary["warning"]
    assert store.attrs["names"][:3] == ["rgb_000", "rgb_002", "rgb_004"]
    assert read(store, "split").tolist() == [1, *[0] * 9, 1, 0]
    assert read(store, "rgb").shape == (12, 12, 16, 3)
    assert store.attrs["box"][1][0] == 1.5
    read_truth.run(folder=folder, frames=out, out=tmp_path / "truth.zarr", settings=ReadTruth())
    assert read(open_store(tmp_path / "truth.zarr", "truth"), "label").shape == (12, 12, 16)


def test_digest_follows_images_but_not_labels(tmp_path):
    folder, settings = write_replica(tmp_path / "scene"), SampleFrames()

    def digest() -> str:
        sample_frames.run(folder=folder, out=tmp_path / "frames.zarr", settings=settings)
        return str(open_store(tmp_path / "frames.zarr", "frames").attrs["digest"])

    first = digest()
    Image.fromarray(np.zeros((24, 32), np.uint8)).save(
        folder / "semantic_300/semantic_class_001.png"
    )
    assert digest() == first
    Image.fromarray(photo(20)).save(folder / "rgb_300/rgb_001.png")
    assert digest() != first


def test_score_labels(tiny_scene, tmp_path):
    frames, truth = tiny_scene
    covered = [0, 1, 2]
    ranked = tiny_labels()[covered]
    relevancy = ranked.copy()
    relevancy[:, :, :6] = VOID
    labels, regions = tmp_path / "labels.zarr", tmp_path / "regions.zarr"
    about = {"frames": covered, "settings": RANKING.model_dump(mode="json")}
    write_store(labels, "labels", {"clip": relevancy, "rsr": ranked}, about, "x")
    # The upper half is one region of wall and lamp, the lower half is in none.
    upper = np.zeros((1, *ranked.shape[1:]), bool)
    upper[:, :24] = True
    write_regions(regions, dict.fromkeys(covered, upper))
    out = tmp_path / "scores.csv"
    stores = {"frames": frames, "truth": truth, "labels": labels, "regions": regions}
    score_labels.run(**stores, out=out, rank_settings=RANKING, **PLACE)
    table = read_table(out)
    assert list(table.columns) == list(COLUMNS)
    assert set(table["split"]) == {"train", "test"}
    for metric in ("mIoU", "accuracy"):
        assert value(table, source="rsr", split="train", protocol="pooled", metric=metric) == 100
    # Of 2880 labelled pixels 1440 are in the region; the lamp's 192 there become wall.
    ceiling = {"source": "rsr_truth", "metric": "accuracy", "split": "train"}
    assert value(table, **ceiling, protocol="pooled") == pytest.approx(100 * 1248 / 2880)
    # Training sees the region alone: the lamp's 192 of its 1440 pixels are wrong.
    covered = {"source": "rsr_truth_covered", "split": "train"}
    for protocol in ("pooled", "per_image"):
        accuracy = value(table, **covered, metric="accuracy", protocol=protocol)
        assert accuracy == pytest.approx(100 * 1248 / 1440)
    # There wall is 1248 of the 1440 pixels that it or the ranking calls wall, the lamp is lost.
    miou = value(table, **covered, metric="mIoU", protocol="pooled")
    assert miou == pytest.approx(100 * (1248 / 1440 + 0) / 2)
    # 6 of 60 labelled columns are predicted void, whatever the row.
    wrong = {"source": "clip", "metric": "accuracy"}
    assert value(table, **wrong, split="test", protocol="per_image") == pytest.approx(90)
    assert value(table, **wrong, split="train", protocol="pooled") == pytest.approx(90)
    right = {"source": "clip_covered", "metric": "accuracy"}
    assert value(table, **right, split="test", protocol="per_image") == 100
    assert (table[["variant", "seed"]] == "").all(axis=None)


def test_fused_labels_are_scored_on_the_views_that_have_them(tiny_scene, tmp_path):
    frames, truth = tiny_scene
    labels, regions, fused = (tmp_path / f"{name}.zarr" for name in ("labels", "regions", "fused"))
    both = tiny_labels()[:3]
    about = {"frames": [0, 1, 2], "settings": RANKING.model_dump(mode="json")}
    write_store(labels, "labels", {"clip": both, "rsr": both}, about, "x")
    write_store(fused, "fused", {"label": both[1:] * 0}, {"frames": [1, 2]}, "x")
    write_regions(regions, dict.fromkeys([0, 1, 2], np.zeros((0, *both.shape[1:]), bool)))
    stores = {"frames": frames, "truth": truth, "labels": labels, "regions": regions}
    out = tmp_path / "scores.csv"
    score_labels.run(**stores, fused=fused, out=out, rank_settings=RANKING, **PLACE)
    table = read_table(out)
    assert set(table[table["source"] == "fused"]["split"]) == {"train"}
    wall = (both[1:] == 0).sum() / (both[1:] != VOID).sum()
    found = value(table, source="fused", split="train", protocol="pooled", metric="accuracy")
    assert found == pytest.approx(100 * wall)


def test_labels_of_no_pixel_have_no_covered_score(tiny_scene, tmp_path):
    frames, truth = tiny_scene
    labels, regions = tmp_path / "labels.zarr", tmp_path / "regions.zarr"
    empty = np.full((2, *tiny_labels().shape[1:]), VOID, np.uint16)
    about = {"frames": [1, 2], "settings": RANKING.model_dump(mode="json")}
    write_store(labels, "labels", {"clip": empty, "rsr": empty}, about, "x")
    write_regions(regions, dict.fromkeys([1, 2], np.zeros((0, *empty.shape[1:]), bool)))
    stores = {"frames": frames, "truth": truth, "labels": labels, "regions": regions}
    score_labels.run(**stores, out=tmp_path / "scores.csv", rank_settings=RANKING, **PLACE)
    table = read_table(tmp_path / "scores.csv")
    assert set(table["source"]) == {"clip", "rsr", "rsr_truth"}
    accuracy = table[table["metric"] == "accuracy"]
    assert (accuracy["value"] == 0).all()


def test_evaluate(tiny_scene, tmp_path):
    frames, truth = tiny_scene
    photos = read(open_store(frames, "frames"), "rgb")[TEST_FRAMES]
    label = tiny_labels()[TEST_FRAMES]
    label[0][label[0] == 2] = 0
    views = views_store(tmp_path / "views.zarr", label, photos, rgb_radiance=np.zeros_like(photos))
    out = tmp_path / "deep" / "metrics.csv"
    run = {**PLACE, "variant": "ovnerf", "seed": 3}
    evaluate.run(frames=frames, views=views, out=out, truth=truth, **run)
    table = read_table(out)
    # Lamp: 12 x 16 = 192 of 48 x 60 = 2880 labelled pixels of each view, all missed in one view.
    test = {"source": "field", "split": "test"}
    accuracy = {**test, "metric": "accuracy"}
    assert value(table, **accuracy, protocol="per_image", frame="000") == pytest.approx(
        100 * (1 - 192 / 2880)
    )
    assert value(table, **accuracy, protocol="per_image", frame="010") == 100
    assert value(table, **accuracy, protocol="pooled") == pytest.approx(100 * (1 - 192 / 5760))
    assert value(
        table, **test, protocol="pooled", metric="IoU", **{"class": "lamp"}
    ) == pytest.approx(50)
    assert value(table, **test, metric="SSIM") == 1
    assert value(table, source="radiance", metric="PSNR") < 10
    radiance = table[table["source"] == "radiance"]
    assert (radiance[["encoder", "variant", "seed"]] == "").all(axis=None)
    assert set(table[table["source"] == "field"]["seed"]) == {"3"}
    evaluate.run(frames=frames, views=views, out=out, truth=truth, radiance_seed=7, **run)
    table = read_table(out)
    radiance = table[table["source"] == "radiance"]
    assert set(radiance["seed"]) == {7} and (radiance[["encoder", "variant"]] == "").all(axis=None)
    assert set(table[table["source"] == "field"]["seed"]) == {3}


def test_views_that_were_trained_on_are_scored_as_seen_by_their_masks(tmp_path):
    """A 3DOVS scene with the published split: masks overlap and leave gaps."""
    folder = scene_formats.write_llff(tmp_path / "scene")
    masks = folder / "segmentations/04"
    (masks / "wall.png").write_bytes((masks / "chair.png").read_bytes())
    frames, truth = tmp_path / "frames.zarr", tmp_path / "truth.zarr"
    settings = SampleFrames(layout="llff", held_out="none", box="ndc")
    sample_frames.run(folder=folder, out=frames, settings=settings)
    read_truth.run(folder=folder, frames=frames, out=truth, settings=ReadTruth(layout="llff"))
    group = open_store(truth, "truth")
    verify(group)
    classes, packed = group.attrs["classes"], read(group, "masks")
    assert packed.shape == (12, 24, 32, 1)
    assert not packed[[1, 2, 3, *range(5, 12)]].any()
    belongs = np.unpackbits(packed[4], axis=-1, count=len(classes)).astype(bool)
    for name in ("chair", "wall"):
        assert (belongs[..., classes.index(name)] == (label(4) == 1 + CLASSES.index("chair"))).all()

    predicted = read(group, "label", [0, 4])
    photos = read(open_store(frames, "frames"), "rgb", [0, 4])
    views, out = tmp_path / "views.zarr", tmp_path / "metrics.csv"
    write_store(views, "views", {"label": predicted, "rgb": photos}, {"frames": [0, 4]}, "views")
    run = {**PLACE, "variant": "ovnerf", "seed": 0}
    evaluate.run(frames=frames, views=views, out=out, truth=truth, **run)
    table = read_table(out)
    assert set(table["split"]) == {"seen"}
    own = {"protocol": "multi_label", "frame": "04"}
    present = belongs.any((0, 1)).sum()
    # The label is the first class of a pixel: chair is whole, wall, which covers the same, is 0.
    assert value(table, **own, metric="mIoU") == pytest.approx(100 * (present - 1) / len(classes))
    single = belongs.sum(-1) == 1
    assert value(table, **own, metric="accuracy") == pytest.approx(100 * single.mean())
    mean = np.mean(
        [value(table, protocol="multi_label", frame=f, metric="mIoU") for f in ("00", "04")]
    )
    assert value(table, protocol="multi_label", metric="mIoU") == pytest.approx(mean)


def test_evaluate_without_truth(tiny_scene, tmp_path):
    frames, _ = tiny_scene
    photos = read(open_store(frames, "frames"), "rgb")[TEST_FRAMES]
    views = views_store(tmp_path / "views.zarr", tiny_labels()[TEST_FRAMES], photos // 2)
    out = tmp_path / "metrics.csv"
    summary = evaluate.run(frames=frames, views=views, out=out, variant="rsr", seed=0, **PLACE)
    assert set(read_table(out)["metric"]) == {"PSNR", "SSIM"}
    assert set(summary) == {"field_PSNR", "field_SSIM"}


def test_views_are_compared_with_each_other(tiny_scene, tmp_path):
    """All cameras of the scene are one, so that each pixel has its like at the same place."""
    frames, _ = tiny_scene
    photos = read(open_store(frames, "frames"), "rgb")[TEST_FRAMES]
    label = np.zeros((2, *photos.shape[1:3]), np.uint16)
    label[0, :12], label[1, :24] = 1, 1
    distance = np.full(label.shape, 2, np.float32)
    solid = np.ones_like(label, np.float16)
    solid[0, 24:] = 0.4  # the lower half shows no surface
    arrays = {"depth": distance, "opacity": solid}
    views = views_store(tmp_path / "views.zarr", label, photos, **arrays)
    out = tmp_path / "metrics.csv"
    evaluate.run(frames=frames, views=views, out=out, variant="rsr", seed=0, **PLACE)
    table = read_table(out)
    # Upper half, both ways: half of the pairs agree on 1, half are 0-1 or 1-0: chance is
    # (1 + 9) / 16 = 5/8, and (1/2 - 5/8) / (3/8) = -1/3.
    found = value(table, source="field", split="test", metric="agreement")
    assert found == pytest.approx(-100 / 3)


def test_agreement_of_label_maps_is_of_training_views(tiny_scene, tmp_path):
    frames, _ = tiny_scene
    every = list(range(12))
    depth, labels, fused = (tmp_path / f"{name}.zarr" for name in ("depth", "labels", "fused"))
    shape = (12, *tiny_labels().shape[1:])
    ones = np.full(shape, 2, np.float32)
    write_store(depth, "depth", {"distance": ones}, {"frames": every}, "d")
    same = np.tile(tiny_labels()[:1], (12, 1, 1))
    odd = same.copy()
    odd[[0, 10]] = 2  # held-out views do not count
    about = {"frames": every, "classes": ["wall", "table", "lamp"]}
    write_store(labels, "labels", {"clip": odd, "rsr": odd * 0}, about, "l")
    train = [frame for frame in every if frame not in TEST_FRAMES]
    write_store(fused, "fused", {"label": same[train]}, {"frames": train}, "f")
    out = tmp_path / "agreement.csv"
    stores = {"frames": frames, "depth": depth, "labels": labels}
    assert set(score_agreement.run(**stores, out=out, **PLACE)) == {
        *("clip_agreement", "rsr_agreement"),
    }
    found = score_agreement.run(**stores, fused=fused, out=out, **PLACE)
    assert found == {"clip_agreement": 100, "rsr_agreement": 0, "fused_agreement": 100}
    assert set(read_table(out)["split"]) == {"train"}


def test_of_many_views_some_are_compared(tiny_scene, tmp_path, monkeypatch):
    monkeypatch.setattr("ovnerf.labels.agreement.MOST_VIEWS", 4)
    frames, _ = tiny_scene
    every = list(range(12))
    depth, labels = tmp_path / "depth.zarr", tmp_path / "labels.zarr"
    shape = (12, *tiny_labels().shape[1:])
    arrays = {"distance": np.full(shape, 2, np.float32)}
    write_store(depth, "depth", arrays, {"frames": every}, "d")
    # Of the training views 1 to 9 and 11 every third: these see two walls, the others one.
    label = np.zeros(shape, np.uint16)
    label[[1, 4, 7, 11], :24] = 1
    about = {"frames": every, "classes": ["wall", "table", "lamp"]}
    write_store(labels, "labels", {"clip": label, "rsr": 1 - label}, about, "l")
    out = tmp_path / "agreement.csv"
    found = score_agreement.run(frames=frames, depth=depth, labels=labels, out=out, **PLACE)
    assert found == {"clip_agreement": 100, "rsr_agreement": 100}


def test_evaluate_refuses_training_views(tiny_scene, tmp_path):
    frames, _ = tiny_scene
    path = tmp_path / "views.zarr"
    photos = read(open_store(frames, "frames"), "rgb")[:1]
    write_store(path, "views", {"label": tiny_labels()[:1], "rgb": photos}, {"frames": [1]}, "x")
    with pytest.raises(UserError, match="expected test views only"):
        evaluate.run(
            frames=frames, views=path, out=tmp_path / "m.csv", variant="rsr", seed=0, **PLACE
        )


def test_draw_figures(tiny_scene, tmp_path):
    frames, truth = tiny_scene
    photos = read(open_store(frames, "frames"), "rgb")[TEST_FRAMES]
    views = views_store(tmp_path / "views.zarr", tiny_labels()[TEST_FRAMES], photos)
    metrics, log = tmp_path / "metrics.csv", tmp_path / "train.csv"
    evaluate.run(
        frames=frames, views=views, out=metrics, truth=truth, variant="rsr", seed=0, **PLACE
    )
    pd.DataFrame({"iteration": [0, 10], "loss": [1.0, 0.5], "psnr": [None, 20.0]}).to_csv(log)
    options = {
        "frames": frames,
        "views": [views, views],
        "names": "baseline,rsr",
        "truth": truth,
        "metrics": [metrics],
        "train": [log, log],
    }
    assert draw_figures.run(out=tmp_path / "first", **options) == {"views": 2, "files": 4}
    draw_figures.run(out=tmp_path / "second", **options)
    names = sorted(path.name for path in (tmp_path / "first").glob("[!.]*"))
    assert names == ["class_iou.png", "training.png", "view_000.png", "view_010.png"]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_a_figure_is_named_by_its_frame_whatever_stands_in_the_name():
    names = ["left/5", "left_5", "left=2F5", "training", "a{b}", "../up", "é 1", "a:b*?"]
    written = [draw_figures.in_file_name(name) for name in names]
    assert written == [
        *("left=2F5", "left_5", "left=3D2F5", "training", "a=7Bb=7D", "..=2Fup", "é 1"),
        "a=3Ab=2A=3F",
    ]


def test_bars_show_a_label_map_once():
    cells = {"split": "test", "dataset": "d", "scene": "s", "encoder": "e", "variant": ""}
    rows = [
        row({**cells, "source": source}, "IoU", value, **{"class": "wall"})
        for source, value in (("rsr", 40.0), ("rsr_covered", 50.0))
    ]
    bars = draw_figures.iou_by_method(pd.DataFrame(rows))
    assert bars.values.tolist() == [["rsr labels", "wall", 40.0]]


def test_bars_of_methods_that_share_a_name_are_apart():
    """A label map and a variant are both called `rsr`; two variants may have a second rule."""
    cells = {"split": "test", "dataset": "d", "scene": "s", "encoder": "e"}
    rows = [
        row({**cells, "source": source, "variant": variant}, "IoU", value, **{"class": "wall"})
        for source, variant, value in (
            ("rsr", "", 40.0),
            ("field", "rsr", 60.0),
            ("field_cosine", "lerf", 10.0),
            ("field_cosine", "tuned", 30.0),
        )
    ]
    bars = draw_figures.iou_by_method(pd.DataFrame(rows))
    assert bars.values.tolist() == [
        ["rsr labels", "wall", 40.0],
        ["rsr", "wall", 60.0],
        ["lerf (field_cosine)", "wall", 10.0],
        ["tuned (field_cosine)", "wall", 30.0],
    ]


def test_draw_figures_counts_names(tiny_scene, tmp_path):
    frames, _ = tiny_scene
    with pytest.raises(UserError, match="found 1 paths for 2 names"):
        draw_figures.run(frames=frames, views=[frames], names="a,b", out=tmp_path / "figures")


def test_the_closing_line_holds_the_warnings_of_what_was_read(tmp_path, capsys):
    folder = write_replica(tmp_path / "scene")
    for number in (4, 7):
        path = folder / f"rgb_300/rgb_{number:03d}.png"
        tags = Image.Exif()
        tags[0x0112] = 6
        Image.open(path).save(path, exif=tags)
    command = ["sample_frames", "--folder", str(folder), "--out", str(tmp_path / "frames.zarr")]
    assert main(command) == 0
    captured = capsys.readouterr()
    warning = json.loads(captured.out)["warning"]
    said = f"{folder}/rgb_300/rgb_004.png and 1 more: photos with an EXIF orientation (6)"
    assert "box is a guess" in warning and said in warning
    assert f"warning: {said}" in captured.err
    store = open_store(tmp_path / "frames.zarr", "frames")
    assert (read(store, "rgb", 4) == photo(4)).all()
