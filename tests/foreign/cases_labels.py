"""Label images, masks and tables of ids as other programs write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scene_formats
import table
from PIL import Image
from scene_folders import CLASSES, label, write_replica

from ovnerf.cli import main
from ovnerf.labels.void import VOID
from ovnerf.storage.stores import open_store, read

Change = Callable[[Path], object]


def truth(layout: str, change: Change) -> Callable[[Path], table.Arguments]:
    """`read_truth` of a scene in this layout after a change to it."""

    def make(folder: Path) -> table.Arguments:
        write = {
            "replica": write_replica,
            "llff": scene_formats.write_llff,
            "scannet": scene_formats.write_scannet,
        }[layout]
        scene = write(folder / "scene")
        change(scene)
        common = ["--folder", str(scene), "--settings", json.dumps({"layout": layout})]
        frames = str(folder / "frames.zarr")
        assert main(["sample_frames", *common, "--out", frames]) == 0
        return ["read_truth", *common, "--frames", frames, "--out", folder / "truth.zarr"]

    return make


def asked(layout: str, *names: str) -> Callable[[Path], table.Arguments]:
    """`read_truth` of a scene in this layout for a class list of these names."""

    def make(folder: Path) -> table.Arguments:
        write = {"replica": write_replica, "llff": scene_formats.write_llff}[layout]
        scene = write(folder / "scene")
        classes = folder / "asked.txt"
        classes.write_text("\n".join(names) + "\n", encoding="utf-8")
        chosen = json.dumps({"layout": layout, "classes": str(classes)})
        common = ["--folder", str(scene), "--settings", chosen]
        frames = str(folder / "frames.zarr")
        assert main(["sample_frames", *common, "--out", frames]) == 0
        return ["read_truth", *common, "--frames", frames, "--out", folder / "truth.zarr"]

    return make


def masks_are(expected: Callable[[int], np.ndarray], *frames: int) -> Callable[[Path], None]:
    """The masks of these frames are those of a function's ids, class k at bit k - 1."""

    def check(folder: Path) -> None:
        store = open_store(folder / "truth.zarr", "truth")
        for frame in frames:
            bits = np.unpackbits(read(store, "masks", frame), axis=-1, count=len(CLASSES))
            ids = expected(frame)[..., None] == np.arange(1, len(CLASSES) + 1)
            assert bits.tolist() == ids.astype(int).tolist()
        labels_are(expected, *frames)(folder)

    return check


def labels_are(expected: Callable[[int], np.ndarray], *frames: int) -> Callable[[Path], None]:
    """The labels of these frames are the ids of a function, 0 void and class k at k - 1."""

    def check(folder: Path) -> None:
        store = open_store(folder / "truth.zarr", "truth")
        for frame in frames:
            ids = expected(frame).astype(int)
            assert read(store, "label", frame).tolist() == np.where(ids, ids - 1, VOID).tolist()

    return check


def every_label(save: Callable[[np.ndarray, Path], object]) -> Change:
    def change(scene: Path) -> None:
        for index in range(12):
            save(label(index), scene / f"semantic_300/semantic_class_{index:03d}.png")

    return change


def every_mask(save: Callable[[np.ndarray, Path], object]) -> Change:
    """Save each mask of a 3DOVS scene (bool) in another way."""

    def change(scene: Path) -> None:
        for view in (0, 4):
            for number, name in enumerate(CLASSES, start=1):
                save(label(view) == number, scene / f"segmentations/{view:02d}/{name}.png")

    return change


def grey_mask(inside: int) -> Change:
    return every_mask(lambda mask, path: Image.fromarray(np.uint8(mask * inside)).save(path))


def in_alpha(mask: np.ndarray, path: Path) -> None:
    """White all over, the mask in the alpha channel."""
    channels = [np.full(mask.shape, 255), 255 * mask]
    Image.fromarray(np.stack([channels[0]] * 3 + [channels[1]], -1).astype(np.uint8)).save(path)


def smooth(mask: np.ndarray, path: Path) -> None:
    """A mask whose pixel (0, 0) is light grey where inside and dark grey where outside."""
    grey = np.uint8(mask * 255)
    grey[0, 0] = 128 if mask[0, 0] else 127
    grey[1, :2] = (0, 255) if not mask[1, 0] and mask[1, 1] else grey[1, :2]
    Image.fromarray(grey).save(path)


def two_masks(mask: np.ndarray, path: Path) -> None:
    """One mask in the colours, its opposite in the alpha channel."""
    grey, alpha = 255 * mask, np.where(mask, 0, 255)
    alpha[0, 0] = 255
    Image.fromarray(np.stack([grey, grey, grey, alpha], -1).astype(np.uint8)).save(path)


def palette(ids: np.ndarray, path: Path) -> None:
    image = Image.fromarray(ids).convert("P")
    image.putdata(ids.ravel().tolist())
    image.putpalette([number % 256 for number in range(255, 255 + 768)])
    image.save(path)


def four_bits(ids: np.ndarray, path: Path) -> None:
    """Grey of four bits, which decoders spread over 0 to 255."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", ids.shape[1], ids.shape[0], 4, 0, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(row[::2] * 16 + row[1::2]) for row in ids)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def row(line: str) -> Change:
    """A further row in ScanNet's table."""

    def change(scene: Path) -> None:
        path = scene.parent / "scannetv2-labels.combined.tsv"
        path.write_text(path.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")

    return change


def nyu(number: str) -> Change:
    """Office chairs (raw id 2) get this NYU40 id."""

    def change(scene: Path) -> None:
        path = scene.parent / "scannetv2-labels.combined.tsv"
        text = path.read_text(encoding="utf-8").replace(
            "chair\tchair\t5", f"chair\tchair\t{number}"
        )
        path.write_text(text, encoding="utf-8")

    return change


def nyu_labels(chair: int) -> Callable[[Path], None]:
    """Walls and floors are classes 0 and 1 of the benchmark's list, chairs this."""

    def check(folder: Path) -> None:
        found = read(open_store(folder / "truth.zarr", "truth"), "label", 3)
        expected = np.array([VOID, chair, 1, 0])[label(3)]
        assert found.tolist() == expected.tolist()

    return check


def decomposed(scene: Path) -> None:
    """A class with an accent, its masks named as a Mac names files."""
    path = scene / "segmentations/classes.txt"
    path.write_text("chair\nfloor\nw\u00e4ll\n", encoding="utf-8")
    for view in ("00", "04"):
        mask = scene / f"segmentations/{view}/wall.png"
        mask.rename(mask.with_name("wa\u0308ll.png"))


def twice(scene: Path) -> None:
    decomposed(scene)
    mask = scene / "segmentations/00/wa\u0308ll.png"
    mask.with_name("w\u00e4ll.png").write_bytes(mask.read_bytes())


def all_void(folder: Path) -> None:
    assert (read(open_store(folder / "truth.zarr", "truth"), "label") == VOID).all()


REPLICA_LABEL = "{folder}/scene/semantic_300/semantic_class_000.png"
MASK = "{folder}/scene/segmentations/00/chair.png"
TABLE = "{folder}/scene/../scannetv2-labels.combined.tsv"

CASES: list[table.Case] = [
    table.Read("palette labels", truth("replica", every_label(palette)), labels_are(label, 0, 5)),
    table.Read(
        "16-bit labels",
        truth(
            "replica",
            every_label(lambda ids, path: Image.fromarray(ids.astype(np.uint16)).save(path)),
        ),
        labels_are(label, 0, 5),
    ),
    table.Read("four-bit labels", truth("replica", every_label(four_bits)), labels_are(label, 2)),
    table.Refused(
        "labels saved as JPEG",
        truth(
            "replica", every_label(lambda ids, path: Image.fromarray(ids).save(path, format="JPEG"))
        ),
        (REPLICA_LABEL + ": found a label image in JPEG format, expected PNG",),
    ),
    table.Refused(
        "grey labels saved as RGB",
        truth(
            "replica",
            every_label(lambda ids, path: Image.fromarray(ids).convert("RGB").save(path)),
        ),
        (REPLICA_LABEL + ": found a label image with mode RGB, expected one channel of ids",),
    ),
    table.Read(
        "labels that are void all over",
        truth("replica", every_label(lambda ids, path: Image.fromarray(0 * ids).save(path))),
        all_void,
        ("every labelled pixel is void", '"absent_classes": 3'),
    ),
    table.Read("masks of 0 and 1", truth("llff", grey_mask(1)), labels_are(label, 0, 4)),
    table.Read("masks of 0 and 254", truth("llff", grey_mask(254)), labels_are(label, 0, 4)),
    table.Read(
        "bilevel masks",
        truth("llff", every_mask(lambda mask, path: Image.fromarray(mask).save(path))),
        labels_are(label, 0, 4),
    ),
    table.Read("masks in alpha", truth("llff", every_mask(in_alpha)), labels_are(label, 0, 4)),
    table.Read(
        "masks with grey edges",
        truth("llff", every_mask(smooth)),
        labels_are(label, 0, 4),
        ("masks with grey edges are cut at half",),
    ),
    table.Refused(
        "one mask in the colours, another in alpha",
        truth("llff", every_mask(two_masks)),
        (MASK + ": found one mask in the colours and another in the transparency",),
    ),
    table.Refused(
        "an image of ids where a mask should be",
        truth(
            "llff",
            lambda scene: Image.fromarray(label(0)).save(scene / "segmentations/00/chair.png"),
        ),
        (MASK + ": found a mask with 4 values from 0 to 3, expected two",),
    ),
    table.Read(
        "a mask named as a Mac names files", truth("llff", decomposed), labels_are(label, 0, 4)
    ),
    table.Refused(
        "two masks of one name in two forms",
        truth("llff", twice),
        ("{folder}/scene/segmentations/00/", "found a second mask of 'w\u00e4ll'"),
    ),
    table.Read("ScanNet ids as they are", truth("scannet", nyu("5")), nyu_labels(4)),
    table.Read("NYU40 id 0 is void", truth("scannet", nyu("0")), nyu_labels(VOID)),
    table.Refused(
        "NYU40 id out of range",
        truth("scannet", nyu("41")),
        ("label-filt/0.png: found label id 2", "line 3: found nyu40id '41', expected 0 to 40"),
    ),
    table.Read(
        "a bad row whose id occurs nowhere", truth("scannet", row("77\tlamp\tlamp")), nyu_labels(4)
    ),
    table.Refused(
        "a bad row whose id occurs",
        truth("scannet", row("3\trug\trug\t20\trug")),
        ("label-filt/0.png: found label id 3", "line 6: found id 3 for", "an earlier line"),
    ),
    table.Read(
        "a quotation mark in a raw category",
        truth("scannet", row('50\t"24 inch monitor\tmonitor\t40\totherprop')),
        nyu_labels(4),
    ),
    table.Read(
        "a class list in other case than the scene's own",
        asked("replica", "Chair", "floor", "WALL"),
        labels_are(label, 0, 5),
    ),
    table.Read(
        "a class list in other case than the masks",
        asked("llff", "Chair", "floor", "WALL"),
        masks_are(label, 0, 4),
    ),
]
