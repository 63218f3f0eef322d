"""Class lists and prompts for class names (docs/method.md#text-banks)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from ovnerf.storage.text import read_lines

Bank = Literal["ensemble", "bare"]

CLASS_LISTS = Path(__file__).with_name("class_lists")
"""Class lists of the package: one name a line, void left out."""

SCENE_TEMPLATES = (
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)


@cache
def templates() -> tuple[str, ...]:
    """The 85 prompt templates: open_clip's 80 ImageNet templates and five scene forms."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    scene = (template.format for template in SCENE_TEMPLATES)
    return tuple(fill("{}") for fill in (*OPENAI_IMAGENET_TEMPLATES, *scene))


def prompts(name: str, bank: Bank) -> list[str]:
    """What the text encoder reads for a class: 85 sentences, or the bare name."""
    if bank == "bare":
        return [name]
    return [template.format(name) for template in templates()]


def class_list(name: Literal["replica_51", "scannet_20"]) -> list[str]:
    """A benchmark's class names without void: one per line of the file of that name."""
    return read_lines(CLASS_LISTS / f"{name}.txt")
