"""Phrases as people type them: synonyms, negatives, names of files made of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovnerf.runtime.errors import UserError
from ovnerf.storage.text import clean_name, read_lines, word_form

SYNONYMS, NEGATIVES, NEXT_NEGATIVE, COMMENT = ";", "|", ",", "#"
NOTATION = "expected `phrase`, `phrase; synonym` or `phrase | negative, negative`"
SLUG_LETTERS = 40
"""Longest name of a file that is made of a phrase."""


@dataclass(frozen=True)
class Phrase:
    """One thing that is asked for.

    Attributes:
        synonyms: at least one; a point's score is that of the most similar.
        negatives: of this phrase alone; those of the settings where empty.
    """

    synonyms: tuple[str, ...]
    negatives: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The synonyms, as they are shown."""
        return f"{SYNONYMS} ".join(self.synonyms)

    @property
    def notation(self) -> str:
        """The phrase as a person types it: negatives of its own follow the synonyms."""
        own = f"{NEXT_NEGATIVE} ".join(self.negatives)
        return f"{self.text} {NEGATIVES} {own}" if own else self.text

    @property
    def meaning(self) -> tuple[frozenset[str], frozenset[str]]:
        """Synonyms and negatives, equal for phrases that have the same answer."""
        synonyms, negatives = (
            frozenset(map(word_form, words)) for words in (self.synonyms, self.negatives)
        )
        return synonyms, negatives

    def means(self, word: str) -> bool:
        """Whether a word is one of its synonyms, whatever its case and the width of its blanks."""
        return word_form(word) in map(word_form, self.synonyms)


def parse_phrase(text: str, where: str) -> Phrase:
    """A phrase in the notation of `NOTATION`.

    >>> parse_phrase("lamp; light | wall, table", "line 1")
    Phrase(synonyms=('lamp', 'light'), negatives=('wall', 'table'))

    Raises:
        UserError: nothing is asked for, a part between the signs is empty, or holds characters
            that cannot be seen, or a synonym follows the negatives. `where` says where the text
            stands.
    """
    asked, sign, against = text.partition(NEGATIVES)
    if not text.strip():
        raise UserError(f"{where}: found an empty phrase, {NOTATION}")
    if not asked.strip():
        raise UserError(f"{where}: found only negatives in {text.strip()!r}, {NOTATION}")
    if SYNONYMS in against:
        raise UserError(
            f"{where}: found `{SYNONYMS}` after `{NEGATIVES}` in {text.strip()!r}, {NOTATION}",
            f"separate negatives by `{NEXT_NEGATIVE}`; synonyms stand before the `{NEGATIVES}`",
        )
    synonyms = parts_of(asked, SYNONYMS, text, where)
    negatives = parts_of(against, NEXT_NEGATIVE, text, where) if sign else ()
    return Phrase(synonyms, negatives)


def parts_of(text: str, sign: str, whole: str, where: str) -> tuple[str, ...]:
    """The cleaned parts of a text between signs; UserError when one is empty."""
    parts = tuple(clean_name(part, where) for part in text.split(sign))
    if not all(parts) or NEGATIVES in text:
        raise UserError(
            f"{where}: found {whole.strip()!r} with nothing before or after a sign "
            f"`{SYNONYMS}`, `{NEGATIVES}` or `{NEXT_NEGATIVE}`, {NOTATION}"
        )
    return parts


def parse_phrases(texts: Sequence[str], where: str) -> list[Phrase]:
    """Phrases that were given one by one; UserError as `parse_phrase`, and for a repeated one."""
    numbered = enumerate(texts, start=1)
    return without_repeats([(f"{where} {number}", text) for number, text in numbered])


def read_phrases(path: Path) -> list[Phrase]:
    """Phrases of a file, one a line; empty lines and those that begin with `#` are left out.

    Raises:
        UserError: no such file, none in it, or as `parse_phrases`.
    """
    lines = [
        (f"{path}, line {number}", line)
        for number, line in enumerate(read_lines(path), start=1)
        if line.strip() and not line.lstrip().startswith(COMMENT)
    ]
    if not lines:
        raise UserError(f"{path}: found no phrase, expected one a line")
    return without_repeats(lines)


def without_repeats(texts: Iterable[tuple[str, str]]) -> list[Phrase]:
    """The phrases of (where, text) pairs; UserError for one that is there twice.

    The same synonyms may be asked for again with other negatives: that is another question.
    """
    seen: dict[tuple[frozenset[str], frozenset[str]], str] = {}
    phrases = []
    for where, text in texts:
        phrase = parse_phrase(text, where)
        if phrase.meaning in seen:
            raise UserError(
                f"{where}: found the phrase {phrase.notation!r} again, after "
                f"{seen[phrase.meaning]}",
                "ask for it once; case, the width of blanks and the order of words make no "
                "difference",
            )
        seen[phrase.meaning] = where
        phrases.append(phrase)
    return phrases


def require_rivals(phrases: Sequence[Phrase]) -> None:
    """UserError where two of some phrases that compete with each other have the same synonyms."""
    seen: dict[frozenset[str], Phrase] = {}
    for phrase in phrases:
        synonyms, _ = phrase.meaning
        if (other := seen.setdefault(synonyms, phrase)) is not phrase:
            raise UserError(
                f"phrase {phrase.notation!r}: found the same words in {other.notation!r}; in mode "
                "`softmax` phrases compete with each other, expected different ones",
                "ask for one of them, or in mode `relevancy`",
            )


def slugs(phrases: Sequence[Phrase]) -> list[str]:
    """A name for the files of each phrase: letters a-z, digits and `-`, no two alike.

    >>> slugs([Phrase(("Café table",)), Phrase(("../cafe TABLE",)), Phrase(("椅子",))])
    ['cafe-table', 'cafe-table-2', 'phrase']
    """
    names: list[str] = []
    for phrase in phrases:
        base = slug(phrase.text)
        number = 1
        while (name := base if number == 1 else f"{base}-{number}") in names:
            number += 1
        names.append(name)
    return names


def slug(text: str) -> str:
    """The letters a-z and digits of a text, joined by `-`; `phrase` where it has none."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:SLUG_LETTERS].strip("-") or "phrase"
