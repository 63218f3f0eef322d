"""Which frames and photos are kept; the captures that are refused before any pose is sought."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from capture_fixtures import HEIGHT, WIDTH, picture, walk, write_photos, write_video
from PIL import ExifTags, Image

from ovnerf.capture.choosing import Choice, choose
from ovnerf.capture.quality import repeated, sharpest_of_intervals
from ovnerf.capture.shots import look_at, reduce, write_shots
from ovnerf.capture.sources import photo_files
from ovnerf.cli import main
from ovnerf.config.capture import Capture
from ovnerf.runtime.errors import UserError


@pytest.fixture(scope="module")
def seen() -> list[np.ndarray]:
    """What twelve cameras see."""
    return [picture(pose) for pose in walk(12)]


def chosen(source: Path, **settings: object) -> Choice:
    wanted = Capture(**settings)  # type: ignore[arg-type]
    return choose(str(source), look_at(source, wanted.frames), wanted)


def blurred(image: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), 5)


def turned_video(path: Path, pictures: list[np.ndarray]) -> Path:
    """A video whose track header says: show it turned by 90 degrees clockwise."""
    content = bytearray(write_video(path, pictures).read_bytes())
    at = content.index(b"tkhd") + 44  # version 0: the matrix follows 40 bytes of other fields
    one = 1 << 16
    content[at : at + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, HEIGHT * one, 0, 1 << 30)
    path.write_bytes(content)
    return path


def corrupt(path: Path, pictures: list[np.ndarray]) -> Path:
    """The first half of a video's bytes: its index, which comes last, is missing."""
    content = write_video(path, pictures).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


BAD: dict[str, tuple[Callable[[Path, list[np.ndarray]], Path], str]] = {
    "dark": (lambda path, seen: write_video(path, [image // 32 for image in seen]), "lamps on"),
    "blurred": (lambda path, seen: write_video(path, [*map(blurred, seen)]), "more slowly"),
    "still": (lambda path, seen: write_video(path, seen[:1] * 20), "the camera stands still"),
    "five frames": (lambda path, seen: write_video(path, seen[:5]), "found 5 usable photos"),
    "a bare wall": (
        lambda path, seen: write_video(path, [np.full_like(image, 200) for image in seen]),
        "not bare walls",
    ),
    "half a file": (corrupt, "not a readable video"),
    "no video": (lambda path, seen: path.write_text("no video") and path, "not a readable video"),
    "nothing": (lambda path, seen: path, "no such video or folder"),
    "no photos": (lambda path, seen: path.mkdir() or path, "found no photo"),  # type: ignore[func-returns-value]
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_capture_is_one_message_and_leaves_nothing(
    name: str, seen: list[np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, expected = BAD[name]
    source = make(tmp_path / "walk.mp4", seen)
    (tmp_path / "made").mkdir()
    assert main(["capture", str(source), str(tmp_path / "made" / "scene")]) == 2
    told = capsys.readouterr().err.split("error: ", 1)[1]
    assert expected in told and told.count("\n") == 2 and "  hint: " in told
    assert not list((tmp_path / "made").iterdir())


def test_the_sharpest_frame_of_each_interval_is_kept_whatever_the_frame_rate() -> None:
    """Ten seconds in five intervals: unequally many frames fall into each, none into the fourth."""
    second = [0, 0.1, 0.2, 0.3, 2.5, 3.9, 4.0, 9.0, 10.0]
    sharpness = [1, 5, 2, 3, 7, 6, 1, 2, 4]
    assert sharpest_of_intervals(second, sharpness, 5) == [1, 4, 6, 8]


def test_photos_that_repeat_the_last_kept_one_are_found() -> None:
    """Steps of a third of the least motion: every third is far enough from the last kept one."""
    wide = cv2.resize(picture(walk(1)[0]), (480, 240))[..., 0]
    thumbs = [np.ascontiguousarray(wide[:, 2 * step : 2 * step + 240]) for step in range(7)]
    wanted = [False, True, True, False, True, True, False]
    assert repeated(thumbs, min_motion=5 / 240) == wanted


def test_one_blurred_frame_of_many_is_dropped_and_counted(
    seen: list[np.ndarray], tmp_path: Path
) -> None:
    frames = [*seen[:4], blurred(seen[4]), *seen[5:]]
    choice = chosen(write_photos(tmp_path / "photos", frames))
    assert choice.dropped == [("photo_04.png", "blurred")]
    # In a video a sharp neighbour of the same interval takes its place.
    both = [frame for image in seen for frame in (blurred(image), image)]
    video = write_video(tmp_path / "walk.mp4", both)
    assert [shot.number for shot in chosen(video, frames=12).shots] == list(range(1, 24, 2))


def test_a_video_is_turned_as_its_flag_says(seen: list[np.ndarray], tmp_path: Path) -> None:
    choice = chosen(turned_video(tmp_path / "walk.mp4", seen))
    assert {shot.size for shot in choice.shots} == {(HEIGHT, WIDTH)}
    write_shots(tmp_path / "walk.mp4", choice.shots[:1], tmp_path, 1600)
    upright = cv2.imread(str(tmp_path / choice.shots[0].name))[..., ::-1].astype(float)
    assert np.abs(upright - np.rot90(seen[0], -1)).mean() < 12  # MPEG-4 and JPEG lose a little
    assert np.abs(upright - np.rot90(seen[0], 1)).mean() > 25


def test_photos_are_turned_and_their_focal_length_is_read(
    seen: list[np.ndarray], tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, image in enumerate(seen):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6  # the stored rows are columns, from the right
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 27
        stored = Image.fromarray(np.rot90(image, 1))
        stored.save(folder / f"{number}.jpg", quality=95, exif=exif)
    choice = chosen(folder)
    assert {shot.size for shot in choice.shots} == {(WIDTH, HEIGHT)}
    assert choice.focal == 27 / 36
    assert [shot.name for shot in choice.shots][-2:] == ["10.jpg", "11.jpg"]


def test_photos_of_another_size_and_damaged_ones_are_left_out(
    seen: list[np.ndarray], tmp_path: Path
) -> None:
    folder = write_photos(tmp_path / "photos", seen)
    cv2.imwrite(str(folder / "portrait.png"), np.rot90(seen[0]))
    whole = (folder / "photo_03.png").read_bytes()
    (folder / "photo_03.png").write_bytes(whole[: len(whole) // 2])
    choice = chosen(folder)
    assert choice.counts() == {"unreadable": 1, "other size or orientation": 1}
    assert len(choice.shots) == 11


def test_a_large_frame_is_reduced() -> None:
    assert reduce(np.zeros((2160, 3840, 3), np.uint8), 1600).shape == (900, 1600, 3)
    assert reduce(np.zeros((90, 160, 3), np.uint8), 1600).shape == (90, 160, 3)


def test_two_photos_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", [np.zeros((4, 4, 3), np.uint8)])
    shutil.copy(folder / "photo_00.png", folder / "photo_00.webp")
    with pytest.raises(UserError, match="found 2 photos called photo_00"):
        photo_files(folder)
