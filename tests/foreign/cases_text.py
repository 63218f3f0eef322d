"""Text files and photos as other programs save them: encodings, names, bit depths."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import table
from PIL import Image
from scene_folders import HEIGHT, WIDTH, photo, write_replica

from ovnerf.storage.stores import open_store, read

COMPOSED, TWO_PARTS = "caf\u00e9", "cafe\u0301"
"""The same word, its last letter as one character and as a letter with an accent behind it."""


def sample(folder: Path, change: Callable[[Path], object]) -> table.Arguments:
    """`sample_frames` of a scene after a change to it."""
    scene = write_replica(folder / "scene")
    change(scene)
    return ["sample_frames", "--folder", scene, "--out", folder / "frames.zarr"]


def classes(content: bytes) -> Callable[[Path], table.Arguments]:
    """A scene whose class list holds these bytes."""
    return lambda folder: sample(folder, lambda scene: (scene / "classes.txt").write_bytes(content))


def named(content: bytes) -> Callable[[Path], table.Arguments]:
    """A scene for which a class list of these bytes is asked."""

    def make(folder: Path) -> table.Arguments:
        (folder / "asked.txt").write_bytes(content)
        chosen = json.dumps({"layout": "replica", "classes": str(folder / "asked.txt")})
        return [*sample(folder, lambda scene: None), "--settings", chosen]

    return make


def first_photo(save: Callable[[Path], object]) -> Callable[[Path], table.Arguments]:
    """A scene whose first photo is saved by this function."""
    return lambda folder: sample(folder, lambda scene: save(scene / "rgb_300/rgb_000.png"))


def saved(image: Image.Image, **options: object) -> Callable[[Path], table.Arguments]:
    """A scene whose first photo is this image, in PNG or the `format` of the options."""
    return first_photo(lambda path: image.save(path, **{"format": "PNG", **options}))


def names_are(*names: str) -> Callable[[Path], None]:
    def check(folder: Path) -> None:
        assert open_store(folder / "frames.zarr", "frames").attrs["classes"] == list(names)

    return check


def first_photo_is(expected: np.ndarray) -> Callable[[Path], None]:
    def check(folder: Path) -> None:
        found = read(open_store(folder / "frames.zarr", "frames"), "rgb", 0)
        assert found.tolist() == np.broadcast_to(expected, (HEIGHT, WIDTH, 3)).tolist()

    return check


def ramp() -> np.ndarray:
    """u16 (H, W), from 0 to 65535 in even steps."""
    return np.linspace(0, 65535, HEIGHT * WIDTH).round().astype(np.uint16).reshape(HEIGHT, WIDTH)


def deep_png(values: np.ndarray, kind: int) -> bytes:
    """A 16-bit PNG of u16 (H, W, channels), which Pillow cannot write. Kind 2 is RGB, 6 RGBA."""
    rows = values.astype(">u2").reshape(len(values), -1)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    parts = chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


DEEP = np.stack([ramp(), ramp()[::-1], np.full_like(ramp(), 129)], -1)
IN_8_BITS = np.rint(ramp() / 257)
CLASSES_FILE = "{folder}/scene/classes.txt"
PHOTO = "{folder}/scene/rgb_300/rgb_000.png"


def latin_sheet(folder: Path) -> table.Arguments:
    sheet = "dataset\tscene\tpath\nmine\troom\tdonn\u00e9es\n"
    (folder / "scenes.tsv").write_bytes(sheet.encode("latin-1"))
    (folder / "config.yaml").write_text(f"scenes: {folder}/scenes.tsv\n", encoding="utf-8")
    return ["check", folder / "config.yaml"]


def wide_config(folder: Path) -> table.Arguments:
    (folder / "config.yaml").write_bytes("scenes: scenes.tsv\n".encode("utf-16"))
    return ["check", folder / "config.yaml"]


def marked_sheet(folder: Path) -> table.Arguments:
    """Config and sheet with byte-order marks and the line ends of Windows."""
    scene = write_replica(folder / "scene")
    sheet = f"\ufeffdataset\tscene\tpath\r\nmine\troom\t{scene}\r\n"
    (folder / "scenes.tsv").write_bytes(sheet.encode())
    (folder / "config.yaml").write_bytes(f"\ufeffscenes: {folder}/scenes.tsv\r\n".encode())
    return ["check", folder / "config.yaml"]


def turned(path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.fromarray(photo(0)).save(path, exif=tags)


def nothing(folder: Path) -> None:
    """What the command says is all there is to look at."""


CASES: list[table.Case] = [
    table.Read(
        "a class list with a byte-order mark and Windows line ends",
        classes(b"\xef\xbb\xbfvoid\r\nchair\r\nfloor\r\nwall\r\n"),
        names_are("chair", "floor", "wall"),
    ),
    table.Read(
        "a class whose accent is a character of its own",
        classes(f"void\n{TWO_PARTS}\n".encode()),
        names_are(COMPOSED),
    ),
    table.Refused(
        "two classes that look the same",
        classes(f"void\n{COMPOSED}\n{TWO_PARTS} \n".encode()),
        (CLASSES_FILE, "appears twice (ids 1 and 2)"),
    ),
    table.Refused(
        "two classes that differ in case and blanks",
        classes(b"void\ncoffee table\nwall\nCoffee  Table\n"),
        (CLASSES_FILE, "'Coffee  Table' appears twice (ids 1 and 3), once as 'coffee table'"),
    ),
    table.Refused(
        "a class list in UTF-16",
        classes("void\nchair\n".encode("utf-16")),
        (CLASSES_FILE + ", line 1: found UTF-16 text, expected UTF-8 text",),
    ),
    table.Refused(
        "a class list in latin-1",
        classes(f"void\nchair\n{COMPOSED}\n".encode("latin-1")),
        (CLASSES_FILE + ", line 3: found byte 0xe9, expected UTF-8 text",),
    ),
    table.Refused(
        "a zero-width blank in a class name",
        classes("void\nchair\u200b\nwall\n".encode()),
        (CLASSES_FILE, "class 1", "U+200B (ZERO WIDTH SPACE)"),
    ),
    table.Refused(
        "a form feed inside a class name, no end of a line",
        classes(b"void\ncoffee\x0ctable\n"),
        (CLASSES_FILE, "U+000C"),
    ),
    table.Refused(
        "a scene sheet in latin-1",
        latin_sheet,
        ("{folder}/scenes.tsv, line 2: found byte 0xe9, expected UTF-8 text",),
    ),
    table.Refused(
        "a config in UTF-16",
        wide_config,
        ("{folder}/config.yaml, line 1: found UTF-16 text, expected UTF-8 text",),
    ),
    table.Read("config and sheet with byte-order marks", marked_sheet, nothing, ('["mine/room"]',)),
    table.Read(
        "a 16-bit grey photo", saved(Image.fromarray(ramp())), first_photo_is(IN_8_BITS[..., None])
    ),
    table.Read(
        "a 16-bit RGB photo",
        first_photo(lambda path: path.write_bytes(deep_png(DEEP, 2))),
        first_photo_is(np.stack([IN_8_BITS, IN_8_BITS[::-1], np.ones_like(IN_8_BITS)], -1)),
    ),
    table.Read(
        "a bilevel photo",
        saved(Image.fromarray(ramp() > 30000)),
        first_photo_is(np.where(ramp() > 30000, 255, 0)[..., None]),
    ),
    table.Read(
        "grey with transparency, over white",
        saved(Image.new("LA", (WIDTH, HEIGHT), (100, 0))),
        first_photo_is(np.full(3, 255)),
    ),
    table.Read(
        "a palette photo",
        saved(Image.fromarray(photo(0) // 128 * 200).quantize(8)),
        first_photo_is(photo(0) // 128 * 200),
    ),
    table.Read(
        "a photo with an orientation tag, as stored",
        first_photo(turned),
        first_photo_is(photo(0)),
        (PHOTO + ": photos with an EXIF orientation (6) are read as stored",),
    ),
    table.Refused(
        "a photo of 12 bits in 16",
        saved(Image.fromarray(ramp() // 16)),
        (PHOTO + ": found 16-bit values of at most 4095, expected the range up to 65535",),
    ),
    table.Refused(
        "a photo of floats",
        saved(Image.fromarray(ramp() / np.float32(65535)), format="TIFF"),
        (PHOTO + ": found an image of mode F, expected grey or RGB of 8 or 16 bits",),
    ),
    table.Refused(
        "a photo of 32-bit numbers",
        saved(Image.fromarray(ramp().astype(np.int32)), format="TIFF"),
        (PHOTO + ": found an image of mode I, expected",),
    ),
    table.Refused(
        "a photo in printing inks",
        saved(Image.new("CMYK", (WIDTH, HEIGHT), (10, 20, 30, 40)), format="JPEG"),
        (PHOTO + ": found an image of mode CMYK, expected",),
    ),
    table.Refused(
        "an animation",
        saved(
            Image.fromarray(photo(0)),
            format="GIF",
            save_all=True,
            append_images=[Image.fromarray(photo(5))],
        ),
        (PHOTO + ": found 2 pictures in one file (GIF), expected one",),
    ),
    table.Refused(
        "a class list of COCO-Stuff's form",
        named(b"0: unlabeled\n1: person\n"),
        ("asked.txt, line 1: found '0: unlabeled', expected a class name", "write 'unlabeled'"),
    ),
    table.Refused(
        "a numbered class list",
        named(b"chair\n2. floor\n"),
        ("asked.txt, line 2: found '2. floor', expected a class name", "write 'floor'"),
    ),
    table.Refused(
        "a numbered class list of the scene's own",
        classes(b"0: void\n1: chair\n2: floor\n3: wall\n"),
        (CLASSES_FILE + ", line 2: found '1: chair', expected a class name", "write 'chair'"),
    ),
    table.Refused(
        "a comment in a class list",
        named(b"chair\nfloor\n# of the kitchen\n"),
        ("asked.txt, line 3: found '# of the kitchen', expected a class name", "comments"),
    ),
    table.Refused(
        "a class list with quotation marks",
        named(b'"chair"\n"floor"\n'),
        ("asked.txt, line 1: found quotation marks in '\"chair\"'", "one name a line"),
    ),
    table.Refused(
        "a class list in one line",
        named(b"chair, floor, wall\n"),
        ("asked.txt: found one line, 'chair, floor, wall', expected one class name per line",),
    ),
    table.Refused(
        "a class list in one line with semicolons",
        named(b"chair;floor\n"),
        ("asked.txt: found one line, 'chair;floor', expected one class name per line",),
    ),
    table.Read(
        "class names that begin with a number, or hold an apostrophe or a comma",
        named(b"3d printer\nchild's chair\n7.5 inch tablet\ncup, saucer\n"),
        names_are("3d printer", "child's chair", "7.5 inch tablet", "cup, saucer"),
    ),
]
