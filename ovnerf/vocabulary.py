"""Prompts for class names (method 1.6)."""

from __future__ import annotations

from functools import cache
from typing import Literal

Bank = Literal["ensemble", "bare"]

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
