"""What the code must never do with files and text of others, read from its own source."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest

from ovnerf.config.run import read_scenes
from ovnerf.encoders.precomputed import read_manifest
from ovnerf.runtime.errors import UserError
from ovnerf.scenes.layouts import list_scene
from ovnerf.storage.provenance import REPOSITORY_ROOT

FOLDERS = ("ovnerf", "workflow", "benchmarks", "tests")
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {
    *("eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load"),
    *("pd.read_pickle", "pandas.read_pickle", "tempfile.mktemp"),
    *("tarfile.open", "shutil.unpack_archive", "zipfile.ZipFile"),
}
"""Pickles run code, `eval` too; archives may name files outside their folder: none is unpacked."""
SHELL_SAFE = {
    *("output", "log", "threads", "resources.checkpoint_minutes"),
    *("wildcards.dataset", "wildcards.scene", "wildcards.encoder", "wildcards.variant"),
    *("wildcards.seed", "wildcards.part"),
    *("params.compute", "params.logs", "params.benchmarks", "params.folder", "params.names"),
    *("params.truth", "params.parts", "params.train", "params.weights_dir"),
    *("params.fused", "params.radiance_seed", "params.answers"),
}
"""Made of checked names and of `results`, which is checked, or quoted where they are made."""


@cache
def sources() -> list[tuple[str, ast.Module]]:
    """Every Python file of the repository, parsed."""
    return [
        (str(path.relative_to(REPOSITORY_ROOT)), ast.parse(path.read_text(encoding="utf-8")))
        for folder in FOLDERS
        for path in sorted((REPOSITORY_ROOT / folder).rglob("*.py"))
    ]


@cache
def calls() -> list[tuple[str, ast.Call, str, dict[str, ast.expr]]]:
    """(file and line, call, dotted name, keywords) of every call."""
    return [
        (
            f"{name}:{node.lineno}",
            node,
            ast.unparse(node.func),
            {word.arg: word.value for word in node.keywords if word.arg},
        )
        for name, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    ]


def constant(keywords: dict[str, ast.expr], name: str) -> object:
    """Value of a keyword written as a constant; None otherwise."""
    value = keywords.get(name)
    return value.value if isinstance(value, ast.Constant) else None


def test_nothing_unpickles_or_runs_text() -> None:
    for name, tree in sources():
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {part.partition(".")[0] for part in names} & FORBIDDEN_IMPORTS, name
    for where, _, called, keywords in calls():
        assert called not in FORBIDDEN_CALLS, f"{where}: {called}"
        if called == "torch.load":
            assert constant(keywords, "weights_only") is True, where
        if called in ("np.load", "numpy.load"):
            allowed = "allow_pickle" in keywords and constant(keywords, "allow_pickle") is not False
            assert not allowed, where  # numpy's default is not to


def test_no_command_goes_through_a_shell() -> None:
    for where, _, called, keywords in calls():
        if called.startswith("subprocess.") or called in ("Popen", "run_command"):
            assert constant(keywords, "shell") in (None, False), where
            assert "shell" not in keywords, where


def test_rules_quote_whatever_a_person_may_have_written() -> None:
    for path in sorted((REPOSITORY_ROOT / "workflow/rules").glob("*.smk")):
        for block in re.findall(r"(?ms)^    shell:\n(.*?)(?=^\S|\Z)", path.read_text()):
            for field in re.findall(r"\{([^{}]+)\}", block):
                plain = field.removesuffix(":q")
                root = plain.partition(".")[0]
                safe = field.endswith(":q") or plain in SHELL_SAFE or root in ("input", "output")
                assert safe, f"{path.name}: {{{field}}} is not quoted"


def test_inputs_in_commands_are_results_or_checked_names() -> None:
    """`{input.x}` stands unquoted, so x may only be made by a rule."""
    used = set()
    for path in sorted((REPOSITORY_ROOT / "workflow/rules").glob("*.smk")):
        used |= set(re.findall(r"\{input\.(\w+)\}", path.read_text()))
    assert not used & {"images", "weights", "labels_files"}


def test_rules_take_compute_threads_from_the_settings() -> None:
    """Sums differ between 1 and 2 threads; Snakemake's `{threads}` follows --cores."""
    for path in sorted((REPOSITORY_ROOT / "workflow/rules").glob("*.smk")):
        assert "{threads}" not in path.read_text(), path.name


@pytest.mark.parametrize("name", ["../up", "/etc", "a/b", "..", "a b", "a;b", "$(id)"])
@pytest.mark.parametrize("column", ["dataset", "scene"])
def test_a_sheet_cannot_name_a_place_outside_the_results(
    tmp_path: Path, column: str, name: str
) -> None:
    row = {"dataset": "d", "scene": "s", column: name}
    sheet = tmp_path / "sheet.tsv"
    sheet.write_text(f"dataset\tscene\ttoy_seed\n{row['dataset']}\t{row['scene']}\t1\n")
    with pytest.raises(UserError, match=column):
        read_scenes(sheet)


@pytest.mark.parametrize("name", ["../out.png", "/etc/out.png", "images/../../out.png"])
def test_a_list_of_frames_cannot_name_images_outside_the_scene(tmp_path: Path, name: str) -> None:
    (tmp_path / "out.png").touch()
    scene = tmp_path / "scene"
    scene.mkdir()
    (scene / "transforms.json").write_text(json.dumps({"frames": [{"file_path": name}]}))
    with pytest.raises(UserError, match="lies outside the scene folder"):
        list_scene(scene, "nerfstudio")


@pytest.mark.parametrize("name", ["../map.npy", "/etc/map.npy"])
def test_a_manifest_cannot_name_maps_outside_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "map.npy").touch()
    folder = tmp_path / "maps"
    folder.mkdir()
    content = {"kind": "labels", "classes": ["wall"], "files": {"0": name}}
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="lies outside the folder of the maps"):
        read_manifest(folder, ["wall"], ["0"])


def test_no_secret_can_be_in_a_log() -> None:
    """The code reads no credential from the environment, so it has none to print."""
    for where, node, called, _ in calls():
        if where.startswith("tests") or called not in ("os.environ.get", "os.getenv"):
            continue
        name = ast.unparse(node.args[0])
        assert not re.search(r"TOKEN|KEY|SECRET|PASSWORD", name), f"{where}: {name}"
