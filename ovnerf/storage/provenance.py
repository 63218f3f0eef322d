"""Digests that say what a result was made from. The Snakefile imports this: no large library."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ovnerf.runtime.errors import UserError

STAMP = ".snakemake_timestamp"
"""Snakemake's note of when it made a folder."""
LIST = ".ovnerf_files.json"
"""Our note of the files that a command put into a folder (`ovnerf.storage.listed`)."""
NOTES = (STAMP, LIST)
"""Files beside a result that are no part of it."""
PACKAGE_ROOT = Path(__file__).resolve().parents[1]
REPOSITORY_ROOT = PACKAGE_ROOT.parent
"""The clone; where the package is installed from a wheel, the folder that it was installed into."""
IS_CLONE = (REPOSITORY_ROOT / "workflow" / "Snakefile").is_file()
WORKFLOW_ROOT = REPOSITORY_ROOT if IS_CLONE else PACKAGE_ROOT / "shipped"
"""Holds `workflow` and `config`: the clone, or a folder of the installed package."""
RESULT_NEUTRAL = ("ovnerf.runtime",)
"""Packages whose modules cannot change a result: editing them reruns nothing."""


def shipped_file(name: Path | str) -> Path | None:
    """The file or folder of this name that comes with ovnerf, or None where there is none.

    Names are those of the repository, like `config/weights.tsv`.
    """
    for root in (WORKFLOW_ROOT, REPOSITORY_ROOT):
        if (root / name).exists():
            return root / name
    return None


def digest(value: Any) -> str:
    """16 hex digits identifying a JSON-able value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path | str) -> str:
    """sha256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def path_digest(path: Path | str) -> str:
    """16 hex digits of a file's bytes, or of the names and bytes of all files in a folder.

    Two runs that made the same result have the same one: stages write no wall clock, and the notes
    that Snakemake and we leave inside folders do not count.
    """
    path = Path(path)
    if path.is_file():
        return file_digest(path)[:16]
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name not in NOTES)
    return digest({file.relative_to(path).as_posix(): file_digest(file) for file in files})


def unchanged(path: Path, before: str) -> None:
    """UserError when a file that a job reads is not, at its end, what it was at the start."""
    found = file_digest(path)
    if found != before:
        raise UserError(
            f"{path}: changed while it was used, from sha256 {before[:16]} to {found[:16]}",
            "leave it alone and run again; nothing was made of it",
        )


def module_file(name: str) -> Path | None:
    """The source file of an `ovnerf` module, or None when `name` is not one."""
    path = REPOSITORY_ROOT.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def imported_modules(source: str, package: str) -> Iterable[str]:
    """Absolute dotted names a module may import: `from a import b` yields both `a` and `a.b`."""
    return imports_of_tree(ast.parse(source), package)


def imports_of_tree(tree: ast.Module, package: str) -> Iterable[str]:
    """`imported_modules` of source that is parsed already."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) + 1 - node.level]
            prefix = ".".join(base) if node.level else ""
            module = ".".join(part for part in (prefix, node.module or "") if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


@dataclass(frozen=True)
class Source:
    """What a digest needs to know of a source file.

    Attributes:
        imports: absolute dotted names that it may import.
        digest: of its code without comments and docstrings.
    """

    imports: tuple[str, ...]
    digest: str


@cache
def read_source(path: Path) -> Source:
    """A source file, parsed once in a process: the stages of a workflow share most of theirs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = ".".join(path.relative_to(REPOSITORY_ROOT).parent.parts)
    imports = tuple(dict.fromkeys(imports_of_tree(tree, package)))
    return Source(imports, digest(ast.dump(without_docstrings(tree))))


@cache
def import_closure(module: str) -> tuple[Path, ...]:
    """Every `ovnerf` source file that can shape what `module` makes, sorted.

    These are the modules that importing it can execute, but for those of `RESULT_NEUTRAL`.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = module_file(name)
        if name in found or path is None or not name.startswith("ovnerf"):
            continue
        if name.startswith(RESULT_NEUTRAL):
            continue
        found[name] = path
        waiting += read_source(path).imports
        waiting += [".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 1)]
    return tuple(sorted(set(found.values())))


@cache
def code_digest(stage: str) -> str:
    """Digest of the code that shapes a stage's result: its import closure, read with `ast`.

    Comments and docstrings do not count, so editing them reruns nothing.
    """
    files = import_closure(f"ovnerf.stages.{stage}")
    return digest(
        {str(path.relative_to(REPOSITORY_ROOT)): read_source(path).digest for path in files}
    )


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The same tree with bare string statements removed."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                item
                for item in body
                if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
            ]
    return tree


def result_digest(
    stage: str,
    settings: BaseModel,
    inputs: Mapping[str, str],
    exclude: Collection[str] = (),
    **further: Any,
) -> str:
    """16 hex digits of what a result is made from: code, settings and inputs of its stage.

    Args:
        stage: name of the stage.
        settings: its settings.
        inputs: digest of each input, by a name of it.
        exclude: names of settings that do not shape the result.
        further: JSON-able values that shape the result as settings do (a seed), by name.
    """
    shaping = settings.model_dump(mode="json", exclude=set(exclude)) | further
    return digest({"code": code_digest(stage), "settings": shaping, "inputs": inputs})
