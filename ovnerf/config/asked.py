"""Words and phrases in settings, checked before anything runs that would take hours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ovnerf.runtime.errors import UserError
from ovnerf.storage.text import clean_name

Found = TypeVar("Found")


def refused_as_setting(read: Callable[[], Found]) -> Found:
    """What `read` returns; its UserError becomes the ValueError that a validator raises."""
    try:
        return read()
    except UserError as error:
        raise ValueError(error.message) from None


def clean_words(words: tuple[str, ...]) -> tuple[str, ...]:
    """Words without blanks at their ends, in the form in which they are compared.

    Raises:
        ValueError: one is empty, or holds a character that cannot be seen.
    """
    found = refused_as_setting(
        lambda: tuple(clean_name(word, f"word {number}") for number, word in enumerate(words, 1))
    )
    if not all(found):
        raise ValueError(f"word {found.index('') + 1}: found an empty word, expected a phrase")
    return found
