"""Dense encoders: cells in the pyramid's store, precomputed maps, LSeg's shapes and keys."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from features_fixtures import CLASSES, HEIGHT, WIDTH, scores_of, tiny_labels, write_regions
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ovnerf.config.features import CacheFeatures
from ovnerf.config.labels import RankRegions
from ovnerf.encoders.dense import cell_means, cells_of
from ovnerf.encoders.lseg import (
    Backbone,
    LSegEncoder,
    LSegNet,
    Size,
    build_lseg,
    load_lseg,
    read_checkpoint,
)
from ovnerf.encoders.precomputed import read_manifest
from ovnerf.encoders.pyramid import PyramidFeatures, relevancy_labels, window_boxes
from ovnerf.labels.void import VOID
from ovnerf.runtime.errors import UserError
from ovnerf.stages import cache_features, cache_features_part, rank_regions
from ovnerf.storage.stores import open_store, read

NAMES = [f"{index:03d}" for index in range(12)]


@given(st.integers(20, 90), st.integers(20, 90), st.integers(1, 4))
def test_cells_cover_every_pixel_once(height, width, cell):
    grids = cells_of(height, width, cell).grids(height, width)
    covered = np.zeros((height, width), int)
    for x0, y0, x1, y1 in window_boxes(height, width, grids, seed=0, frame=3):
        assert (x0 % cell, y0 % cell) == (0, 0)
        covered[y0:y1, x0:x1] += 1
    assert (covered == 1).all()


def test_cell_means_are_plain_means():
    height, width, cell = 21, 30, 4
    features = torch.rand(70, height, width)
    (grid,) = cells_of(height, width, cell).grids(height, width)
    boxes = window_boxes(height, width, (grid,), 0, 0)
    slow = torch.stack([features[:, y0:y1, x0:x1].mean((1, 2)) for x0, y0, x1, y1 in boxes])
    torch.testing.assert_close(cell_means(features, height, width, grid), slow)


def test_cells_the_pyramid_cannot_express_are_refused():
    with pytest.raises(UserError, match="images of 30x20 hold no whole cells of 9 pixels"):
        cells_of(20, 30, 9)
    with pytest.raises(UserError, match="cells of 40 pixels"):
        cells_of(20, 30, 40)


def write_labels(folder: Path, **changes: object) -> Path:
    """Label maps of half the image size, classes in another order, one class more."""
    folder.mkdir()
    order = ["sky", "lamp", "table", "wall"]
    to_theirs = np.array([3, 2, 1])
    files = {}
    for name, label in zip(NAMES, tiny_labels(), strict=True):
        ids = np.where(label == VOID, 255, to_theirs[np.minimum(label, 2)])
        Image.fromarray(ids[::2, ::2].astype(np.uint8)).save(folder / f"{name}.png")
        files[name] = f"{name}.png"
    content = {"kind": "labels", "classes": order, "void": 255, "files": files, **changes}
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder


def run(tmp_path: Path, tiny_scene: tuple[Path, Path], folder: Path, cell: int = 2) -> Path:
    out = tmp_path / "features.zarr"
    encoder = {"kind": "precomputed", "folder": str(folder), "cell": cell}
    settings = CacheFeatures.model_validate({"encoder": encoder, "views": "all"})
    cache_features.run(frames=tiny_scene[0], out=out, settings=settings)
    return out


def test_label_maps_come_back_as_the_most_relevant_class(tmp_path, tiny_scene):
    out = run(tmp_path, tiny_scene, write_labels(tmp_path / "maps"))
    group = open_store(out, "features")
    text = torch.from_numpy(read(group, "text_ensemble"))
    assert text.shape == (3, 4)
    features = PyramidFeatures(group)
    truth = tiny_labels()
    for frame in (0, 7):
        slot = features.frames.index(frame)
        scores = scores_of(features, slot, torch.cat([text, torch.eye(4)[3:]]))
        assert scores.shape == (1, 4, HEIGHT, WIDTH)
        found = scores[0].argmax(0).numpy()
        # Cells of 2 pixels and maps of half size: the same pixel grid, except at odd borders.
        wanted = np.where(truth[frame] == VOID, 3, truth[frame])[::2, ::2].repeat(2, 0).repeat(2, 1)
        inner = np.zeros_like(found, bool)
        same = wanted[1:-1, 1:-1]
        inner[1:-1, 1:-1] = (same == wanted[:-2, 1:-1]) & (same == wanted[2:, 1:-1])
        inner[1:-1, 1:-1] &= (same == wanted[1:-1, :-2]) & (same == wanted[1:-1, 2:])
        assert (found[inner] == wanted[inner]).all()
        assert (found == wanted).mean() > 0.97


THIN = np.array([[0, 0, 1, 0, 0, 0], [0, 0, 1, 2, 2, VOID]], dtype=np.uint16)
"""Labels with a line one pixel wide, in the order wall, table, lamp."""


def write_thin(folder: Path, suffix: str = "png") -> Path:
    """`THIN` in the corner of otherwise void maps of the image size, numbered as `write_labels`."""
    write_labels(folder)
    theirs = np.full((HEIGHT, WIDTH), 255, np.uint8)
    theirs[:2, :6] = np.array([3, 2, 1, 255], np.uint8)[np.minimum(THIN, 3)]
    for name in NAMES:
        if suffix == "png":
            Image.fromarray(theirs).save(folder / f"{name}.png")
        else:
            np.save(folder / f"{name}.npy", theirs.astype(np.int32))
    content = json.loads((folder / "manifest.json").read_text())
    content["files"] = {name: f"{name}.{suffix}" for name in NAMES}
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("suffix", ["png", "npy"])
def test_labels_are_stored_pixel_by_pixel_beside_the_cells(tmp_path, tiny_scene, suffix):
    out = run(tmp_path, tiny_scene, write_thin(tmp_path / "maps", suffix), cell=4)
    stored = read(open_store(out, "features"), "label")
    assert (stored.shape, stored.dtype) == ((12, HEIGHT, WIDTH), np.uint16)
    expected = np.full((HEIGHT, WIDTH), VOID)
    expected[:2, :6] = THIN
    assert (stored == expected).all()


@pytest.mark.parametrize("blank_prompt", [False, True])
def test_first_labels_are_the_maps_and_rsr_ranks_them(tmp_path, tiny_scene, blank_prompt):
    clip = run(tmp_path, tiny_scene, write_thin(tmp_path / "maps"), cell=4)
    regions, labels = tmp_path / "regions.zarr", tmp_path / "labels.zarr"
    corner = np.zeros((1, HEIGHT, WIDTH), bool)
    corner[:, :2, :6] = True
    write_regions(regions, dict.fromkeys(range(12), corner))
    settings = RankRegions(blank_prompt=blank_prompt)
    stores = {"frames": tiny_scene[0], "features": clip, "regions": regions}
    closing = rank_regions.run(**stores, out=labels, settings=settings)
    group = open_store(labels, "labels")
    first, ranked = read(group, "clip"), read(group, "rsr")
    assert first.dtype == ranked.dtype == np.uint16
    void = 3 if blank_prompt else VOID
    assert (first[:, :2, :6] == np.where(THIN == VOID, void, THIN)).all()
    assert (np.delete(first, [0, 1], axis=1) == void).all()
    # Seven of the corner's eleven labels are wall.
    assert (ranked[:, :2, :6] == 0).all()
    assert closing == {"frames": 12, "void_percent": round(100 * (1 - 12 / (48 * 64)), 2)}


def test_stripes_that_straddle_cells_are_first_labels_as_they_are(tmp_path, tiny_scene):
    """Stripes of 8 pixels, 4 off the cells: every cell holds two classes in equal parts."""
    folder = write_labels(tmp_path / "maps")
    stripe = np.where((np.arange(WIDTH) + 4) // 8 % 2, 1, 2).astype(np.uint8)
    theirs = np.tile(stripe, (HEIGHT, 1))
    for name in NAMES:
        Image.fromarray(theirs).save(folder / f"{name}.png")
    group = open_store(run(tmp_path, tiny_scene, folder, cell=8), "features")
    stored = read(group, "label", 0)
    borders = np.flatnonzero(np.diff(stored[0].astype(int))) + 1
    assert borders.tolist() == list(range(4, WIDTH, 8))
    text = torch.from_numpy(read(group, "text_ensemble"))
    scores = scores_of(PyramidFeatures(group), 0, text)
    assert (relevancy_labels(scores) != stored).mean() > 0.3


def test_a_smaller_map_gives_each_pixel_the_label_under_its_centre(tmp_path, tiny_scene):
    folder = write_labels(tmp_path / "maps")
    theirs = np.full((3, 4), 3, np.uint8)
    theirs[1, 2] = 1
    for name in NAMES:
        Image.fromarray(theirs).save(folder / f"{name}.png")
    stored = read(open_store(run(tmp_path, tiny_scene, folder), "features"), "label", 0)
    # 48x64 pixels of a 3x4 map: each of its labels covers 16x16.
    expected = np.zeros((HEIGHT, WIDTH), int)
    expected[16:32, 32:48] = 2
    assert (stored == expected).all()


def test_a_larger_map_keeps_its_labels_unmixed(tmp_path, tiny_scene):
    folder = write_labels(tmp_path / "maps")
    theirs = np.full((3 * HEIGHT, 3 * WIDTH), 3, np.uint8)
    theirs[:, 1] = 1  # under the centres of the first column of pixels
    theirs[:, 6] = 2  # under no centre: it covers a third of the pixels of column 2
    for name in NAMES:
        Image.fromarray(theirs).save(folder / f"{name}.png")
    stored = read(open_store(run(tmp_path, tiny_scene, folder), "features"), "label", 0)
    expected = np.zeros((HEIGHT, WIDTH), int)
    expected[:, 0] = 2
    assert (stored == expected).all()


def test_parts_carry_the_labels(tmp_path, tiny_scene):
    folder = write_thin(tmp_path / "maps")
    whole = run(tmp_path, tiny_scene, folder)
    encoder = {"kind": "precomputed", "folder": str(folder), "cell": 2}
    settings = CacheFeatures.model_validate({"encoder": encoder, "views": "all", "parts": 3})
    parts = [tmp_path / f"{part}.zarr" for part in range(3)]
    for part, path in enumerate(parts):
        cache_features_part.run(frames=tiny_scene[0], out=path, settings=settings, part=part)
    out = tmp_path / "gathered.zarr"
    cache_features.run(frames=tiny_scene[0], out=out, settings=settings, parts=parts)
    assert dict(open_store(out, "features").attrs) == dict(open_store(whole, "features").attrs)


def test_feature_maps_bring_no_labels(tmp_path, tiny_scene):
    out = run(tmp_path, tiny_scene, write_features(tmp_path / "maps"))
    assert "label" not in open_store(out, "features")


def test_labels_that_are_void_everywhere_are_a_warning(tmp_path, tiny_scene):
    folder = write_labels(tmp_path / "maps")
    for name in NAMES:
        Image.fromarray(np.full((24, 32), 255, np.uint8)).save(folder / f"{name}.png")
    regions = tmp_path / "regions.zarr"
    write_regions(regions, dict.fromkeys(range(12), np.ones((1, HEIGHT, WIDTH), bool)))
    closing = rank_regions.run(
        frames=tiny_scene[0],
        features=run(tmp_path, tiny_scene, folder),
        regions=regions,
        out=tmp_path / "labels.zarr",
        settings=RankRegions(),
    )
    assert closing["void_percent"] == 100
    assert closing["warning"] == "first labels are void everywhere"


def write_features(folder: Path, channels: int = 6, suffix: str = "npy") -> Path:
    folder.mkdir()
    random = np.random.default_rng(0)
    text = random.normal(size=(3, channels)).astype(np.float32)
    np.save(folder / "text.npy", text)
    files = {}
    for name, label in zip(NAMES, tiny_labels(), strict=True):
        values = text[np.minimum(label, 2)].transpose(2, 0, 1).astype(np.float16)
        files[name] = f"{name}.{suffix}"
        if suffix == "npz":
            np.savez_compressed(folder / files[name], values)
        elif suffix == "zarr":
            import zarr

            array = zarr.create_array(str(folder / files[name]), shape=values.shape, dtype="f2")
            array[...] = values
        else:
            np.save(folder / files[name], values)
    content = {"kind": "features", "classes": CLASSES, "text": "text.npy", "files": files}
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("suffix", ["npy", "npz", "zarr"])
def test_feature_maps(tmp_path, tiny_scene, suffix):
    folder = write_features(tmp_path / "maps", suffix=suffix)
    group = open_store(run(tmp_path, tiny_scene, folder, cell=4), "features")
    text = torch.from_numpy(read(group, "text_bare"))
    np.testing.assert_allclose(np.linalg.norm(text, axis=1), 1, atol=1e-6)
    features = PyramidFeatures(group)
    found = scores_of(features, features.frames.index(5), text)[0].argmax(0).numpy()
    truth = tiny_labels()[5]
    assert (found == truth)[truth != VOID].mean() > 0.95


def test_a_changed_map_changes_the_digest(tmp_path, tiny_scene):
    folder = write_labels(tmp_path / "maps")
    first = open_store(run(tmp_path, tiny_scene, folder), "features").attrs["digest"]
    Image.fromarray(np.zeros((24, 32), np.uint8)).save(folder / "003.png")
    assert open_store(run(tmp_path, tiny_scene, folder), "features").attrs["digest"] != first


def without(folder: Path, key: str) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))


BAD_LABELS = {
    "no manifest": (lambda f: (f / "manifest.json").unlink(), r"manifest.json: no such manifest"),
    "not JSON": (lambda f: (f / "manifest.json").write_text("{"), "not valid JSON"),
    "no kind": (lambda f: without(f, "kind"), "found kind None, expected 'labels'"),
    "no classes": (lambda f: without(f, "classes"), "expected `classes`, a list"),
    "no files": (lambda f: without(f, "files"), "expected `files`, a map"),
    "a map is missing": (lambda f: (f / "004.png").unlink(), "004.png: no such map, of frame 004"),
    "three channels": (
        lambda f: Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(f / "002.png"),
        "002.png: found a label image with mode RGB",
    ),
    "unknown label": (
        lambda f: Image.fromarray(np.full((24, 32), 9, np.uint8)).save(f / "002.png"),
        "found label 9, expected 0 to 3 or 255 for void",
    ),
    "another shape": (
        lambda f: Image.fromarray(np.zeros((24, 24), np.uint8)).save(f / "002.png"),
        "found a map of 24x24, expected the aspect ratio of the 64x48 images",
    ),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_bad_label_maps(tmp_path, tiny_scene, case):
    folder = write_labels(tmp_path / "maps")
    damage, said = BAD_LABELS[case]
    damage(folder)
    with pytest.raises(UserError, match=said):
        run(tmp_path, tiny_scene, folder)
    assert not (tmp_path / "features.zarr").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ["wall", "table"]}, "found no class 'lamp'"),
        ({"classes": ["wall", "wall"]}, "expected `classes`, a list of different names"),
        ({"files": {"000": "000.png"}}, r"found no map of frame 001 \(11 of 12 missing\)"),
        ({"void": "none"}, "found void 'none', expected a whole number"),
        ({"files": dict.fromkeys(NAMES, "maps.tif")}, "maps.tif: no such map"),
        (
            {"files": {name: f"{name}.png" for name in NAMES} | {"007": "../maps/003.png"}},
            "lies outside the folder of the maps",
        ),
        (
            {"files": {name: f"{name}.png" for name in NAMES} | {"007": "./003.png"}},
            r"found 003\.png for frames 003 and 007, expected a map for each frame",
        ),
        (
            {"files": {f"{name}.png": f"{name}.png" for name in NAMES}},
            r"found no map of frame 000 \(12 of 12 missing\)(.|\n)*The file names '000\.png'",
        ),
    ],
)
def test_bad_manifests(tmp_path, tiny_scene, changes, said):
    folder = write_labels(tmp_path / "maps", **changes)
    with pytest.raises(UserError, match=said):
        run(tmp_path, tiny_scene, folder)


def test_a_frame_that_a_manifest_names_twice(tmp_path, tiny_scene):
    folder = write_labels(tmp_path / "maps")
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"004"', '"003"'))
    with pytest.raises(UserError, match=r"not valid JSON \(key '003' twice\)"):
        run(tmp_path, tiny_scene, folder)


BAD_FEATURES = {
    "wrong width": (
        lambda f: np.save(f / "001.npy", np.zeros((5, 48, 64))),
        "found 5 channels, expected 6",
    ),
    "flat": (lambda f: np.save(f / "001.npy", np.zeros((48, 64))), r"expected \(D, h, w\)"),
    "not finite": (
        lambda f: np.save(f / "001.npy", np.full((6, 48, 64), np.nan)),
        "numbers that are NaN or infinite",
    ),
    "cut": (lambda f: (f / "001.npy").write_bytes(b"\x93NUMPY"), "001.npy: not a readable map"),
    "no text": (lambda f: without(f, "text"), "expected `text`"),
    "text of other classes": (
        lambda f: np.save(f / "text.npy", np.ones((2, 6))),
        "expected one row for each of 3 classes",
    ),
    "zero text": (lambda f: np.save(f / "text.npy", np.zeros((3, 6))), "of no direction"),
}


@pytest.mark.parametrize("case", BAD_FEATURES)
def test_bad_feature_maps(tmp_path, case):
    folder = write_features(tmp_path / "maps")
    damage, said = BAD_FEATURES[case]
    damage(folder)
    with pytest.raises(UserError, match=said):
        read_manifest(folder, CLASSES, NAMES).read("001", HEIGHT, WIDTH)


SMALL = Size(
    image=64, width=24, depth=4, heads=3, hooks=(0, 1, 2, 3), stages=(6, 8, 10, 10), features=7
)


def small_lseg() -> LSegNet:
    torch.manual_seed(0)
    clip = open_clip.CLIP(
        embed_dim=12,
        vision_cfg={"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        text_cfg={"width": 16, "heads": 2, "layers": 1},
        quick_gelu=True,
    )
    return LSegNet(SMALL, clip, 12).eval()


def test_lseg_shapes_and_odd_sizes():
    encoder = LSegEncoder(small_lseg(), open_clip.tokenize, torch.device("cpu"))
    image = np.random.default_rng(0).integers(0, 256, (75, 97, 3), dtype=np.uint8)
    found = encoder.features(image)
    assert found.shape == (12, 38, 49)
    torch.testing.assert_close(found.norm(dim=0), torch.ones(38, 49))
    edge = np.pad(image, ((0, 21), (0, 31), (0, 0)), mode="edge")
    torch.testing.assert_close(encoder.features(edge)[:, :38, :49], found)
    assert encoder.encode_text(["a wall", "a table"]).shape == (2, 12)


def test_lseg_positions_are_the_models_own_at_its_own_size():
    backbone = Backbone(SMALL)
    torch.testing.assert_close(backbone.positions(4, 4), backbone.model.pos_embed)
    assert backbone.positions(2, 6).shape == (1, 13, 24)


def published_keys() -> set[str]:
    """Parameter names of the published checkpoint outside its CLIP and ViT."""
    keys = set()
    for number in (1, 2, 3, 4):
        stage = f"net.pretrained.act_postprocess{number}"
        layers = [f"{stage}.0.project.0", f"{stage}.3"]
        layers += [f"{stage}.4"] if number != 3 else []
        fusion = f"net.scratch.refinenet{number}"
        layers.append(f"{fusion}.out_conv")
        keys |= {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
        keys.add(f"net.scratch.layer{number}_rn.weight")
        for unit in (f"{fusion}.resConfUnit1", f"{fusion}.resConfUnit2"):
            keys |= {f"{unit}.conv{index}.weight" for index in (1, 2)}
            norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
            keys |= {f"{unit}.bn{index}.{part}" for index in (1, 2) for part in norm}
    return keys | {"net.scratch.head1.weight", "net.scratch.head1.bias"}


def lightning_file(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    """A checkpoint as the training framework writes it, with its own classes inside."""
    import sys
    import types

    module = types.ModuleType("pytorch_lightning.fake")
    kinds = {name: type(name, bases, {}) for name, bases in (("Hyper", (dict,)), ("Callback", ()))}
    for name, kind in kinds.items():
        kind.__module__, kind.__qualname__ = module.__name__, name
        setattr(module, name, kind)
    names = ("pytorch_lightning", module.__name__)
    sys.modules.update({names[0]: types.ModuleType(names[0]), names[1]: module})
    content = {
        "state_dict": tensors,
        "hyper_parameters": kinds["Hyper"](backbone="clip_vitl16_384"),
        "callbacks": {kinds["Callback"]: {"best": torch.tensor(1.0)}},
    }
    torch.save(content, path)
    for name in names:
        del sys.modules[name]
    return path


def test_lseg_loads_the_published_layout_with_every_key_checked(tmp_path):
    net = small_lseg()
    tensors = {f"net.{name}": item for name, item in net.state_dict().items()}
    rest = {
        name
        for name in tensors
        if not name.startswith(("net.clip_pretrained.", "net.pretrained.model."))
    }
    assert rest == published_keys()
    path = lightning_file(tmp_path / "demo.ckpt", tensors)
    other = small_lseg()
    torch.nn.init.zeros_(other.scratch.head1.weight)
    load_lseg(other, path)
    for name, item in net.state_dict().items():
        assert torch.equal(other.state_dict()[name], item), name
    for change, said in (
        (lambda found: found.pop("net.scratch.head1.bias"), "Missing key.*head1.bias"),
        (lambda found: found.update({"net.extra": torch.zeros(1)}), "Unexpected key.*extra"),
        (lambda found: found.update({"net.scratch.head1.bias": torch.zeros(3)}), "size mismatch"),
    ):
        changed = dict(tensors)
        change(changed)
        torch.save({"state_dict": changed}, tmp_path / "changed.ckpt")
        with pytest.raises(UserError, match=f"not the weights of LSeg with ViT-L/16: .*{said}"):
            load_lseg(small_lseg(), tmp_path / "changed.ckpt")
    bias = torch.tensor([0.0, float("nan"), float("inf")]).repeat(4)
    torch.save({"state_dict": {**tensors, "net.scratch.head1.bias": bias}}, path)
    with pytest.raises(UserError, match=r"demo\.ckpt: scratch\.head1\.bias: found 8 of 12 numbers"):
        load_lseg(small_lseg(), path)


def test_code_in_a_checkpoint_is_never_run(tmp_path):
    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {}, "hook": Path("x")}, path)
    with pytest.raises(UserError, match="not a readable weight file"):
        read_checkpoint(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="not a readable weight file"):
        read_checkpoint(path)


def test_the_published_size():
    """Shapes of the full network, without memory for its weights."""
    with torch.device("meta"):
        net = build_lseg()
    shapes = {name: tuple(item.shape) for name, item in net.state_dict().items()}
    assert shapes["pretrained.model.pos_embed"] == (1, 577, 1024)
    assert shapes["pretrained.model.blocks.23.mlp.fc1.weight"] == (4096, 1024)
    assert shapes["pretrained.model.head.weight"] == (1000, 1024)
    assert shapes["pretrained.act_postprocess1.3.weight"] == (256, 1024, 1, 1)
    assert shapes["pretrained.act_postprocess1.4.weight"] == (256, 256, 4, 4)
    assert shapes["pretrained.act_postprocess2.4.weight"] == (512, 512, 2, 2)
    assert shapes["pretrained.act_postprocess4.4.weight"] == (1024, 1024, 3, 3)
    assert shapes["pretrained.act_postprocess4.0.project.0.weight"] == (1024, 2048)
    assert shapes["scratch.layer3_rn.weight"] == (256, 1024, 3, 3)
    assert shapes["scratch.head1.weight"] == (512, 256, 1, 1)
    assert shapes["clip_pretrained.text_projection"] == (512, 512)
    assert shapes["clip_pretrained.visual.conv1.weight"] == (768, 3, 32, 32)


def test_names_in_a_manifest_are_compared_in_composed_form(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    (tmp_path / "0.png").write_bytes(b"")
    content = {"kind": "labels", "classes": [f" {decomposed}", "wall"]}
    content["files"] = {f"{decomposed}_1": "0.png"}
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps(content), encoding="utf-8")
    maps = read_manifest(tmp_path, ["wall", composed], [f"{composed}_1"])
    assert maps.classes == (composed, "wall")
    assert maps.order == (1, 0)
    assert maps.files == {f"{composed}_1": tmp_path / "0.png"}
    twice = {**content, "classes": [composed, decomposed]}
    manifest.write_text(json.dumps(twice), encoding="utf-8")
    with pytest.raises(UserError, match="expected `classes`, a list of different names"):
        read_manifest(tmp_path, [composed], [f"{composed}_1"])
    twice = {**content, "files": {f"{name}_1": "0.png" for name in (composed, decomposed)}}
    manifest.write_text(json.dumps(twice), encoding="utf-8")
    with pytest.raises(UserError, match="expected `files`, a map from different frame names"):
        read_manifest(tmp_path, [composed], [f"{composed}_1"])
