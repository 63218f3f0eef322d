"""JSON, lists of names and rows of numbers in text files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ovnerf.runtime.errors import UserError
from ovnerf.storage.text import clean_name, read_lines, read_text, word_form

QUOTES = '"`\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}'
"""Quotation marks that no class name holds. An apostrophe may be within one: `child's chair`."""


def read_numbers(path: Path) -> list[list[float]]:
    """Rows of whitespace- or comma-separated numbers; UserError naming a line that is not."""
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            row = [float(part) for part in line.replace(",", " ").split()]
        except ValueError:
            raise UserError(
                f"{path}, line {number}: found {line.strip()!r}, expected numbers"
            ) from None
        if row:
            rows.append(row)
    return rows


def check_classes(names: dict[int, str], path: Path) -> dict[int, str]:
    """File id -> class name, in the form they are compared in (`clean_name`).

    Raises:
        UserError: there is none, one has no name or a name with unseen characters, or two have the
            same name, be it in other letters or with other blanks: a phrase would mean both.
    """
    names = {
        identity: clean_name(name, f"{path}, class {identity}") for identity, name in names.items()
    }
    if not names:
        raise UserError(
            f"{path}: the class list is empty, expected at least one class besides void"
        )
    seen: dict[str, int] = {}
    for identity, name in names.items():
        if not name:
            raise UserError(f"{path}: class {identity} has no name, expected text")
        form = word_form(name)
        if form in seen:
            first = names[seen[form]]
            also = "" if name == first else f", once as {first!r}"
            raise UserError(
                f"{path}: class {name!r} appears twice (ids {seen[form]} and {identity}){also}, "
                "expected once; case and the width of blanks make no difference",
                "rename or merge one of the two",
            )
        seen[form] = identity
    return names


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; UserError when it is anything else."""
    try:
        found = json.loads(read_text(path), object_pairs_hook=without_repeats)
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: found a {type(found).__name__}, expected a JSON object")
    return found


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The keys and values of a JSON object; ValueError for a key that is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} twice")
    return found


def read_names(path: Path) -> list[str]:
    """Class names, one per line.

    Raises:
        UserError: there is none, one is there twice, or a line holds more than a name.
    """
    lines = read_lines(path)
    names = {number: line for number, line in enumerate(lines, start=1) if line.strip()}
    for number, name in names.items():
        check_plain_name(name.strip(), f"{path}, line {number}")
    check_not_in_one_line([name.strip() for name in names.values()], path)
    return list(check_classes(names, path).values())


def check_plain_name(name: str, where: str) -> None:
    """UserError for a line that holds a comment, a number or quotation marks beside a name.

    They would be taken for part of the name, and the text encoder would read them.
    """
    if name.startswith("#"):
        raise UserError(
            f"{where}: found {name!r}, expected a class name",
            "comments are not read: remove the line",
        )
    numbered = re.match(r"\d+\s*(:|\.(?!\d))\s*", name)
    if numbered:
        raise UserError(
            f"{where}: found {name!r}, expected a class name without a number",
            f"write {name[numbered.end() :]!r}: classes are numbered by their order",
        )
    if any(mark in name for mark in QUOTES) or name.startswith("'"):
        raise UserError(
            f"{where}: found quotation marks in {name!r}, expected a class name",
            "write it without quotation marks, one name a line",
        )


def check_not_in_one_line(names: list[str], path: Path) -> None:
    """UserError where the only line of a list seems to hold several names."""
    if len(names) == 1 and any(mark in names[0] for mark in ",;"):
        raise UserError(
            f"{path}: found one line, {names[0][:60]!r}, expected one class name per line",
            "write each name on a line of its own",
        )
