"""Which files are photos, poses and labels, and which of them belong to one frame.

Standard library only: the Snakefile asks. Files are paired by the numbers in their names, never by
their position in a folder, and every frame of a scene gets a name of its own.
"""

from __future__ import annotations

import errno
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import chain
from pathlib import Path

from ovnerf.runtime.errors import UserError
from ovnerf.storage.text import same_form, spellings

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
PICTURE = re.compile("^(vis|color|colour|thumb|overlay)_|_(vis|color|colour|thumb|overlay)$")
"""What tools add to a mask's name for a picture of it."""
LAYOUT_HINT = "docs/datasets.md draws the layouts: is `layout` right?"

Key = int | str | tuple[int, ...]
"""What ties a frame's files together: the number in their names that differs from frame to frame,
several such numbers, or the whole stem where a name holds no number."""


def visible_files(folder: Path, below: bool = False) -> list[Path]:
    """Files of a folder, sorted; of the folders below it, too, when asked for.

    What starts with a dot, or lies in a folder that does, is left out: it is an editor's or a file
    system's own. A link that leads nowhere counts as a file, so that opening it says so.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder", LAYOUT_HINT)
    found = folder.rglob("*") if below else folder.iterdir()
    return sorted(
        path
        for path in found
        if not path.is_dir()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def with_suffix_of(files: Iterable[Path], suffixes: frozenset[str]) -> list[Path]:
    """The files whose suffix, in small letters, is one of these."""
    return [path for path in files if path.suffix.lower() in suffixes]


def photos_in(folder: Path, prefix: str = "", below: bool = False) -> list[Path]:
    """The photos of a folder, sorted; of those below it, too, when asked for.

    Args:
        prefix: how their names start, where other images lie beside them.

    Raises:
        UserError: there is no such folder, or no photo in it.
    """
    files = [path for path in visible_files(folder, below) if path.name.startswith(prefix)]
    photos = with_suffix_of(files, IMAGE_SUFFIXES)
    if not photos:
        raise UserError(
            f"{folder}: found no photo"
            + (f" but {len(files)} other files ({files[0].name})" if files else "")
            + f", expected {prefix + '*' if prefix else 'names'} ending in "
            + ", ".join(sorted(IMAGE_SUFFIXES)),
            LAYOUT_HINT,
        )
    return photos


def labels_in(folder: Path, prefix: str) -> tuple[list[Path], tuple[Path, ...]]:
    """The label images of a folder, and the files beside them that are left alone.

    Where any file has a documented name (`prefix` and a number), only those are labels: pictures
    of the labels, thumbnails and the like lie beside them. Else every PNG is one. Both results are
    empty when there is no such folder.

    Raises:
        UserError: there are files, and no label image is among them.
    """
    if not folder.is_dir():
        return [], ()
    files = visible_files(folder)
    images = with_suffix_of(files, frozenset({".png"}))
    documented = [path for path in images if is_documented(path.stem, prefix)]
    labels = documented or images
    if files and not labels:
        raise UserError(
            f"{folder}: found no label image but {len(files)} other files ({files[0].name}), "
            f"expected {prefix}<number>.png",
            "write labels as PNG, or move the folder away to go without ground truth",
        )
    return labels, tuple(path for path in files if path not in set(labels))


def masks_in(folder: Path) -> tuple[list[Path], tuple[Path, ...]]:
    """The masks in a folder of one PNG per class, and the files beside them that are left alone.

    `vis_table.png` and `table_vis.png` beside `table.png` are pictures of that mask.
    """
    files = visible_files(folder)
    images = with_suffix_of(files, frozenset({".png"}))
    stems = {path.stem for path in images}
    masks = [path for path in images if PICTURE.sub("", path.stem) not in stems - {path.stem}]
    return masks, tuple(path for path in files if path not in set(masks))


def is_documented(stem: str, prefix: str) -> bool:
    """Whether a name is the prefix and a number (or several, joined by `.`, `_` or `-`)."""
    return bool(re.fullmatch(re.escape(prefix) + r"[0-9]+([._-][0-9]+)*", stem))


def numbers_in(stem: str) -> tuple[int, ...]:
    """Every whole number in a name, from left to right."""
    return tuple(int(digits) for digits in re.findall("[0-9]+", stem))


def text_in(stem: str) -> str:
    """A name with its numbers left out: equal for names that are built alike."""
    return re.sub("[0-9]+", "#", stem)


def varying(rows: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
    """Columns in which rows of numbers differ; None when the rows are not of one length."""
    if len({len(row) for row in rows}) > 1:
        return None
    columns = enumerate(zip(*rows, strict=True))
    return tuple(number for number, column in columns if len(set(column)) > 1)


def keys_of(photos: Sequence[str], *others: Sequence[str]) -> list[list[Key]]:
    """Keys of the photos and of each other group of files, from their stems.

    The numbers that differ between photos are a photo's key. Groups whose names are built like the
    photos' (`1311868164.363181` both times) use the same columns of numbers; in a group with other
    names the key is made of as many numbers, those that differ within it, else the last ones.
    """
    # A Mac decomposes letters with accents: such names must still be equal to composed ones.
    first, *groups = ([same_form(stem) for stem in stems] for stems in (photos, *others))
    texts = {text_in(stem) for stem in first}
    alike = [{text_in(stem) for stem in stems} <= texts for stems in groups]
    same = [stems for stems, is_alike in zip(groups, alike, strict=True) if is_alike]
    rows = [row for stem in chain(first, *same) if (row := numbers_in(stem))]
    # Names with different counts of numbers have no columns to compare: the key is every number.
    columns = varying(rows)
    if columns == ():
        columns = (-1,)
    found = [[key_of(stem, columns) for stem in first]]
    for stems, is_alike in zip(groups, alike, strict=True):
        own = columns if is_alike or columns is None else own_columns(stems, len(columns))
        found.append([key_of(stem, own) for stem in stems])
    return found


def own_columns(stems: Sequence[str], count: int) -> tuple[int, ...]:
    """Columns of `count` numbers that tell files apart: those that differ, else the last ones."""
    columns = varying([row for stem in stems if (row := numbers_in(stem))])
    last = tuple(range(-count, 0))
    return columns if columns is not None and len(columns) == count else last


def key_of(stem: str, columns: tuple[int, ...] | None) -> Key:
    """The numbers in these columns (all when None, or when there are fewer); the stem if none."""
    row = numbers_in(stem)
    if columns is not None and all(-len(row) <= column < len(row) for column in columns):
        row = tuple(row[column] for column in columns)
    if not row:
        return stem
    return row[0] if len(row) == 1 else row


def shown(key: Key) -> str:
    """A key as messages show it."""
    return " and ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def in_order(key: Key) -> tuple[bool, tuple[int, ...] | str]:
    """Sort key: numbers ascending, then names without a number."""
    return isinstance(key, str), (key,) if isinstance(key, int) else key


def by_key(paths: Sequence[Path], keys: Sequence[Key]) -> dict[Key, Path]:
    """Files by key in numeric order (plain stems last); UserError when two share a key."""
    found: dict[Key, Path] = {}
    for key, path in zip(keys, paths, strict=True):
        if key in found:
            raise UserError(
                f"{path}: same frame number {shown(key)} as {found[key].name}, "
                "expected one file a frame",
                "remove or rename one of the two",
            )
        found[key] = path
    return dict(sorted(found.items(), key=lambda item: in_order(item[0])))


def paired(photos: Sequence[Path], *others: Sequence[Path]) -> list[dict[Key, Path]]:
    """The photos and each other group of files, by key, in the order of the frames.

    Raises:
        UserError: two files of a group have one key, or the photos' order is not certain.
    """
    check_order(photos)
    groups = (photos, *others)
    keys = keys_of(*([path.stem for path in group] for group in groups))
    return [by_key(group, own) for group, own in zip(groups, keys, strict=True)]


def check_order(photos: Sequence[Path]) -> None:
    """UserError when names like 12.5 and 12.25 have one order as decimals, another as numbers."""
    decimals = [path for path in photos if re.fullmatch(r"[0-9]+\.[0-9]+", path.stem)]
    as_numbers = sorted(decimals, key=lambda path: numbers_in(path.stem))
    as_decimals = sorted(decimals, key=lambda path: Decimal(path.stem))
    for one, other in zip(as_numbers, as_decimals, strict=True):
        if one != other:
            raise UserError(
                f"{one.parent}: found {one.name} and {other.name}, whose order is not certain, "
                "expected as many digits behind each point",
                "fill up the shorter names with zeros",
            )


def check_partners(
    photos: dict[Key, str], others: dict[Key, Path], folder: Path, what: str
) -> None:
    """UserError unless files pair up with photos for certain.

    Either side may have more than the other; when both have some that the other lacks, the numbers
    are likely shifted, and no pair is certain.

    Args:
        photos: how to call each photo, by key.
        others: the files of `folder`, by key.
        what: one of them in words.
    """
    alone = [photos[key] for key in photos if key not in others]
    left = [others[key].name for key in others if key not in photos]
    if alone and left:
        raise UserError(
            f"{folder}: found no {what} for {len(alone)} of {len(photos)} photos ({alone[0]}) and "
            f"no photo for {len(left)} of {len(others)} files ({left[0]}), expected equal numbers "
            "in their names",
            f"give each photo and its {what} one number, or remove what has no partner",
        )


def image_stem(path: Path) -> str:
    """A photo's name without its suffix; the whole name where that is no image suffix."""
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


def frame_names(paths: Iterable[Path]) -> tuple[str, ...]:
    """Names of photos, each once, from their paths inside the scene.

    A name is the stem, with its letters composed (NFC); with the folders before it where equal
    stems lie in several folders; with the suffix behind it where one folder has the photo in two
    formats.

    Raises:
        UserError: two photos would have one name in spite of that, or a name is not in UTF-8.
    """
    paths = list(paths)
    for path in paths:
        # Python keeps bytes that are no UTF-8 as lone surrogates, which cannot be written.
        if any("\ud800" <= letter <= "\udfff" for letter in str(path)):
            raise UserError(
                f"{str(path)!a}: found a file name that is not in UTF-8, expected UTF-8",
                "rename the photo, for example with convmv",
            )
    names = [same_form(image_stem(path)) for path in paths]
    if len(set(names)) < len({path.with_name(image_stem(path)) for path in paths}):
        names = [same_form("_".join((*path.parts[:-1], image_stem(path)))) for path in paths]
    count = Counter(names)
    names = [
        name + path.suffix if count[name] > 1 else name
        for name, path in zip(names, paths, strict=True)
    ]
    first: dict[str, Path] = {}
    for name, path in zip(names, paths, strict=True):
        if name in first:
            raise UserError(
                f"{path}: would have the frame name {name!r}, as {first[name]}",
                "rename one of the two",
            )
        first[name] = path
    return tuple(names)


def photo_order(path: str) -> tuple[list[list[tuple[str, int, str]]], list[tuple[str, int, str]]]:
    """Sort key of photos: folder by folder, prefix by prefix, `view_2` before `view_10`.

    Several walks through a room must not be interleaved: which frames are held out, and between
    which cameras novel views lie, goes by this order.

    Args:
        path: inside the scene, with `/` or `\\` between folders.
    """
    *folders, name = path.replace("\\", "/").split("/")
    return [natural(folder) for folder in folders if folder != "."], natural(name)


def natural(name: str) -> list[tuple[str, int, str]]:
    """Sort key of a name: texts as letters, the numbers behind them as numbers.

    The text behind the last number comes before any further number: `3.png` before `3-2.png`.
    """
    tail = re.split(r"\d", name)[-1]
    numbered = re.findall(r"(\D*)(\d+)", name)
    return [*((text, int(number), "") for text, number in numbered), ("", -1, tail)]


def listed_photo(folder: Path, name: str, index: Path) -> Path:
    """The photo that a list of frames means: the file of that name, else of another image suffix.

    Lists are written with `\\` between folders on Windows, without suffixes by some tools, and
    before the photos were converted by others. Letters with accents may be composed or not.

    Args:
        folder: the scene folder.
        name: as in the list.
        index: the list, for messages.

    Raises:
        UserError: the name leads out of the folder; no photo, or several, can be meant.
    """
    with_slashes = name.replace("\\", "/")
    candidates = [folder / spelling for spelling in (*spellings(name), *spellings(with_slashes))]
    path = next((path for path in candidates if holds(path.exists)), folder / with_slashes)
    inside = path.relative_to(folder) if path.is_relative_to(folder) else path
    if not inside.parts or inside.is_absolute() or ".." in inside.parts or leads_home(path, inside):
        raise UserError(
            f"{index}: frame {name!r} lies outside the scene folder",
            "write file_path relative to transforms.json, without `..` and `~`",
        )
    if holds(path.is_file):
        return path
    suffixes = sorted({*IMAGE_SUFFIXES, *map(str.upper, IMAGE_SUFFIXES)})
    others = (
        candidate.with_name(image_stem(candidate) + suffix)
        for candidate in dict.fromkeys(candidates)
        for suffix in suffixes
    )
    meant = [other for other in others if holds(other.is_file)]
    if len(meant) > 1:
        raise UserError(
            f"{index}: frame {name!r} can mean {meant[0].name} and {meant[1].name}",
            "write the suffix in file_path, or remove one of the two",
        )
    if not meant:
        beside = visible_files(path.parent) if holds(path.parent.is_dir) else []
        raise UserError(
            f"{path}: no such image, expected by {index.name}; "
            + (f"its folder holds {beside[0].name} ..." if beside else "its folder is not there"),
            "file_path is relative to the scene folder",
        )
    return meant[0]


def photos_by_name(photos: Sequence[str], names: Iterable[str], index: Path) -> dict[str, str]:
    """Name in a list of frames -> photo, for the names that are a photo's.

    A name is its photo's path, else that path with another image suffix, or without one; on
    Windows with `\\` between folders. Letters with accents may be composed or not.

    Args:
        photos: paths of all photos, with `/`.
        names: as in the list.
        index: the list, for messages.

    Raises:
        UserError: a photo, or a name, has two partners.
    """
    photo_of = {same_form(photo): photo for photo in photos}
    forms = {name: same_form(name) for name in names}
    paths = {
        name: form if form in photo_of else form.replace("\\", "/") for name, form in forms.items()
    }
    found = {name: photo_of[path] for name, path in paths.items() if path in photo_of}
    left: dict[str, list[str]] = {}
    for photo in sorted({*photos} - {*found.values()}):
        left.setdefault(same_form(without_suffix(photo)), []).append(photo)
    for name, path in paths.items():
        if name in found:
            continue
        meant = left.get(without_suffix(path), [])
        if len(meant) > 1:
            raise UserError(
                f"{index}: photo {name!r} can be {meant[0]} and {meant[1]}",
                "keep one of the two, or give it the name that the list has",
            )
        if meant:
            found[name] = meant[0]
    owner: dict[str, str] = {}
    for name, photo in found.items():
        if owner.setdefault(photo, name) != name:
            raise UserError(
                f"{index}: found {photo} for two of its photos, {owner[photo]!r} and {name!r}",
                "bring back the photo that is missing",
            )
    return found


def without_suffix(path: str) -> str:
    """A photo's path without its image suffix."""
    suffix = Path(path).suffix
    return path.removesuffix(suffix) if suffix.lower() in IMAGE_SUFFIXES else path


def leads_home(path: Path, inside: Path) -> bool:
    """Whether a path begins with `~` or a drive (`C:`) and no such folder lies in the scene."""
    return bool(re.match(r"~|[A-Za-z]:", inside.parts[0])) and not holds(path.exists)


def holds(question: Callable[[], bool]) -> bool:
    """The answer of `path.exists` and the like; no for a name that is too long for any file."""
    try:
        return question()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False
