"""Label maps that another program made, as the `precomputed` encoder meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import table
from features_fixtures import HEIGHT, WIDTH, write_tiny_scene
from PIL import Image

from ovnerf.labels.void import VOID
from ovnerf.storage.stores import open_store, read

FRAMES = [f"{index:03d}" for index in range(12)]
TRAIN = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11]
SIZE = (HEIGHT, WIDTH)
MAPS = "{folder}/maps/"


def maps(
    save: Callable[[Path], object], name: str = "001.png", **changes: object
) -> Callable[[Path], table.Arguments]:
    """Good maps of wall, table and lamp (0, 1, 2; void 255), all wall; `save` writes one of them.

    Args:
        save: writes the map of frame 001 to the path it is given.
        name: that map's file.
        changes: entries of the manifest that are not as they should be.
    """

    def make(folder: Path) -> table.Arguments:
        frames, _ = write_tiny_scene(folder)
        (folder / "maps").mkdir()
        files = {frame: f"{frame}.png" for frame in FRAMES} | {"001": name}
        for file in files.values():
            Image.fromarray(np.zeros(SIZE, np.uint8)).save(folder / "maps" / file, "PNG")
        (folder / "maps" / name).unlink()
        save(folder / "maps" / name)
        manifest = {"kind": "labels", "classes": ["wall", "table", "lamp"], "void": 255}
        content = {**manifest, "files": files, **changes}
        (folder / "maps/manifest.json").write_text(json.dumps(content), encoding="utf-8")
        encoder = {"kind": "precomputed", "folder": str(folder / "maps"), "cell": 4}
        settings = json.dumps({"encoder": encoder})
        out = folder / "features.zarr"
        return ["cache_features", "--frames", frames, "--out", out, "--settings", settings]

    return make


def png(values: np.ndarray) -> Callable[[Path], object]:
    return lambda path: Image.fromarray(values).save(path, "PNG")


def npy(values: np.ndarray) -> Callable[[Path], object]:
    return lambda path: np.save(path, values)


def palette(path: Path) -> None:
    """An image of mode P: pixels are indices, colours are for people."""
    image = Image.fromarray(corner(1, np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255] + [0] * 759)
    image.save(path)


def corner(value: int, dtype: type, rest: int = 0) -> np.ndarray:
    """A map of `rest` with one pixel of `value` in its first corner."""
    values = np.full(SIZE, rest, dtype)
    values[0, 0] = value
    return values


def stored(value: int, rest: int = 0) -> Callable[[Path], None]:
    """The label of frame 001 is `corner`, those of all other frames are 0."""

    def check(folder: Path) -> None:
        group = open_store(folder / "features.zarr", "features")
        assert group.attrs["frames"] == TRAIN
        label = read(group, "label")
        assert (label[0] == corner(value, np.uint16, rest)).all()
        assert (label[1:] == 0).all()

    return check


def good(path: Path) -> None:
    png(np.zeros(SIZE, np.uint8))(path)


def archive(path: Path) -> None:
    """What numpy.savez writes, under another suffix."""
    with path.open("wb") as file:
        np.savez(file, label=np.zeros(SIZE, np.uint8))


def cut(path: Path) -> None:
    good(path)
    path.write_bytes(path.read_bytes()[:40])


def void_in_front(folder: Path) -> None:
    """Frame 001 is lamp, the third class, but for a void pixel; the others are void."""
    label = read(open_store(folder / "features.zarr", "features"), "label")
    assert (label[0] == corner(VOID, np.uint16, 2)).all()
    assert (label[1:] == VOID).all()


def other_order(folder: Path) -> None:
    """Frame 001 is wall but for a table's pixel; 0 is lamp in the others."""
    label = read(open_store(folder / "features.zarr", "features"), "label")
    assert (label[0] == corner(1, np.uint16, 0)).all()
    assert (label[1:] == 2).all()


def all_alike(folder: Path, expected: np.ndarray) -> None:
    label = read(open_store(folder / "features.zarr", "features"), "label")
    assert label.shape == (len(TRAIN), *SIZE)
    assert (label == expected).all()


MANY = ["wall", *(f"other {number}" for number in range(298)), "table", "lamp"]

CASES: list[table.Case] = [
    table.Refused(
        "void is the index of a class",
        maps(good, void=0),
        (MAPS + "manifest.json: found void 0", "index of class 'wall'", "expected a label that is"),
    ),
    table.Refused(
        "classes counted from 1",
        maps(png(corner(3, np.uint8, 1))),
        (MAPS + "001.png: found label 3, expected 0 to 2 or 255 for void", "`classes`"),
    ),
    table.Refused(
        "void that the manifest does not name",
        maps(png(corner(255, np.uint8)), void=None),
        (MAPS + "001.png: found label 255, expected 0 to 2", "its `void`"),
    ),
    table.Refused(
        "negative labels",
        maps(npy(corner(-1, np.int64)), "001.npy"),
        (MAPS + "001.npy: found label -1, expected 0 to 2 or 255 for void",),
    ),
    table.Refused(
        "labels with a fraction",
        maps(npy(np.zeros(SIZE)), "001.npy"),
        (MAPS + "001.npy: found labels of type float64, expected whole numbers",),
    ),
    table.Refused(
        "a yes-or-no mask",
        maps(npy(np.zeros(SIZE, bool)), "001.npy"),
        (MAPS + "001.npy: found labels of type bool, expected whole numbers",),
    ),
    table.Refused(
        "a colour picture of labels",
        maps(png(np.zeros((*SIZE, 3), np.uint8))),
        (MAPS + "001.png: found a label image with mode RGB, expected one channel",),
    ),
    table.Refused(
        "a map with a batch axis",
        maps(npy(np.zeros((1, *SIZE), np.uint8)), "001.npy"),
        (MAPS + "001.npy: found an array of shape (1, 48, 64), expected (h, w)",),
    ),
    table.Refused(
        "a map without pixels",
        maps(npy(np.zeros((0, 0), np.uint8)), "001.npy"),
        (MAPS + "001.npy: found an array of shape (0, 0), expected (h, w)",),
    ),
    table.Refused(
        "a map on its side",
        maps(png(np.zeros(SIZE[::-1], np.uint8))),
        (MAPS + "001.png: found a map of 48x64, expected the aspect ratio of the 64x48 images",),
    ),
    table.Refused(
        "a map cut short",
        maps(cut),
        (MAPS + "001.png: not a readable image",),
    ),
    table.Refused(
        "an archive of two arrays",
        maps(
            lambda path: np.savez(path, label=np.zeros(SIZE, int), score=np.ones(SIZE)), "001.npz"
        ),
        (MAPS + "001.npz: not a readable map (found arrays label, score, expected one)",),
    ),
    table.Refused(
        "a bad map in the middle",
        maps(good, files={frame: f"{frame}.png" for frame in FRAMES} | {"007": "manifest.json"}),
        (MAPS + "manifest.json: found a map of kind '.json', expected png, npy, npz or zarr",),
    ),
    table.Refused(
        "a file outside the folder",
        maps(good, files=dict.fromkeys(FRAMES, "../frames.zarr")),
        (MAPS + "manifest.json: '../frames.zarr' lies outside the folder of the maps",),
    ),
    table.Refused(
        "no map of a class",
        maps(good, classes=["wall", "table", "light"]),
        (MAPS + "manifest.json: found no class 'lamp'", "expected every class of the scene"),
    ),
    table.Refused(
        "a class twice",
        maps(good, classes=["wall", "table", "lamp", "wall"]),
        (MAPS + "manifest.json: expected `classes`, a list of different names",),
    ),
    table.Read(
        "classes in another order",
        maps(png(corner(2, np.uint8, 1)), classes=["lamp", "wall", "table"]),
        other_order,
    ),
    table.Read(
        "a void entry in front of classes counted from 1",
        maps(
            npy(corner(0, np.uint8, 3)),
            "001.npy",
            void=0,
            classes=["void", "wall", "table", "lamp"],
        ),
        void_in_front,
    ),
    table.Read(
        "a class that the scene does not have",
        maps(png(corner(3, np.uint8)), classes=["wall", "table", "lamp", "sky"]),
        stored(VOID),
    ),
    table.Read(
        "void as a negative number",
        maps(npy(corner(-1, np.int8)), "001.npy", void=-1),
        stored(VOID),
    ),
    table.Read("indexed colours", maps(palette), stored(1)),
    table.Read(
        "16 bits and 301 classes",
        maps(png(corner(300, np.uint16)), classes=MANY, void=None),
        stored(2),
    ),
    table.Read("a suffix in capitals", maps(png(corner(2, np.uint8)), "001.PNG"), stored(2)),
    table.Refused(
        "an archive called .npy",
        maps(archive, "001.npy"),
        (MAPS + "001.npy: found an archive of arrays, expected one array",),
    ),
    table.Refused(
        "a map of words",
        maps(npy(np.full(SIZE, "wall")), "001.npy"),
        (MAPS + "001.npy: found values of type <U4, expected whole or real numbers",),
    ),
    table.Refused(
        "a map of complex numbers",
        maps(npy(np.zeros(SIZE, np.complex64)), "001.npy"),
        (MAPS + "001.npy: found values of type complex64, expected whole or real numbers",),
    ),
]
