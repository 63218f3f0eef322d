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


class ProtectedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to other addresses while they are https, or stay on this machine."""

    def redirect_request(  # type: ignore[no-untyped-def]
        self, req, fp, code, msg, headers, newurl
    ) -> urllib.request.Request | None:
        """The request that follows; URLError where it would go over an open connection."""
        to_https = urllib.parse.urlsplit(newurl).scheme == "https"
        local = is_protected(newurl) and urllib.parse.urlsplit(req.full_url).scheme == "http"
        if not to_https and not local:
            raise urllib.error.URLError(f"it leads to {newurl}, expected an https address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


OPENER = urllib.request.build_opener(ProtectedRedirects)


def fetch(weight: Weight, out: Path, folder: Path | None, progress: Progress) -> str:
    """Put a weight file at `out`, from `folder` where it is there, else from its address.

    A download that was broken off goes on where it stopped: its bytes stay in `<out>.part`, what
    the server calls this version of the file (its ETag) in `<out>.part.etag`.

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
        download(weight, part, progress)
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"{out}: cannot be loaded from {weight.url} ({reason})", by_hand(weight)
        ) from None
    try:
        check(weight, part, "run again: the file will be loaded anew")
    except UserError:
        part.unlink()
        version_note(part).unlink(missing_ok=True)
        raise
    flush(part)
    os.replace(part, out)
    version_note(part).unlink(missing_ok=True)
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


def version_note(part: Path) -> Path:
    """Where the ETag of a file that is being loaded into `part` is kept."""
    return part.with_name(part.name + ".etag")


def download(weight: Weight, part: Path, progress: Progress) -> None:
    """Load a weight file into `part`, going on from the bytes that are there.

    It begins anew where these may be of another version of the file: the server says that they are
    (`If-Range`), or it gave them no ETag and the table states no sum that would tell.

    Raises:
        OSError: the server cannot be reached, refuses, or stops early.
    """
    note = version_note(part)
    version = note.read_text(encoding="ascii") if note.is_file() else ""
    here = part.stat().st_size if part.exists() and (version or weight.sha256) else 0
    request = urllib.request.Request(weight.url, headers={"User-Agent": "ovnerf"})
    if here:
        request.add_header("Range", f"bytes={here}-")
    if here and version:
        request.add_header("If-Range", version)
    try:
        response = OPENER.open(request, timeout=TIMEOUT_SECONDS)
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
            if not resumed:  # the file is empty now: a kill here leaves no bytes of another version
                keep_version(note, response.headers.get("ETag") or "")
            while block := response.read(BLOCK):
                file.write(block)
                here += len(block)
                progress(here, total)
        if total and here < total:
            raise OSError(f"the connection ended after {here} of {total} bytes")


def keep_version(note: Path, etag: str) -> None:
    """Write an ETag to `note`; nothing is kept of one that does not stand for the very bytes."""
    note.unlink(missing_ok=True)
    if etag.isascii() and etag.startswith('"'):  # others are weak (W/"...")
        note.write_text(etag, encoding="ascii")
