"""Frames of a video and photos of a folder, upright, each with the measures it is judged by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps

from ovnerf.capture.quality import Measures, measure
from ovnerf.capture.sources import is_video, photo_files
from ovnerf.runtime import progress
from ovnerf.runtime.errors import Stopped, UserError
from ovnerf.storage.photos import EIGHT_BITS, open_image, over_white

CANDIDATES = 8
"""So many frames of an interval are looked at, where it has more."""
FULL_FRAME = 36.0
"""Width in millimetres of the film that focal lengths `in 35 mm` are stated for."""
READABLE = "mp4, mov, avi, mkv and webm are read"


@dataclass(frozen=True)
class Shot:
    """A frame of a video or a photo, before it is chosen.

    Attributes:
        name: of the image file that it becomes.
        number: of the frame in the video, of the photo in the sorted folder.
        second: time in the video; of photos their number.
        size: (width, height), upright.
        measures: see `quality.Measures`.
        focal: focal length over the longer side, from EXIF; None where nothing says it.
    """

    name: str
    number: int
    second: float
    size: tuple[int, int]
    measures: Measures
    focal: float | None = None


@dataclass(frozen=True)
class Look:
    """What was seen of a source.

    Attributes:
        shots: in the order of the video or of the photos' names.
        seconds: length of the video; 0 for photos.
        unreadable: photos, or the last part of a video, that cannot be read, each with the reason.
    """

    shots: list[Shot]
    seconds: float
    unreadable: list[tuple[str, str]]


def look_at(source: Path, intervals: int) -> Look:
    """Every shot of a source with its measures; UserError where there is none.

    Args:
        intervals: into how many a video will be cut.
    """
    return look_at_video(source, intervals) if is_video(source) else look_at_photos(source)


def opened(path: Path) -> cv2.VideoCapture:
    """An open video that turns its frames as its rotation flag says; UserError when unreadable."""
    video = cv2.VideoCapture(str(path))
    if not video.isOpened():
        raise UserError(f"{path}: not a readable video", f"replace the file; {READABLE}")
    video.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return video


def wanted_frames(
    path: Path, wanted: Callable[[int], bool]
) -> Iterator[tuple[int, float, np.ndarray]]:
    """(number, second, u8 BGR (H, W, 3)) of the frames whose numbers are wanted.

    Times are those of the file, so frames may be unequally far apart.
    """
    video, number = opened(path), 0
    try:
        while video.grab():
            if wanted(number):
                second = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
                good, frame = video.retrieve()
                if good:
                    yield number, second, frame
            number += 1
            stop_if_wanted()
    finally:
        video.release()


def look_at_video(path: Path, intervals: int) -> Look:
    """The shots of a video; see `look_at`."""
    video = opened(path)
    stated = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
    rate = video.get(cv2.CAP_PROP_FPS) or 30.0
    video.release()
    stride = max(1, stated // (intervals * CANDIDATES))
    progress.begin("capture: looks at", "frames", max(1, stated))
    shots, last = [], -1
    for number, second, frame in wanted_frames(path, lambda at: at % stride == 0):
        size = frame.shape[1], frame.shape[0]
        shots.append(Shot(f"frame_{number:06d}.jpg", number, second, size, measure(frame)))
        progress.advance(number - last)
        last = number
    if not shots:
        raise UserError(f"{path}: found no readable frame in the video", f"replace it; {READABLE}")
    seconds = [shot.second for shot in shots]
    if any(after <= before for before, after in pairwise(seconds)):
        # The file states no times.
        shots = [replace(shot, second=shot.number / rate) for shot in shots]
    unreadable = []
    if last + stride < stated:
        reason = f"the file ends at frame {last + 1} of {stated}"
        progress.warn(f"{reason}: the rest of the video is damaged or missing", str(path))
        unreadable.append(("the end of the video", reason))
    return Look(shots, shots[-1].second, unreadable)


def look_at_photos(folder: Path) -> Look:
    """The shots of a folder; see `look_at`."""
    files = photo_files(folder)
    progress.begin("capture: looks at", "photos", len(files))
    shots, unreadable = [], []
    for number, path in enumerate(files):
        stop_if_wanted()
        try:
            image, focal = upright_photo(path)
        except UserError as error:
            unreadable.append((path.name, error.message))
            progress.warn("photos that cannot be read are left out", path.name)
            continue
        finally:
            progress.advance()
        size = image.shape[1], image.shape[0]
        measures = measure(image[..., ::-1])
        shots.append(Shot(image_name(path), number, number, size, measures, focal))
    if not shots:
        raise UserError(f"{folder}: none of its {len(files)} photos can be read", unreadable[0][1])
    return Look(shots, 0.0, unreadable)


def image_name(path: Path) -> str:
    """Name of a photo's image in the scene folder: PNGs stay PNGs, others become JPEGs."""
    return f"{path.stem}{'.png' if path.suffix.lower() == '.png' else '.jpg'}"


def upright_photo(path: Path) -> tuple[np.ndarray, float | None]:
    """u8 RGB (H, W, 3), turned as its orientation tag says, and its focal length from EXIF.

    The focal length is that of `Shot.focal`.

    Raises:
        UserError: not a readable image of 8 bits a channel.
    """
    image = open_image(path).image
    if image.mode not in EIGHT_BITS:
        raise UserError(f"{path}: found an image of mode {image.mode}, expected 8 bits a channel")
    try:
        turned, focal = ImageOps.exif_transpose(image), exif_focal(image)
    except Exception:  # a damaged tag changes no pixel
        turned, focal = image, None
    return over_white(turned), focal


def exif_focal(image: Image.Image) -> float | None:
    """Focal length over the longer side; None where EXIF does not say it."""
    details = image.getexif().get_ifd(ExifTags.IFD.Exif)
    millimetres = details.get(ExifTags.Base.FocalLengthIn35mmFilm)
    return float(millimetres) / FULL_FRAME if millimetres else None


def write_shots(source: Path, shots: list[Shot], folder: Path, longest: int) -> None:
    """Write the images of the shots, with no side longer than `longest` pixels."""
    progress.begin("capture: keeps", "photos", len(shots))
    for shot, image in images_of(source, shots):
        stop_if_wanted()
        options = [cv2.IMWRITE_JPEG_QUALITY, 95] if shot.name.endswith(".jpg") else []
        if not cv2.imwrite(str(folder / shot.name), reduce(image, longest), options):
            raise UserError(f"{folder / shot.name}: could not be written", "is the disk full?")
        progress.advance()


def images_of(source: Path, shots: list[Shot]) -> Iterator[tuple[Shot, np.ndarray]]:
    """The shots with their u8 BGR (H, W, 3) images."""
    by_number = {shot.number: shot for shot in shots}
    if is_video(source):
        for number, _, frame in wanted_frames(source, by_number.__contains__):
            yield by_number[number], frame
        return
    for number, path in enumerate(photo_files(source)):
        if number in by_number:
            yield by_number[number], upright_photo(path)[0][..., ::-1]


def reduce(image: np.ndarray, longest: int) -> np.ndarray:
    """The image with no side longer than `longest` pixels."""
    height, width = image.shape[:2]
    share = longest / max(height, width)
    if share >= 1:
        return np.ascontiguousarray(image)
    size = max(1, round(width * share)), max(1, round(height * share))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def stop_if_wanted() -> None:
    """Raise `Stopped` where the stage was asked to end."""
    if progress.stop_wanted():
        raise Stopped("capture: stopped")
