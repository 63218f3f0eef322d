from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovnerf.config.frames import MakeRoom
from ovnerf.runtime.errors import UserError
from ovnerf.storage import provenance

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), values))
def test_a_digest_ignores_the_order_of_keys(data: dict) -> None:
    backwards = dict(reversed(list(data.items())))
    assert provenance.digest(data) == provenance.digest(backwards)


def test_a_digest_tells_values_and_types_apart() -> None:
    different = [1, "1", [1], {"1": 1}, None, True, 1.5]
    assert len({provenance.digest(value) for value in different}) == len(different)


def test_a_file_digest_is_sha256_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert provenance.file_digest(path) == hashlib.sha256(b"abc").hexdigest()


def test_a_folders_digest_is_of_names_and_bytes_but_not_of_snakemakes_note(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_bytes(b"abc")
    first = provenance.path_digest(tmp_path)
    assert first == provenance.digest({"in/file": hashlib.sha256(b"abc").hexdigest()})
    (tmp_path / ".snakemake_timestamp").touch()
    os.utime(tmp_path / "in" / "file", (0, 0))
    assert provenance.path_digest(tmp_path) == first
    (tmp_path / "in" / "file").rename(tmp_path / "in" / "other")
    assert provenance.path_digest(tmp_path) != first


def test_a_file_that_changed_while_it_was_used_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"a")
    before = provenance.file_digest(path)
    provenance.unchanged(path, before)
    path.write_bytes(b"b")
    with pytest.raises(UserError, match="weights: changed while it was used"):
        provenance.unchanged(path, before)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import a.b", {"a.b"}),
        ("from a import b", {"a", "a.b"}),
        ("from . import c", {"pkg.sub", "pkg.sub.c"}),
        ("from .x import c", {"pkg.sub.x", "pkg.sub.x.c"}),
        ("from ..x import c", {"pkg.x", "pkg.x.c"}),
        ("def f():\n    import late", {"late"}),
    ],
)
def test_imports_are_found_wherever_they_stand(source: str, names: set[str]) -> None:
    assert set(provenance.imported_modules(source, "pkg.sub")) == names


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one stage that reaches one shelf module, and one that it does not."""
    files = {
        "__init__.py": "",
        "stages/__init__.py": "",
        "stages/one.py": "from ovnerf.shelf import used\n",
        "shelf/__init__.py": "",
        "shelf/used.py": '"""Says."""\ndef f():\n    """Says."""\n    return 1  # note\n',
        "shelf/unused.py": "x = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / "ovnerf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(provenance, "REPOSITORY_ROOT", tmp_path)
    return tmp_path / "ovnerf"


def code_digest() -> str:
    """As a new process finds it, which remembers no file."""
    remembering = (provenance.read_source, provenance.import_closure, provenance.code_digest)
    for function in remembering:
        function.cache_clear()
    found = provenance.code_digest("one")
    for function in remembering:
        function.cache_clear()
    return found


def test_the_code_digest_follows_the_code_a_stage_reaches(package: Path) -> None:
    first = code_digest()
    (package / "shelf/unused.py").write_text("x = 2\n")
    assert code_digest() == first
    (package / "shelf/used.py").write_text("def f():\n    return 2\n")
    assert code_digest() != first


def test_the_code_digest_ignores_comments_and_docstrings(package: Path) -> None:
    first = code_digest()
    (package / "shelf/used.py").write_text('"""Speaks."""\n\n\ndef f():\n    return 1\n')
    assert code_digest() == first


def test_a_result_digest_depends_on_code_settings_and_inputs() -> None:
    base = provenance.result_digest("make_room", MakeRoom(seed=1), {"frames": "a"})
    assert base == provenance.result_digest("make_room", MakeRoom(seed=1), {"frames": "a"})
    others = {
        provenance.result_digest("sample_frames", MakeRoom(seed=1), {"frames": "a"}),
        provenance.result_digest("make_room", MakeRoom(seed=2), {"frames": "a"}),
        provenance.result_digest("make_room", MakeRoom(seed=1), {"frames": "b"}),
    }
    assert len(others | {base}) == 4


def test_a_result_digest_leaves_out_what_is_excluded_and_takes_in_what_is_added() -> None:
    one, two = (
        provenance.result_digest("make_room", MakeRoom(seed=seed), {}, exclude={"seed"}, extra=1)
        for seed in (1, 2)
    )
    assert one == two
    assert one != provenance.result_digest(
        "make_room", MakeRoom(seed=1), {}, exclude={"seed"}, extra=2
    )
