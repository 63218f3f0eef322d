"""What documents, comments and docstrings refer to is in the repository, or open to anyone."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest
import yaml
from pydantic import BaseModel

from ovnerf.config import Config
from ovnerf.provenance import REPOSITORY_ROOT

OUTSIDE = {
    "a numbered section of notes": r"\((?:[^()]{0,60}[\s;,])?(?:method|trap)s?[\s#]+\d",
    "a numbered trap": r"\btraps? \d+\.\d",
    "a folder beside the checkout": r"\.\./shared",
    "a path of one machine": r"(?<![\w.$}~])/(?:work|home|root|Users)/\w",
    "an issue by number": r"\b[Ii]ssues? #?\d",
}
"""What may not stand in a tracked text file: why, and the pattern that finds it."""
THIS_FILE = "tests/test_documents.py"
"""Its patterns and examples are what it looks for."""
WRITTEN_BY_RUNS = {"summary.md", "bench.md"}
"""Markdown files that the workflow and `make` write, and that are not in the repository."""
LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)|<img[^>]*\bsrc=\"([^\"]+)\"")
MENTION = re.compile(r"[\w./-]+\.md\b(?:#[\w-]+)?")
SETTING = re.compile(r"`((?:[a-z_]+\.)+[a-z_]+)(?:: ([^`]+))?`")
PATH = re.compile(r"`((?:ovnerf|workflow|config|benchmarks|docs|tests|profiles)/[\w./-]+)`")


def tracked() -> list[str]:
    """Every tracked file that is still there, relative to the root."""
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY_ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    return [name for name in names if (REPOSITORY_ROOT / name).is_file()]


def texts() -> Iterator[tuple[str, str]]:
    """Name and content of every tracked text file."""
    for name in tracked():
        content = (REPOSITORY_ROOT / name).read_bytes()
        if b"\0" not in content:
            yield name, content.decode()


def documents() -> Iterator[tuple[str, str]]:
    """Name and content of every tracked Markdown file, without its blocks of code."""
    for name, text in texts():
        if name.endswith(".md"):
            yield name, re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    heading = re.sub(r"<[^>]*>", "", heading)
    heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(text: str) -> set[str]:
    """Every anchor of a Markdown text: of its headings, and those it states."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.+)$", text, flags=re.MULTILINE):
        name, number = slug(heading), 0
        while (numbered := f"{name}-{number}" if number else name) in found:
            number += 1
        found.add(numbered)
    return found | set(re.findall(r"<a id=\"([^\"]+)\">", text))


def lost(target: str, folders: list[PurePosixPath], known: dict[str, set[str]]) -> bool:
    """Whether a file, or its anchor, is in none of these folders of the repository."""
    name, _, anchor = target.partition("#")
    for folder in folders:
        path = (REPOSITORY_ROOT / folder / name).resolve()
        if not path.is_relative_to(REPOSITORY_ROOT) or not path.exists():
            continue
        relative = str(path.relative_to(REPOSITORY_ROOT))
        if not anchor or anchor in known.get(relative, set()):
            return False
    return True


@pytest.fixture(scope="module")
def known() -> dict[str, set[str]]:
    """The anchors of every document."""
    return {name: anchors(text) for name, text in documents()}


def test_anchors_are_github_s() -> None:
    text = "# As shipped, and what we do\n## RSR & `void` (Eq. 5)\n## RSR & `void` (Eq. 5)\n"
    text += '## See [there](else.md)\n<a id="kl"></a>text'
    assert anchors(text) == {
        "as-shipped-and-what-we-do",
        "rsr--void-eq-5",
        "rsr--void-eq-5-1",
        "see-there",
        "kl",
    }


@pytest.mark.parametrize("what", OUTSIDE)
def test_nothing_refers_to_what_a_stranger_cannot_open(what: str) -> None:
    found = [
        f"{name}:{text.count(chr(10), 0, match.end()) + 1}: {match.group()}"
        for name, text in texts()
        if name != THIS_FILE
        for match in re.finditer(OUTSIDE[what], text)
    ]
    assert not found, "\n".join(found)


def test_the_patterns_find_what_they_are_for() -> None:
    examples = {
        "a numbered section of notes": "RSR (paper Eq. 5, method\n    13.8)",
        "a numbered trap": "rays are short, trap 12.2-3",
        "a folder beside the checkout": "see ../shared/docs",
        "a path of one machine": "in /home/me/data",
        "an issue by number": "see issue 7",
    }
    for what, pattern in OUTSIDE.items():
        assert re.search(pattern, examples[what]), what
        assert not re.search(pattern, "the whole method 12.7 points, ~/work/x, shared/data")


def test_links_lead_somewhere(known: dict[str, set[str]]) -> None:
    wrong = []
    for name, text in documents():
        for groups in LINK.findall(text):
            target = "".join(groups)
            if re.match(r"[a-z]+:", target):
                continue
            here = PurePosixPath(name)
            inside = target.startswith("#")
            if lost(here.name + target if inside else target, [here.parent], known):
                wrong.append(f"{name}: {target}")
    assert not wrong, "\n".join(wrong)


def test_documents_that_are_mentioned_exist(known: dict[str, set[str]]) -> None:
    wrong = []
    for name, text in texts():
        if name == THIS_FILE:
            continue
        folders = [PurePosixPath(), PurePosixPath(name).parent]
        for target in MENTION.findall(text.replace("\\n", " ")):
            path = PurePosixPath(target)
            elsewhere = path.is_absolute() or path.name in WRITTEN_BY_RUNS
            if not elsewhere and lost(target, folders, known):
                wrong.append(f"{name}: {target}")
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_files_that_documents_name_exist() -> None:
    wrong = [
        f"{name}: {path}"
        for name, text in documents()
        for path in PATH.findall(text)
        if not (REPOSITORY_ROOT / path).exists()
    ]
    assert not wrong, "\n".join(wrong)


def nested(keys: list[str], value: object) -> object:
    """`{a: {b: value}}` of keys a, b."""
    return {keys[0]: nested(keys[1:], value)} if keys else value


def default_of(model: BaseModel, keys: list[str]) -> object:
    """The value of a setting; AttributeError when there is none of that name."""
    value: object = model
    for key in keys:
        value = getattr(value, key)
    return value


def test_settings_that_documents_name_exist_and_take_these_values() -> None:
    defaults = Config(scenes="sheet.tsv")
    count = 0
    for name, text in documents():
        for setting, value in SETTING.findall(text):
            keys = setting.split(".")
            if keys[0] not in Config.model_fields:
                continue
            count += 1
            try:
                default_of(defaults, keys)
            except AttributeError:
                pytest.fail(f"{name}: there is no setting {setting}")
            if value:
                changes = nested(keys, yaml.safe_load(value))
                assert isinstance(changes, dict)
                Config.model_validate({"scenes": "sheet.tsv", **changes})
    assert count > 50
