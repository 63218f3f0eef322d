"""What documents, comments and docstrings refer to is in the repository, or open to anyone."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, get_args

import pytest
import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from ovnerf.config.base import Strict
from ovnerf.config.frames import Layout
from ovnerf.config.run import Config
from ovnerf.storage.provenance import REPOSITORY_ROOT

OUTSIDE = {
    "a numbered section of notes": r"\((?:[^()]{0,60}[\s;,])?(?:method|trap)s?[\s#]+\d",
    "a numbered trap": r"\btraps? \d+\.\d",
    "a folder beside the checkout": r"\.\./shared",
    "a path of one machine": r"(?<![\w.$}~])/(?:work|home|root|Users)/\w",
    "an issue by number": r"\b[Ii]ssues? #?\d",
}
"""What may not stand in a tracked text file: why, and the pattern that finds it."""
THIS_FILE = "tests/test_documents.py"
"""Its examples name documents that do not exist."""
WRITTEN_BY_RUNS = {"summary.md", "order.md", "bench.md"}
"""Markdown files that the workflow and `make` write, and that are not in the repository."""
LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)|<img[^>]*\bsrc=\"([^\"]+)\"")
MENTION = re.compile(r"[\w./-]+\.md\b(?:#[\w-]+)?")
SETTING = re.compile(r"`((?:[a-z_]+\.)+[a-z_]+)(?:: ([^`]+))?`")
SHORT_SETTING = re.compile(r"`([a-z_]+): ([^`\n]+)`")
OTHER_KEYS = {"fix", "gpu", "gres", "measured"}
"""What stands before a colon and is no setting of ours: of commits, Snakemake, Slurm and tables."""
MODELS = Strict.__subclasses__()
INNER = {"cse", "dino"}
"""Sections within `train_semantics`."""
LAYOUT_DOCS = ("conventions.md", "datasets.md")
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
        for match in re.finditer(OUTSIDE[what], text)
    ]
    assert not found, "\n".join(found)


def test_the_patterns_find_what_they_are_for() -> None:
    # The bar keeps this file free of what it looks for.
    examples = {
        "a numbered section of notes": "RSR (paper Eq. 5, method\n    |13.8)",
        "a numbered trap": "rays are short, trap |12.2-3",
        "a folder beside the checkout": "see ../|shared/docs",
        "a path of one machine": "in /|home/me/data",
        "an issue by number": "see issue |7",
    }
    harmless = "the method gains 12.7 points, ~/photos/x, a shared part, issues of a journal"
    for what, pattern in OUTSIDE.items():
        assert re.search(pattern, examples[what].replace("|", "")), what
        assert not re.search(pattern, harmless), what


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


def setting_texts() -> Iterator[tuple[str, str]]:
    """Every text that tells people of settings: documents, captions, configs, code, messages."""
    for name, text in texts():
        told = name.endswith((".md", ".rst", ".yaml", ".py", ".smk"))
        if told and name != "CHANGELOG.md" and not name.startswith("tests/"):
            yield name, text


def nested(keys: list[str], value: object) -> object:
    """`{a: {b: value}}` of keys a, b."""
    return {keys[0]: nested(keys[1:], value)} if keys else value


def default_of(model: BaseModel, keys: list[str]) -> object:
    """The value of a setting; AttributeError when there is none of that name."""
    value: object = model
    for key in keys:
        value = getattr(value, key)
    return value


def wrong_setting(setting: str, value: str) -> str:
    """What is wrong with `section.key` or `section.key: value`; empty for nothing."""
    keys = setting.split(".")
    if keys[0] in INNER:
        keys.insert(0, "train_semantics")
    if keys[0] not in Config.model_fields or keys[-1] in {"zarr", "csv"}:
        return ""  # a file, or a name in the code
    try:
        default_of(Config(scenes="sheet.tsv"), keys)
    except AttributeError:
        return f"there is no setting {setting}"
    changes = nested(keys, yaml.safe_load(value)) if value else {}
    assert isinstance(changes, dict)
    try:
        Config.model_validate({"scenes": "sheet.tsv", **changes})
    except ValidationError as error:
        return f"{setting}: {value} is refused ({error})"
    return ""


def wrong_short_setting(key: str, value: str) -> str:
    """What is wrong with `key: value`, whose section the text around it says; empty for nothing."""
    if key in OTHER_KEYS or re.fullmatch(r"\{\w+\}", value):
        return ""
    fields = [model.model_fields[key] for model in MODELS if key in model.model_fields]
    content = yaml.safe_load(re.sub(r"\bN\b", "1", value))
    for field in fields:
        try:
            TypeAdapter(Annotated[field.annotation, field]).validate_python(content)
        except ValidationError:
            continue
        return ""
    return f"{key}: {value} is taken nowhere" if fields else f"there is no setting {key}"


def test_settings_that_are_named_exist_and_take_these_values() -> None:
    found = [
        (name, setting, value)
        for name, text in setting_texts()
        for setting, value in SETTING.findall(text)
    ]
    wrong = [f"{name}: {said}" for name, *named in found if (said := wrong_setting(*named))]
    assert not wrong, "\n".join(wrong)
    assert sum(setting.split(".")[0] in Config.model_fields for _, setting, _ in found) > 50


def test_settings_that_are_named_without_their_section_exist() -> None:
    wrong = [
        f"{name}: {said}"
        for name, text in setting_texts()
        for key, value in SHORT_SETTING.findall(text)
        if (said := wrong_short_setting(key, value))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (wrong_setting("train_semantics.cse.refreshed_views", "all"), "no setting"),
        (wrong_setting("cse.refreshed_views", ""), "no setting"),
        (wrong_setting("train_semantics.logits", "sine"), "is refused"),
        (wrong_setting("dino.mode", "online"), ""),
        (wrong_setting("dino.zarr", ""), ""),
        (wrong_short_setting("held_out", "none"), ""),
        (wrong_short_setting("cache_features", "{parts: N}"), ""),
        (wrong_short_setting("held_out", "some"), "taken nowhere"),
        (wrong_short_setting("cache_features", "{part: 1}"), "taken nowhere"),
        (wrong_short_setting("refreshed", "all"), "no setting"),
    ],
)
def test_what_is_wrong_with_a_setting(said: str, what: str) -> None:
    assert what in said and bool(said) == bool(what)


def test_every_layout_is_drawn() -> None:
    """Each has a heading or a line that begins with its name, and a drawing of a folder below."""
    text = "\n".join((REPOSITORY_ROOT / "docs" / name).read_text("utf-8") for name in LAYOUT_DOCS)
    for layout in get_args(Layout):
        drawing = rf"^(?:### )?`{layout}`[^#]*?^```\n\w+/\n  "
        assert re.search(drawing, text, flags=re.MULTILINE), layout


def test_commands_that_documents_name_exist() -> None:
    stages = {path.stem for path in (REPOSITORY_ROOT / "ovnerf" / "stages").glob("*.py")}
    found = [
        (name, command)
        for name, text in texts()
        if name.endswith(".md")
        for command in re.findall(r"python -m ovnerf (\w+)", text)
    ]
    assert len(found) > 5
    assert not [pair for pair in found if pair[1] not in {*stages, "check", "plan"}]
