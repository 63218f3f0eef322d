"""Text files in any encoding: read as UTF-8 or refused by line; names that look alike are alike."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scene_folders import write_replica

from ovnerf.runtime.errors import UserError
from ovnerf.storage.provenance import REPOSITORY_ROOT
from ovnerf.storage.stores import open_store
from ovnerf.storage.text import clean_name, read_lines, read_text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"chair\nwall\n", ["chair", "wall"]),
        (b"\xef\xbb\xbfchair\nwall", ["chair", "wall"]),
        (b"chair\r\nwall\r\n", ["chair", "wall"]),
        (b"chair\rwall\r", ["chair", "wall"]),
        ("caf\u00e9 chair\n\nwall\n".encode(), ["caf\u00e9 chair", "", "wall"]),
        (b"one\x0cname\n", ["one\x0cname"]),
        ("one\u2028name\x85\n".encode(), ["one\u2028name\x85"]),
        (b"", []),
        (b"\xef\xbb\xbf", []),
    ],
)
def test_utf8_is_read(tmp_path: Path, content: bytes, expected: list[str]) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    assert read_lines(path) == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("chair\nwall\n".encode("utf-16"), "names.txt, line 1: found UTF-16 text"),
        (b"\xfe\xff" + "chair".encode("utf-16-be"), "line 1: found UTF-16 text"),
        ("chair".encode("utf-32"), "line 1: found UTF-32 text"),
        ("chair\nwall".encode("utf-16-le"), "line 1: found a zero byte (UTF-16"),
        (b"chair\nwall\nx\0y", "line 3: found a zero byte"),
        ("chair\nwall\ncaf\u00e9\n".encode("latin-1"), "line 3: found byte 0xe9"),
        ("chair\r\nwall\rcaf\u00e9\r".encode("latin-1"), "line 3: found byte 0xe9"),
        ("\N{LEFT DOUBLE QUOTATION MARK}a".encode("cp1252"), "line 1: found byte 0x93"),
        (b"\xef\xbb\xbfa\nb\xe9", "line 2: found byte 0xe9"),
    ],
)
def test_other_encodings_are_refused_by_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match="expected UTF-8 text") as caught:
        read_text(path)
    assert said in caught.value.message


def test_a_missing_file_and_a_folder_are_messages(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_text(tmp_path / "none.txt")
    with pytest.raises(UserError, match="found a folder"):
        read_text(tmp_path)


def test_names_are_composed_and_stripped() -> None:
    assert clean_name("  caf\u0065\u0301 \t", "x") == "caf\u00e9"
    assert clean_name("\u00e9", "x") == "\u00e9"
    assert clean_name("office chair", "x") == "office chair"
    assert clean_name("\u6905\u5b50", "x") == "\u6905\u5b50"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("\ufeffchair", "U+FEFF (ZERO WIDTH NO-BREAK SPACE)"),
        ("chair\u200b", "U+200B (ZERO WIDTH SPACE)"),
        ("office\u00a0chair", "U+00A0 (NO-BREAK SPACE)"),
        ("a\x07b", "U+0007 (a control character)"),
        ("a\tb", "U+0009 (a control character)"),
        ("\u202ewall", "U+202E (RIGHT-TO-LEFT OVERRIDE)"),
        ("caf\ufffd", "U+FFFD (REPLACEMENT CHARACTER)"),
        ("caf\udce9", "U+DCE9 (a control character)"),
    ],
)
def test_unseen_characters_are_named(name: str, code: str) -> None:
    with pytest.raises(UserError) as caught:
        clean_name(name, "classes.txt, line 2")
    assert caught.value.message.startswith(f"classes.txt, line 2: found {code} in the name")
    assert caught.value.message.isascii()


def text_calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call of the product that opens, reads or writes text."""
    for folder in ("ovnerf", "workflow", "benchmarks"):
        for path in sorted((REPOSITORY_ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and opens_text(node):
                    yield f"{path.relative_to(REPOSITORY_ROOT)}:{node.lineno}", node


def opens_text(call: ast.Call) -> bool:
    """Whether a call is `open`, `.open`, `.read_text` or `.write_text`, and not for bytes."""
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    owner = ast.unparse(call.func).rpartition(".")[0]
    if isinstance(call.func, ast.Name) and name != "open":
        return False
    if owner in (
        "os",
        "OPENER",
        "Image",
        "zarr",
        "urllib.request",
        "webbrowser",
        "pycolmap.Database",
    ):
        return False
    modes = [part.value for part in call.args if isinstance(part, ast.Constant)]
    binary = any(isinstance(mode, str) and "b" in mode for mode in modes)
    binary |= any("b" in mode for mode in modes if isinstance(mode, str))
    conditional = any(isinstance(part, ast.IfExp) for part in call.args)
    return name in ("open", "read_text", "write_text") and not binary and not conditional


def test_every_text_file_is_opened_with_its_encoding() -> None:
    found = list(text_calls())
    assert len(found) > 10
    for where, call in found:
        assert any(word.arg == "encoding" for word in call.keywords), where


def in_ascii_locale(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Python in a locale of ASCII, told to follow it."""
    environment = {
        **os.environ,
        **{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    }
    return subprocess.run(
        [sys.executable, *map(str, arguments)], env=environment, capture_output=True, check=False
    )


def test_messages_are_utf8_in_any_locale() -> None:
    done = in_ascii_locale("-m", "ovnerf", "caf\u00e9")
    assert done.returncode == 2
    assert "no stage 'caf\u00e9'" in done.stderr.decode("utf-8")


@pytest.mark.slow
def test_scenes_with_accents_are_read_in_any_locale(tmp_path: Path) -> None:
    scene = write_replica(tmp_path / "caf\u00e9")
    (scene / "classes.txt").write_text("void\nchair\nfloor\nfa\u00e7ade\n", encoding="utf-8")
    frames = tmp_path / "caf\u00e9.zarr"
    done = in_ascii_locale("-m", "ovnerf", "sample_frames", "--folder", scene, "--out", frames)
    assert done.returncode == 0, done.stderr
    assert open_store(frames, "frames").attrs["classes"] == ["chair", "floor", "fa\u00e7ade"]
    done = in_ascii_locale("-m", "ovnerf", "inspect", scene, "--out", tmp_path / "sheet.png")
    assert done.returncode == 0, done.stderr
    assert "fa\u00e7ade" in done.stdout.decode("utf-8")


def test_tables_are_utf8_in_any_locale(tmp_path: Path) -> None:
    """The library alone, without the command that sees to its own encoding."""
    program = (
        "import sys; from pathlib import Path; from ovnerf.evaluation.rows import write_rows; "
        "write_rows(Path(sys.argv[1]), [{'class': 'fa\\u00e7ade', 'value': 1.5}], "
        "['class', 'value'])"
    )
    done = in_ascii_locale("-c", program, tmp_path / "metrics.csv")
    assert done.returncode == 0, done.stderr
    found = (tmp_path / "metrics.csv").read_bytes()
    assert found == "class,value\nfa\u00e7ade,1.500000\n".encode()
