"""Text vectors that are kept on the disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from asking_fixtures import DESCRIPTION

from ovnerf.asking.text_cache import kept_vector, vector_file

VECTOR = np.array([0.6, 0.8], dtype=np.float32)
RUN = replace(
    DESCRIPTION,
    encoder={"kind": "openclip", "model": "ViT"},
    encoder_files={"weights": "abc"},
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "ovnerf/text"


def never() -> np.ndarray:
    """Fails when the text half is asked."""
    raise AssertionError("asked the encoder")


def test_a_vector_is_made_once(cache: Path) -> None:
    first = kept_vector(RUN, ["a table"], lambda: VECTOR)
    again = kept_vector(RUN, ["a table"], never)
    for found in (first, again):
        np.testing.assert_array_equal(found, VECTOR)
        assert found.dtype == np.float32
    assert [file.suffix for file in cache.iterdir()] == [".safetensors"]


def test_other_words_weights_and_prompts_are_other_vectors() -> None:
    others = (
        (RUN, ["a table", "the table"]),
        (RUN, ["a chair"]),
        (replace(RUN, encoder_files={"weights": "other"}), ["a table"]),
        (replace(RUN, encoder={"kind": "openclip", "model": "ViT-L"}), ["a table"]),
    )
    files = {vector_file(RUN, ["a table"]), *(vector_file(*other) for other in others)}
    assert len(files) == 1 + len(others)


def test_a_damaged_file_is_made_again(cache: Path) -> None:
    kept_vector(RUN, ["a table"], lambda: VECTOR)
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    np.testing.assert_array_equal(kept_vector(RUN, ["a table"], lambda: VECTOR), VECTOR)
    np.testing.assert_array_equal(kept_vector(RUN, ["a table"], never), VECTOR)


def test_without_a_place_or_weights_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    assert vector_file(DESCRIPTION, ["a table"]) is None
    np.testing.assert_array_equal(kept_vector(DESCRIPTION, ["a table"], lambda: VECTOR), VECTOR)
    assert not cache.exists()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    np.testing.assert_array_equal(kept_vector(RUN, ["a table"], lambda: VECTOR), VECTOR)
