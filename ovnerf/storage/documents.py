"""JSON, lists of names and rows of numbers in text files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ovnerf.runtime.errors import UserError
from ovnerf.storage.text import clean_name, read_lines, read_text, word_form


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
    """Class names, one per line; UserError when there is none or one is there twice."""
    lines = read_lines(path)
    names = {number: line for number, line in enumerate(lines, start=1) if line.strip()}
    return list(check_classes(names, path).values())
