"""Image files -> arrays: photos as 8-bit RGB, label images as ids, masks as inside or outside.

Pixels are taken as they are stored: no turning by an orientation tag, no colour profile. What
cannot be read without a guess is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import ExifTags, Image

from ovnerf.runtime import progress
from ovnerf.runtime.errors import UserError

FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP", "GIF", "PPM")
"""What photos may be, whatever their suffix. MPO is what phones write: a JPEG with further pictures
(a preview, a depth map) after the photo."""
EIGHT_BITS = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr")
"""Pillow's modes whose 8-bit RGB values are exact."""
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
DEEP_COLOURS = re.compile(r"(LA|RGB|RGBA|RGBa|RGBX);16[BLN]")
"""How 16-bit files with several channels are packed, of which Pillow keeps the upper 8 bits."""
TWELVE_BITS = 4095
"""16-bit files whose values all lie below this hold fewer bits, or a picture all but black."""
GREY_STEPS = {"L;2": 85, "L;4": 17}
"""Grey levels of 2 and 4 bits are spread over 0 to 255 by these factors when they are decoded."""
GREY_EDGES = 0.1
"""At most this share of a mask's pixels may be between black and white: smooth edges, no more."""


@dataclass(frozen=True)
class Decoded:
    """An image and how its file packs the pixels.

    Attributes:
        image: decoded.
        packing: Pillow's name of the file's pixel layout, such as `RGB;16B`; empty where it has
            none.
        where: names the image in messages.
    """

    image: Image.Image
    packing: str
    where: str


def open_image(path: Path | BinaryIO, where: str = "") -> Decoded:
    """A decoded image; UserError when missing, truncated, not an image, or several.

    Args:
        where: names the image in messages where `path` is an open file.
    """
    where = where or str(path)
    try:
        with Image.open(path) as image:
            packing = packing_of(image)
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            image.load()
    except FileNotFoundError:
        raise UserError(f"{where}: no such image") from None
    except Exception as error:  # Pillow raises many kinds for damaged bytes
        raise UserError(
            f"{where}: not a readable image ({error})", "replace the file; PNG and JPEG are read"
        ) from None
    if frames != 1:
        raise UserError(
            f"{where}: found {frames} pictures in one file ({image.format}), expected one",
            "save each as a file of its own",
        )
    return Decoded(image, packing, where)


def packing_of(image: Image.Image) -> str:
    """Pillow's name of the pixel layout of a file that was opened and not yet decoded."""
    arguments = image.tile[0].args if getattr(image, "tile", None) else ""  # type: ignore[attr-defined]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def read_rgb(path: Path | BinaryIO, where: str = "") -> np.ndarray:
    """u8 (H, W, 3) of a photo; transparency is blended over white. Arguments as `open_image`.

    Values of 16 bits are scaled, v / 257 to the nearest; fewer bits over the full range.

    Raises:
        UserError: as `open_image`, and where 8-bit RGB would be a guess: floats, 32 bits, inks
            (CMYK), fewer than 16 bits in a 16-bit file.
    """
    decoded = open_image(path, where)
    image, where = decoded.image, decoded.where
    if image.format not in FORMATS:
        raise UserError(
            f"{where}: found a {image.format} image, expected PNG, JPEG or WebP",
            "save it in one of these",
        )
    warn_if_turned(decoded)
    if image.mode in SIXTEEN_BITS or DEEP_COLOURS.fullmatch(decoded.packing):
        return over_white(deep_image(decoded, path))
    if image.mode not in EIGHT_BITS:
        raise UserError(
            f"{where}: found an image of mode {image.mode}, expected grey or RGB of 8 or 16 bits",
            "convert it in a program that knows its range and colour profile",
        )
    return over_white(image)


def warn_if_turned(decoded: Decoded) -> None:
    """Note a photo that asks to be shown turned: its pose has to be that of the stored pixels."""
    try:
        orientation = decoded.image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged tag changes no pixel
        return
    if orientation in range(2, 9):
        progress.warn(
            f"photos with an EXIF orientation ({orientation}) are read as stored, not turned: "
            "poses must be those of the stored pixels",
            decoded.where,
        )


def deep_image(decoded: Decoded, path: Path | BinaryIO) -> Image.Image:
    """An image of 8 bits a channel from one of 16.

    Raises:
        UserError: it has a transparent colour, or its values do not reach 12 bits: whether they
            are 10 or 12-bit values or a black picture cannot be told.
    """
    image, where = decoded.image, decoded.where
    if "transparency" in image.info:
        raise UserError(
            f"{where}: found a 16-bit image with one transparent colour, expected none",
            "save it with an alpha channel or without transparency",
        )
    if image.mode in SIXTEEN_BITS:
        values = np.asarray(image).astype(np.uint32)
    else:
        values = all_sixteen_bits(path, where)
    colours = values[..., :3] if values.ndim == 3 else values
    if 0 < colours.max() <= TWELVE_BITS:
        raise UserError(
            f"{where}: found 16-bit values of at most {colours.max()}, expected the range up to "
            "65535: are they values of 12 bits or fewer?",
            "scale them to 16 bits or save 8 bits; a black photo has to be left out",
        )
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def all_sixteen_bits(path: Path | BinaryIO, where: str) -> np.ndarray:
    """u32 (H, W, 3 or 4) of a 16-bit colour image, which Pillow would cut to 8 bits."""
    if isinstance(path, Path):
        content = path.read_bytes()
    else:
        path.seek(0)
        content = path.read()
    found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype != np.uint16 or found.ndim != 3:
        raise UserError(f"{where}: not a readable 16-bit image", "save 8 bits")
    order = [2, 1, 0, 3][: found.shape[2]]  # OpenCV's blue comes first
    return found[..., order].astype(np.uint32)


def over_white(image: Image.Image) -> np.ndarray:
    """u8 (H, W, 3) of an 8-bit image; transparency is blended over white."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def read_label_ids(path: Path) -> np.ndarray:
    """i64 (H, W) ids as they are in the file: grey values, or palette positions.

    Raises:
        UserError: as `open_image`; not a PNG (other formats mix or invert values), or more than
            one channel.
    """
    decoded = open_image(path)
    image = decoded.image
    if image.format != "PNG":
        raise UserError(
            f"{path}: found a label image in {image.format} format, expected PNG",
            "other formats change ids; write PNG from the original labels, not from this file",
        )
    if image.mode not in ("1", "L", "P", "I", *SIXTEEN_BITS):
        raise UserError(
            f"{path}: found a label image with mode {image.mode}, expected one channel of ids",
            "colour-coded label images cannot be read; write class ids",
        )
    return np.asarray(image).astype(np.int64) // GREY_STEPS.get(decoded.packing, 1)


def read_mask(path: Path) -> np.ndarray:
    """bool (H, W): where a mask is not black.

    A mask has two values, one of them 0: 0 and 1, 0 and 254, 0 and 255, black and one colour. Or
    what can be seen of it is of one colour, and its alpha channel is the mask. Smooth edges are cut
    at half, with a warning.

    Raises:
        UserError: as `open_image`; more values, two masks in one file that differ, or an image
            that is transparent all over.
    """
    decoded = open_image(path)
    image = decoded.image
    if image.mode in (*SIXTEEN_BITS, "I"):
        return inside(path, np.asarray(image).astype(np.int64))
    if image.mode not in EIGHT_BITS or DEEP_COLOURS.fullmatch(decoded.packing):
        raise UserError(
            f"{path}: found a mask of mode {image.mode} ({decoded.packing}), expected black and "
            "white of 8 bits or one 16-bit channel"
        )
    colours = np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
    shade = shades(path, colours[..., :3])
    if colours.shape[-1] < 4 or (colours[..., 3] == 255).all():
        return inside(path, shade)
    alpha = colours[..., 3].astype(np.int64)
    if not alpha.any():
        raise UserError(f"{path}: found a mask that is transparent all over")
    colour = shade[alpha > 0][0]
    # Programs leave black, or the colour itself, where nothing is seen.
    if (shade[alpha > 0] == colour).all() and np.isin(shade[alpha == 0], (0, colour)).all():
        return inside(path, alpha)
    found = inside(path, shade)
    if (found != inside(path, alpha)).any():
        raise UserError(
            f"{path}: found one mask in the colours and another in the transparency",
            "save the mask in black and white without transparency",
        )
    return found


def shades(path: Path, colours: np.ndarray) -> np.ndarray:
    """i64 (H, W): one number per pixel of a grey image or one of black and a single colour."""
    if (colours == colours[..., :1]).all():
        return colours[..., 0].astype(np.int64)
    lit = colours.any(-1)
    if (colours[lit] != colours[lit][0]).any():
        raise UserError(
            f"{path}: found a mask of several colours, expected black and white",
            "one file per class, white inside",
        )
    return np.where(lit, 255, 0)


def inside(path: Path, shade: np.ndarray) -> np.ndarray:
    """bool (H, W) from the grey values of a mask; UserError where they are no mask's."""
    values = np.unique(shade)
    if len(values) <= 2 and (values[0] == 0 or len(values) == 1):
        return shade > 0
    full = 255 if values[-1] <= 255 else 65535
    between = float(((shade > 0) & (shade < full)).mean())
    if len(values) == 2 or values[0] != 0 or values[-1] != full or between > GREY_EDGES:
        raise UserError(
            f"{path}: found a mask with {len(values)} values from {values[0]} to {values[-1]}, "
            "expected two, 0 outside",
            "save it in black and white; label images with ids belong to other layouts",
        )
    progress.warn("masks with grey edges are cut at half", str(path))
    return 2 * shade > full
