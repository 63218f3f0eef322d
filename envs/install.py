"""Install this repository and the pinned packages into the Python that runs this file.

    .venv/bin/python envs/install.py                 # what the workflow needs
    .venv/bin/python envs/install.py --extra test    # and the test tools
    .venv/bin/python envs/install.py --torch cpu     # PyTorch without the CUDA libraries

uv does the work because it is several times faster than pip. pip does it where uv cannot be had or
fails. uv reads none of pip's settings, so those that say where packages come from are passed on.
Standard library only: nothing is installed yet.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
CONSTRAINTS = REPOSITORY / "constraints.txt"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
UV_OPTIONS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "constraint": "--constraints",
}
"""pip's settings that say where packages come from, and uv's options of the same meaning."""
SECTIONS = ("global", "install", ":env:")
"""Sections of pip's configuration that count for `pip install`; a later one overrules."""

PIP = [sys.executable, "-m", "pip"]
PIP_INSTALL = [*PIP, "install", "--quiet", "--disable-pip-version-check", "-c", str(CONSTRAINTS)]
UV_INSTALL = [
    *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable),
    *("-c", str(CONSTRAINTS)),
]


def pip_settings(listing: str) -> dict[str, list[str]]:
    """Setting -> its values, from what `pip config list` prints (`global.index-url='...'`)."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in SECTIONS and key in UV_OPTIONS:
            found[section, key] = str(ast.literal_eval(value)).split()
    return {key: found[section, key] for section, key in sorted(found, key=rank)}


def rank(place: tuple[str, str]) -> int:
    """How late a section of pip's configuration is read."""
    return SECTIONS.index(place[0])


def listed_settings() -> str:
    """What `pip config list` prints; nothing where this pip cannot say."""
    command = [*PIP, "config", "list"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def uv_options(settings: Mapping[str, Sequence[str]]) -> list[str]:
    """The options that make uv look where pip looks, and choose among indexes as pip does."""
    options = []
    for key, values in settings.items():
        for value in values:
            options += [UV_OPTIONS[key], value]
    if "extra-index-url" in settings:
        # uv's own choice is to take a package from the first index that has any version of it.
        options += ["--index-strategy", "unsafe-best-match"]
    return options


def succeeds(command: Sequence[str]) -> bool:
    """Whether a command ends with exit code 0; it prints for itself."""
    return subprocess.run(command, cwd=REPOSITORY, check=False).returncode == 0


def reachable(address: str) -> bool:
    """Whether a web address answers within ten seconds."""
    try:
        with urllib.request.urlopen(address, timeout=10):
            return True
    except (urllib.error.URLError, TimeoutError):
        return False


def install(wanted: str, cpu: bool) -> bool:
    """Install by uv, else by pip; whether either did it.

    Args:
        wanted: the requirement, the folder `.` with its extras.
        cpu: take PyTorch from its index of builds without CUDA.
    """
    if succeeds([*PIP_INSTALL, "uv"]):
        options = uv_options(pip_settings(listed_settings()))
        options += ["--torch-backend", "cpu"] if cpu else []
        # Where Python may not keep compiled modules itself (PYTHONDONTWRITEBYTECODE, common in
        # containers), every job would compile torch anew: seconds for each. pip always compiles.
        options += ["--compile-bytecode"] if sys.dont_write_bytecode else []
        if succeeds([*UV_INSTALL, *options, "-e", wanted]):
            return True
        print("uv could not install the packages; pip tries now", file=sys.stderr)
    else:
        print("uv cannot be had here; pip installs the packages", file=sys.stderr)
    index = ["--extra-index-url", CPU_INDEX] if cpu else []
    return succeeds([*PIP_INSTALL, *index, "-e", wanted])


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--extra", action="append", default=[], help="of pyproject.toml")
    parser.add_argument("--torch", choices=["default", "cpu"], default="default")
    options = parser.parse_args()
    cpu = options.torch == "cpu" and reachable(f"{CPU_INDEX}/torch/")
    if options.torch == "cpu" and not cpu:
        print(f"{CPU_INDEX} cannot be reached: installing PyPI's torch", file=sys.stderr)
    wanted = f".[{','.join(options.extra)}]" if options.extra else "."
    if not install(wanted, cpu):
        return 1
    if sys.dont_write_bytecode:
        compileall.compile_dir(REPOSITORY / "ovnerf", quiet=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
