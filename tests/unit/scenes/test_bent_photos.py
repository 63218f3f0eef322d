"""What others made of distorted photos is laid on the undistorted frames."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from asking_fixtures import RUN
from PIL import Image
from scene_folders import CLASSES
from scene_formats import FRAMES, write_colmap, write_nerfstudio

from ovnerf.asking.description import read_description
from ovnerf.asking.lerf_ovs import read_lerf_labels
from ovnerf.asking.targets import targets_of_lerf
from ovnerf.config.features import CacheFeatures
from ovnerf.config.frames import SampleFrames
from ovnerf.config.phrases import Phrase
from ovnerf.encoders.precomputed import Maps, read_manifest
from ovnerf.geometry.lens import PhotoLens, photo_lens
from ovnerf.labels.void import VOID
from ovnerf.runtime import progress
from ovnerf.runtime.errors import UserError
from ovnerf.stages import cache_features, sample_frames
from ovnerf.storage.stores import open_store, read
from ovnerf.training.description import describe_run

SIZE = 240, 320
NAMES = [f"view_{index}" for index in range(FRAMES)]
COLOURS = np.array([[0, 0, 0], [250, 0, 0], [0, 250, 0], [0, 0, 250]], np.uint8)
"""Of void and of each class."""
CAMERA = {"fl_x": 300.0, "fl_y": 300.0, "cx": 160.0, "cy": 120.0, "w": SIZE[1], "h": SIZE[0]}


def ids(index: int) -> np.ndarray:
    """u8 (240, 320): what each pixel of a distorted photo shows; 0 is void.

    A board of floor (2) and wall (3), a chair (1) near a corner, void on the right.
    """
    row, column = np.mgrid[: SIZE[0], : SIZE[1]] // 40
    found = (2 + (row + column) % 2).astype(np.uint8)
    found[200:230, 30 + index : 70 + index] = 1
    found[:, 300:] = 0
    return found


def shown(rgb: np.ndarray) -> np.ndarray:
    """(H, W): the ids whose colours are next to a photo's u8 (H, W, 3)."""
    return np.square(rgb[..., None, :].astype(int) - COLOURS).sum(-1).argmin(-1)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `frames` store of photos by a lens that moves what is in their corners by 15 pixels."""
    folder = tmp_path_factory.mktemp("bent")
    scene = write_nerfstudio(folder / "scene", **CAMERA, k1=-0.35, k2=0.1)
    for index, name in enumerate(NAMES):
        Image.fromarray(COLOURS[ids(index)]).save(scene / f"images/{name}.png")
    settings = SampleFrames(layout="nerfstudio", box="as_shipped")
    sample_frames.run(folder=scene, out=folder / "frames.zarr", settings=settings)
    return folder / "frames.zarr"


def lens_of(frames: Path) -> PhotoLens:
    found = photo_lens(open_store(frames, "frames").attrs)
    assert found is not None
    return found


def write_maps(folder: Path, step: int = 1, **changes: object) -> Path:
    """Label maps of the distorted photos, of every `step`-th pixel."""
    folder.mkdir()
    for index, name in enumerate(NAMES):
        Image.fromarray(ids(index)[::step, ::step]).save(folder / f"{name}.png")
    files = {name: f"{name}.png" for name in NAMES}
    content = {"kind": "labels", "classes": ["void", *CLASSES], "void": 0, "files": files}
    (folder / "manifest.json").write_text(json.dumps({**content, **changes}))
    return folder


def wrong(frames: Path, maps: Path) -> float:
    """Share of the frames' pixels whose first label is not what the frame shows there."""
    encoder = {"kind": "precomputed", "folder": str(maps), "cell": 4}
    settings = CacheFeatures.model_validate({"encoder": encoder, "views": "all"})
    out = maps / "features.zarr"
    cache_features.run(frames=frames, out=out, settings=settings)
    found = read(open_store(out, "features"), "label").astype(int)
    rgb = read(open_store(frames, "frames"), "rgb")
    return float(np.mean(np.where(found == VOID, 0, found + 1) != [shown(one) for one in rgb]))


def test_only_undistorted_photos_have_a_lens_in_their_store(frames: Path, tmp_path: Path) -> None:
    found = lens_of(frames)
    assert found.lens.distortion == (-0.35, 0.1, 0, 0, 0) and found.size == SIZE
    assert found.lens.matrix.tolist() == [[300, 0, 160], [0, 300, 120], [0, 0, 1]]
    settings = SampleFrames(layout="colmap", box="as_shipped")
    scene, out = write_colmap(tmp_path / "straight"), tmp_path / "frames.zarr"
    sample_frames.run(folder=scene, out=out, settings=settings)
    assert "lens" not in open_store(out, "frames").attrs


def test_label_maps_of_distorted_photos_fit_the_frames(frames: Path, tmp_path: Path) -> None:
    assert wrong(frames, write_maps(tmp_path / "said", undistorted=False)) < 0.003
    assert wrong(frames, write_maps(tmp_path / "half", 2)) < 0.03
    # As they are, they are far off; so maps of undistorted photos have to say so.
    assert wrong(frames, write_maps(tmp_path / "as_they_are", undistorted=True)) > 0.1


def test_a_manifest_that_does_not_say_it_is_a_warning(frames: Path, tmp_path: Path) -> None:
    def maps_of(name: str, lens: PhotoLens | None, **changes: object) -> Maps:
        return read_manifest(write_maps(tmp_path / name, **changes), list(CLASSES), NAMES, lens)

    lens = lens_of(frames)
    with progress.watched():
        assert maps_of("straight", None).lens is None
        assert maps_of("true", lens, undistorted=True).lens is None
        assert maps_of("false", lens, undistorted=False).lens is lens
        assert not progress.warnings()
        assert maps_of("silent", lens).lens is lens
        (warning,) = progress.warnings()
        assert 'add "undistorted": true' in warning and "silent/manifest.json" in warning
    with pytest.raises(UserError, match="found undistorted 'no', expected true or false"):
        maps_of("bad", lens, undistorted="no")


def test_feature_maps_are_undistorted_as_photos_are(frames: Path, tmp_path: Path) -> None:
    lens = lens_of(frames)
    row, column = np.mgrid[: SIZE[0], : SIZE[1]]
    smooth = 120 + 60 * np.sin(row / 20) + 60 * np.cos(column / 30)
    photo = lens.lens.undistort(smooth.round().astype(np.uint8)[..., None].repeat(3, -1))[..., 0]
    found = lens.undistort(np.stack([smooth, 2 * smooth]).astype(np.float32))
    assert np.abs(found[0] - photo).max() < 1.5
    assert np.abs(found[1] - 2 * found[0]).max() < 1e-3
    assert np.abs(smooth - photo).max() > 20
    # A map of a quarter of the size shows the same, at a quarter of the size.
    small = lens.undistort(smooth[2::4, 2::4].astype(np.float32))
    assert np.abs(small - photo[2::4, 2::4])[2:-2, 2:-2].max() < 4
    folder = tmp_path / "maps"
    folder.mkdir()
    np.save(folder / "text.npy", np.eye(3, 2, dtype=np.float32) + 0.1)
    np.save(folder / "0.npy", np.stack([smooth, 2 * smooth]).astype(np.float32))
    content = {"kind": "features", "classes": CLASSES, "text": "text.npy", "files": {"a": "0.npy"}}
    (folder / "manifest.json").write_text(json.dumps({**content, "undistorted": False}))
    maps = read_manifest(folder, list(CLASSES), ["a"], lens)
    assert np.array_equal(maps.read("a", *SIZE), found)


def test_labels_never_mix(frames: Path) -> None:
    drawn = np.where(ids(0) == 2, np.uint16(1), np.uint16(500))
    assert set(np.unique(lens_of(frames).undistort(drawn, outside=VOID))) == {1, 500}


def test_a_field_s_file_says_that_its_photos_were_undistorted(frames: Path, tmp_path: Path) -> None:
    store, maps = open_store(frames, "frames"), write_maps(tmp_path / "maps")
    wrong(frames, maps)
    run = describe_run(store, open_store(maps / "features.zarr", "features"), "ensemble", False)
    found = read_description({"run": json.loads(json.dumps(run)), "digest": "d"}, Path("field"))
    assert found.lens is not None
    assert found.lens.described() == lens_of(frames).described() == store.attrs["lens"]


@pytest.mark.parametrize("shrink", [1, 2])
def test_lerf_labels_of_distorted_photos_fit_the_frames(
    frames: Path, tmp_path: Path, shrink: int
) -> None:
    """The chair of one photo, as its outline and its box in the distorted photo."""
    store, (rows, columns) = open_store(frames, "frames"), np.nonzero(ids(2) == 1)
    x0, x1, y0, y1 = (int(side) for side in (*np.sort(columns)[[0, -1]], *np.sort(rows)[[0, -1]]))
    labels = tmp_path / "labels"
    labels.mkdir()
    outline = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
    entry = {"category": "chair", "segmentation": outline, "bbox": [x0, y0, x1 + 1, y1 + 1]}
    info = {"width": SIZE[1], "height": SIZE[0]}
    (labels / "view_2.json").write_text(json.dumps({"info": info, "objects": [entry]}))
    size = SIZE[0] // shrink, SIZE[1] // shrink
    run = {**RUN, "names": NAMES, "height": size[0], "width": size[1]}
    run |= {"split": [0] * FRAMES, "pose": [np.eye(4).tolist()] * FRAMES}
    described = {"run": {**run, "lens": store.attrs["lens"]}, "digest": "d"}
    targets = targets_of_lerf(labels, read_description(described, Path("field")))
    target = targets.at("view_2", Phrase(("chair",)))
    assert target is not None
    seen = (shown(read(store, "rgb", 2)) == 1)[shrink // 2 :: shrink, shrink // 2 :: shrink]
    (bent,) = read_lerf_labels(labels, size)["view_2"]
    assert iou(target.mask, seen) > 0.94 > 0.75 > iou(bent.mask, seen)
    across, down = (np.flatnonzero(seen.any(axis)) for axis in (0, 1))
    bounds = across[0], down[0], across[-1] + 1, down[-1] + 1
    assert np.abs(np.subtract(target.boxes[0], bounds)).max() <= 1.5
    assert np.abs(np.subtract(bent.box, bounds)).max() > 3


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())
