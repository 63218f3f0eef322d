"""Where weight files come from, and getting them: resumed, verified, never half-written.

Standard library only: the Snakefile reads the table.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ovnerf.runtime.errors import UserError
from ovnerf.storage.atomic import atomic_file, flush
from ovnerf.storage.provenance import file_digest
from ovnerf.storage.text import read_lines

COLUMNS = ("file", "architecture", "url", "sha256", "licence", "source")
SAFE_PATH = r"[A-Za-z0-9._/][A-Za-z0-9._/-]*"
"""Paths that stand in shell commands as they are."""
BLOCK = 2**20
TIMEOUT_SECONDS = 60

Progress = Callable[[int, int], None]
"""(bytes here so far, bytes in all; 0 when the server does not say)."""


@dataclass(frozen=True)
class Weight:
    """One row of the table.

    Attributes:
        file: path as the settings name it.
        architecture: the model that these weights are for.
        url: where the file itself is; empty when it can only be got by hand.
        sha256: of the whole file; empty when its publisher does not state it.
        licence: of the weights.
        source: a page for people.
    """

    file: str
    architecture: str
    url: str
    sha256: str
    licence: str
    source: str


def read_table(path: Path) -> dict[str, Weight]:
    """The table by file; UserError for missing columns, short sums and repeated files."""
    if not path.is_file():
        raise UserError(f"{path}: no such table of weights", "check `weights_table`")
    lines = [line for line in read_lines(path) if line and not line.startswith("#")]
    found: dict[str, Weight] = {}
    for row in csv.DictReader(lines, delimiter="\t"):
        if set(row) != set(COLUMNS) or None in row.values():
            raise UserError(f"{path}: expected the columns {', '.join(COLUMNS)}, one tab between")
        weight = Weight(**{key: value.strip() for key, value in row.items()})
        if weight.sha256 and len(weight.sha256) != 64:
            raise UserError(f"{path}: {weight.file}: found {weight.sha256!r}, expected a sha256")
        inside = not Path(weight.file).is_absolute() and ".." not in Path(weight.file).parts
        if not re.fullmatch(SAFE_PATH, weight.file) or not inside:
            raise UserError(
                f"{path}: found file {weight.file!r}, expected a plain path below the working "
                "directory: letters, digits and ._-/ without `..`"
            )
        if weight.url and not is_protected(weight.url):
            raise UserError(f"{path}: {weight.file}: found {weight.url}, expected an https address")
        if weight.file in found:
            raise UserError(f"{path}: {weight.file} appears twice, expected once")
        found[weight.file] = weight
    return found


def is_protected(url: str) -> bool:
    """Whether an address is https, or a server on this machine."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "https" or (parts.scheme, parts.hostname) == ("http", "127.0.0.1")


def fetch(weight: Weight, out: Path, folder: Path | None, progress: Progress) -> str:
    """Put a weight file at `out`, from `folder` where it is there, else from its address.

    A download that was broken off goes on where it stopped: its bytes stay in `<out>.part`.

    Returns:
        Where it came from: "here", "folder" or "network".

    Raises:
        UserError: neither place has it, or what was got is not the stated file.
    """
    if out.is_file():
        check(weight, out, "delete it and run again")
        return "here"
    out.parent.mkdir(parents=True, exist_ok=True)
    if folder is not None and (folder / out.name).is_file():
        check(weight, folder / out.name, "replace the file")
        with atomic_file(out) as temporary:
            shutil.copyfile(folder / out.name, temporary)
        return "folder"
    if not weight.url:
        raise UserError(
            f"{out}: found no file, and it has no address to load from", by_hand(weight)
        )
    part = out.with_name(out.name + ".part")
    try:
        download(weight.url, part, progress)
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"{out}: cannot be loaded from {weight.url} ({reason})", by_hand(weight)
        ) from None
    try:
        check(weight, part, "run again: the file will be loaded anew")
    except UserError:
        part.unlink()
        raise
    flush(part)
    os.replace(part, out)
    return "network"


def by_hand(weight: Weight) -> str:
    """What a person without a network does."""
    name = Path(weight.file).name
    return (
        f"get it from {weight.source}, put it there as {name}, or into a folder that "
        "`weights_dir` names"
    )


def check(weight: Weight, path: Path, hint: str) -> None:
    """UserError when the table states the file's sha256 and it differs."""
    if weight.sha256:
        found = file_digest(path)
        if found != weight.sha256:
            raise UserError(f"{path}: found sha256 {found}, expected {weight.sha256}", hint)


def download(url: str, part: Path, progress: Progress) -> None:
    """Load `url` into `part`, going on from the bytes that are there.

    Raises:
        OSError: the server cannot be reached, refuses, or stops early.
    """
    here = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "ovnerf"})
    if here:
        request.add_header("Range", f"bytes={here}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if here and error.code == 416 and error.headers.get("Content-Range") == f"bytes */{here}":
            return  # the part was already whole
        raise
    with response:
        resumed = response.status == 206
        here = here if resumed else 0
        length = int(response.headers.get("Content-Length") or 0)
        total = here + length if length else 0
        with part.open("ab" if resumed else "wb") as file:
            while block := response.read(BLOCK):
                file.write(block)
                here += len(block)
                progress(here, total)
        if total and here < total:
            raise OSError(f"the connection ended after {here} of {total} bytes")
