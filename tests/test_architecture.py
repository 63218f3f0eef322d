"""The rules of the house: imports point one way, and what is written twice agrees."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ovnerf.config.base import Strict
from ovnerf.config.run import Config
from ovnerf.storage.provenance import REPOSITORY_ROOT, import_closure, imported_modules

STAGES = sorted(
    path.stem
    for path in (REPOSITORY_ROOT / "ovnerf" / "stages").glob("*.py")
    if path.stem != "__init__"
)


RULE_PARTS = ("output", "log", "benchmark", "threads", "resources", "params", "conda", "shell")
HEAVY = {
    *("torch", "torchvision", "open_clip", "segment_anything", "timm", "cv2", "numpy", "pandas"),
    *(
        "scipy",
        "skimage",
        "pycocotools",
        "zarr",
        "numcodecs",
        "matplotlib",
        "safetensors",
        "tqdm",
        "trimesh",
        "embreex",
        "numba",
        "pycolmap",
    ),
}
"""What an installation of Snakemake alone does not bring."""
IMPORTED_AS = {
    "open_clip_torch": "open_clip",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
    "segment-anything": "segment_anything",
}
"""Distributions whose modules have another name."""


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package with its file."""
    for path in sorted((REPOSITORY_ROOT / "ovnerf").rglob("*.py")):
        parts = path.relative_to(REPOSITORY_ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports_of(name: str, path: Path) -> set[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return {found for found in imported_modules(path.read_text(), package) if found}


def test_the_library_does_not_import_stages_or_the_command_line() -> None:
    for name, path in modules():
        if name.startswith("ovnerf.stages") or name in ("ovnerf.cli", "ovnerf.__main__"):
            continue
        upward = {
            found
            for found in imports_of(name, path)
            if found.startswith(("ovnerf.stages", "ovnerf.cli", "snakemake", "workflow"))
        }
        assert not upward, f"{name} imports {upward}"


def test_stages_do_not_import_each_other() -> None:
    for stage in STAGES:
        name = f"ovnerf.stages.{stage}"
        found = imports_of(name, REPOSITORY_ROOT / "ovnerf" / "stages" / f"{stage}.py")
        others = {other for other in found if other.startswith(("ovnerf.stages.", "ovnerf.cli"))}
        assert not others, f"{name} imports {others}"


class AtRunTime(ast.NodeTransformer):
    """Source without what only type checkers read."""

    def visit_If(self, node: ast.If) -> ast.If | None:
        checked = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return None if checked else node


def test_the_package_imports_only_what_its_installation_brings(project: dict) -> None:
    """Not what the extras bring (the viewer, test tools); and nothing that unpickles."""
    required = requirement_names(project["dependencies"])
    installed = {IMPORTED_AS.get(name, name) for name in required}
    allowed = (sys.stdlib_module_names | installed | {"ovnerf"}) - {"pickle", "shelve"}
    for name, path in modules():
        source = ast.unparse(AtRunTime().visit(ast.parse(path.read_text())))
        roots = {found.partition(".")[0] for found in imported_modules(source, name)} - {""}
        assert roots <= allowed, f"{name}: {roots - allowed}"


def test_every_rule_has_a_stage_of_its_name_and_the_other_way_round() -> None:
    rules = {
        match
        for path in (REPOSITORY_ROOT / "workflow" / "rules").glob("*.smk")
        for match in re.findall(r"^rule (\w+):", path.read_text(), flags=re.MULTILINE)
    }
    # The rest is for people, beside the workflow.
    assert rules == set(STAGES) - {"inspect", "verify", "view", "compare"}


def test_rules_say_everything_a_rule_should() -> None:
    for path in (REPOSITORY_ROOT / "workflow" / "rules").glob("*.smk"):
        text = path.read_text()
        for block in re.split(r"(?m)^rule ", text)[1:]:
            name = block.partition(":")[0]
            for part in RULE_PARTS:
                assert re.search(rf"(?m)^    {part}:", block), f"{name} has no {part}"
            assert f'code=code_digest("{name}")' in block
            assert f'mem_mb=memory("{name}")' in block
            assert f'runtime=minutes("{name}")' in block
            assert not re.search(r"(?m)^    run:", block)


def pins(lines: list[str]) -> dict[str, str]:
    found = (line.partition("==") for line in lines if "==" in line and not line.startswith("#"))
    return {name.strip().lower(): version.strip() for name, _, version in found}


def requirement_names(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w-]+", text)[0].lower() for text in requirements}  # type: ignore[index]


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((REPOSITORY_ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def constraints() -> dict[str, str]:
    return pins((REPOSITORY_ROOT / "constraints.txt").read_text().splitlines())


def environment(name: str) -> dict[str, str]:
    data = yaml.safe_load((REPOSITORY_ROOT / "envs" / name).read_text())
    assert data["channels"] == ["conda-forge", "nodefaults"]
    *from_conda, by_pip = data["dependencies"]
    assert from_conda == ["python=3.11", "pip"]
    return pins(by_pip["pip"])


def test_every_environment_repeats_the_constraints(constraints: dict[str, str]) -> None:
    for path in (REPOSITORY_ROOT / "envs").glob("*.yaml"):
        for name, version in environment(path.name).items():
            assert constraints[name] == version, f"{path.name}: {name}"


def test_the_two_environments_hold_every_dependency(project: dict) -> None:
    """What launches the workflow (Snakemake, its report, Slurm) is apart from what jobs run in."""
    launcher = set(environment("workflow.yaml"))
    assert requirement_names(project["dependencies"]) - launcher <= set(environment("ovnerf.yaml"))
    slurm = requirement_names(project["optional-dependencies"]["slurm"])
    assert launcher == {"snakemake", "pygments"} | slurm | {f"{name}-jobstep" for name in slurm}


def test_every_direct_dependency_is_pinned(project: dict, constraints: dict[str, str]) -> None:
    extras = [text for group in project["optional-dependencies"].values() for text in group]
    named = requirement_names(project["dependencies"] + extras) - {"ovnerf"}
    assert named <= set(constraints)


def load_script(name: str):
    path = REPOSITORY_ROOT / "workflow" / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_schema_and_reference_are_those_of_config_py() -> None:
    describe = load_script("describe_config")
    advice = "run: python workflow/scripts/describe_config.py"
    assert describe.SCHEMA.read_text() == describe.schema(), advice
    assert describe.README.read_text() == describe.readme(), advice


def test_the_table_of_memory_is_that_of_the_cost_model() -> None:
    describe = load_script("describe_costs")
    advice = "run: python workflow/scripts/describe_costs.py"
    assert describe.PAGE.read_text(encoding="utf-8") == describe.page(), advice


def test_every_setting_says_what_it_means() -> None:
    models = Strict.__subclasses__()
    assert Config in models
    for model in models:
        for name, field in model.model_fields.items():
            section = isinstance(field.annotation, type) and issubclass(field.annotation, Strict)
            assert section or field.description, f"{model.__name__}.{name}"


def test_snakemake_alone_can_read_what_the_snakefile_imports() -> None:
    """The Snakefile's imports work where numpy, torch and the rest are not installed."""
    common = (REPOSITORY_ROOT / "workflow" / "rules" / "common.smk").read_text()
    wanted = re.findall(r"(?m)^from ovnerf[\w.]* import .*$", common)
    assert len(wanted) >= 4
    program = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ImportError(f"Snakemake alone does not bring {{name}}")

sys.meta_path.insert(0, Refuse())
sys.path.insert(0, {str(REPOSITORY_ROOT)!r})
{chr(10).join(wanted)}
code_digest("sample_frames")
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_closure_of_a_stage_reaches_what_its_library_imports() -> None:
    names = {path.name for path in import_closure("ovnerf.stages.rank_regions")}
    assert {"rank_regions.py", "rsr.py", "runlength.py", "stores.py"} <= names
    assert "reconstruct.py" not in names


def test_no_file_names_a_folder_of_the_machine_it_was_written_on() -> None:
    suffixes = {".py", ".smk", ".yaml", ".yml", ".tsv", ".toml", ".md"}
    for path in REPOSITORY_ROOT.rglob("*"):
        inside = path.relative_to(REPOSITORY_ROOT).parts
        if path.suffix in suffixes and inside[0] in ("ovnerf", "workflow", "config", "envs"):
            assert not re.search(r"/(home|work|root|mnt|Users)/\w", path.read_text()), path
