"""What people type, and the names of files made of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovnerf.config.phrases import Phrase, parse_phrase, parse_phrases, read_phrases, slugs
from ovnerf.runtime.errors import UserError


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("table", Phrase(("table",))),
        (" a floor lamp ;light ", Phrase(("a floor lamp", "light"))),
        ("lamp | wall, table", Phrase(("lamp",), ("wall", "table"))),
        ("{0} %s ../x", Phrase(("{0} %s ../x",))),
    ],
)
def test_the_notation(text: str, phrase: Phrase) -> None:
    assert parse_phrase(text, "here") == phrase


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("  ", "here: found an empty phrase"),
        ("| wall", "here: found only negatives"),
        ("lamp |", "nothing before or after a sign"),
        ("lamp;;light", "nothing before or after a sign"),
        ("lamp | a | b", "nothing before or after a sign"),
        ("lamp | a,", "nothing before or after a sign"),
        ("lamp | wall; table", "here: found `;` after `\\|` in 'lamp \\| wall; table'"),
        ("la\u200bmp", "U\\+200B"),
    ],
)
def test_what_is_no_phrase_is_refused(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        parse_phrase(text, "here")


def test_a_file_of_phrases(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("# of the kitchen\n\ntable\n  lamp; light | wall\n", encoding="utf-8")
    assert read_phrases(path) == [Phrase(("table",)), Phrase(("lamp", "light"), ("wall",))]
    path.write_text("table\nlamp\ntable\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"line 3: found the phrase 'table' again, after .*line 1"):
        read_phrases(path)
    path.write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(UserError, match="found no phrase"):
        read_phrases(path)


@pytest.mark.parametrize(
    ("first", "second"),
    [("a", "A"), ("a; b", "b ;a"), ("a | x, y", "a | y, x"), ("a; b | x", "b; a; b | X")],
)
def test_a_repeat_has_the_same_synonyms_and_negatives_in_any_order(first: str, second: str) -> None:
    with pytest.raises(UserError, match=r"phrase 2: found the phrase '.*' again, after phrase 1"):
        parse_phrases([first, second], "phrase")


def test_other_synonyms_or_negatives_are_another_question() -> None:
    texts = ["a", "a; b", "a | b", "a | b, c", "b | a"]
    assert [phrase.notation for phrase in parse_phrases(texts, "phrase")] == texts


def test_repeats_are_told_whatever_the_width_of_blanks() -> None:
    with pytest.raises(UserError, match="phrase 2: found the phrase 'Coffee Table' again"):
        parse_phrases(["coffee  table", "Coffee Table"], "phrase")


def test_slugs_by_hand() -> None:
    texts = ["Café table", "../cafe TABLE", "椅子", "猫", "a" * 99, "-- / --"]
    assert slugs([Phrase((text,)) for text in texts]) == [
        *("cafe-table", "cafe-table-2", "phrase", "phrase-2", "a" * 40, "phrase-3"),
    ]


@given(st.lists(st.text(min_size=1), max_size=6))
def test_slugs_are_never_paths_and_never_alike(texts: list[str]) -> None:
    names = slugs([Phrase((text,)) for text in texts])
    assert len({*names}) == len(texts)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in names)
    assert all(name and not name.startswith("-") for name in names)
