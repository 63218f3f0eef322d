"""The environment: which Python is taken, who installs, from where. Nothing is installed here."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ovnerf.storage.provenance import REPOSITORY_ROOT

LISTING = """\
:env:.find-links='/wheels'
:env:.disable-pip-version-check='1'
global.index-url='https://mirror.example.org/simple'
global.find-links='/old'
global.extra-index-url='https://one.example.org/simple\\nhttps://two.example.org/simple'
install.index-url='https://other.example.org/simple'
download.index-url='https://unrelated.example.org/simple'
"""


@pytest.fixture
def script() -> ModuleType:
    """envs/install.py as a module."""
    spec = importlib.util.spec_from_file_location("install", REPOSITORY_ROOT / "envs/install.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def commands(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that would have run; one fails when it holds a word of `script.broken`."""
    called: list[list[str]] = []
    script.broken = set()  # type: ignore[attr-defined]

    def succeeds(command: list[str]) -> bool:
        called.append(list(command))
        return not script.broken & set(command)

    monkeypatch.setattr(script, "succeeds", succeeds)
    monkeypatch.setattr(script, "listed_settings", lambda: LISTING)
    return called


def test_what_pip_was_told_is_read_and_the_narrowest_place_wins(script: ModuleType) -> None:
    assert script.pip_settings(LISTING) == {
        "index-url": ["https://other.example.org/simple"],
        "extra-index-url": ["https://one.example.org/simple", "https://two.example.org/simple"],
        "find-links": ["/wheels"],
    }
    assert script.pip_settings("") == {}


def test_uv_looks_where_pip_would(script: ModuleType, commands: list[list[str]]) -> None:
    assert script.install(".[test]", cpu=False)
    first, second = commands
    assert first[1:4] == ["-m", "pip", "install"] and first[-1] == "uv"
    assert second[1:5] == ["-m", "uv", "pip", "install"] and second[-2:] == ["-e", ".[test]"]
    line = " ".join(second)
    assert "--default-index https://other.example.org/simple" in line
    assert "--index https://one.example.org/simple --index https://two.example.org/simple" in line
    assert "--find-links /wheels" in line and "--index-strategy unsafe-best-match" in line
    assert "--torch-backend" not in line


@pytest.mark.parametrize(("missing", "count"), [("uv", 2), ("--python", 3)])
def test_pip_installs_where_uv_cannot_be_had_or_fails(
    script: ModuleType,
    commands: list[list[str]],
    capsys: pytest.CaptureFixture[str],
    missing: str,
    count: int,
) -> None:
    script.broken = {missing}  # type: ignore[attr-defined]
    assert script.install(".", cpu=True)
    assert len(commands) == count
    last = commands[-1]
    assert last[1:4] == ["-m", "pip", "install"] and last[-2:] == ["-e", "."]
    assert last[last.index("--extra-index-url") + 1] == script.CPU_INDEX
    assert "pip" in capsys.readouterr().err


@pytest.mark.parametrize("keeps_none", [True, False])
def test_modules_are_compiled_where_python_would_not_keep_them(
    script: ModuleType,
    commands: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    keeps_none: bool,
) -> None:
    (tmp_path / "ovnerf").mkdir()
    (tmp_path / "ovnerf/module.py").write_text("one = 1\n")
    monkeypatch.setattr(script, "REPOSITORY", tmp_path)
    monkeypatch.setattr(sys, "argv", ["install.py"])
    monkeypatch.setattr(sys, "dont_write_bytecode", keeps_none)
    assert script.main() == 0
    assert ("--compile-bytecode" in commands[-1]) == keeps_none
    assert len(list(tmp_path.rglob("module.*.pyc"))) == keeps_none


@pytest.mark.parametrize("answers", [True, False])
def test_torch_without_cuda_where_its_index_answers(
    script: ModuleType,
    commands: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answers: bool,
) -> None:
    monkeypatch.setattr(script, "reachable", lambda address: answers)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "argv", ["install.py", "--torch", "cpu", "--extra", "test"])
    assert script.main() == 0
    assert ("--torch-backend" in commands[-1]) == answers
    assert commands[-1][-1] == ".[test]"
    printed = capsys.readouterr().err
    assert printed.count("\n") == (0 if answers else 1)
    assert answers or "cannot be reached" in printed


def make(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    """`make` the environment's Python in a folder, looking for one interpreter."""
    makefile = str(REPOSITORY_ROOT / "Makefile")
    command = ["make", "-f", makefile, ".venv/bin/python", f"PYTHONS={python}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def stand_in(folder: Path, version: tuple[int, int], breaks: str = "") -> str:
    """A `python` that says it is of this version, or cannot import a module."""
    path = folder / "stand-in"
    lines = ["import sys", f"sys.version_info = {(*version, 0, 'final', 0)}"]
    lines += [f"sys.modules[{breaks!r}] = None"] if breaks else []
    lines += ["exec(sys.argv[2]) if sys.argv[1] == '-c' else print('makes', *sys.argv[2:])"]
    path.write_text(f"#!{sys.executable}\n" + "\n".join(lines) + "\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_the_supported_versions_make_the_environment(
    tmp_path: Path, version: tuple[int, int]
) -> None:
    done = make(tmp_path, f"no-such-python {stand_in(tmp_path, version)}")
    assert done.returncode == 0 and "makes venv .venv" in done.stdout


@pytest.mark.parametrize(
    ("version", "breaks"), [((3, 10), ""), ((3, 15), ""), ((3, 12), "ensurepip")]
)
def test_others_are_refused_before_anything_is_made(
    tmp_path: Path, version: tuple[int, int], breaks: str
) -> None:
    done = make(tmp_path, stand_in(tmp_path, version, breaks))
    assert done.returncode != 0 and not (tmp_path / ".venv").exists()
    assert "3.11 to 3.14" in done.stderr and "docs/installing.md" in done.stderr


def test_what_make_takes_is_what_the_package_allows() -> None:
    """`requires-python`, the classifiers, the Makefile and the hosted check name one range."""
    project = (REPOSITORY_ROOT / "pyproject.toml").read_text()
    assert 'requires-python = ">=3.11,<3.15"' in project
    versions = {"3.11", "3.12", "3.13", "3.14"}
    assert set(re.findall(r"Python :: (3\.\d+)", project)) == versions
    makefile = (REPOSITORY_ROOT / "Makefile").read_text()
    named = re.search(r"(?m)^PYTHONS \?= (.*)$", makefile)
    assert named and set(named[1].split()) == {f"python{name}" for name in versions} | {"python3"}
