"""A stand-in for the `conda` command: plain virtual environments with an env file's pip pins.

It proves that Snakemake makes an environment from each env file, that jobs run in it and that the
pins are those that were tested. It solves nothing and asks no channel: only a machine with conda
can prove that conda-forge has the Python and the pip that the files name.

By default packages are not installed again: each pin is compared with the running environment,
which is then shown to the new one. With OVNERF_TEST_CONDA_INSTALL=1 pip installs them (minutes,
gigabytes).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import yaml

ACTIVATE = 'export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"\n'


def stand_in(base: Path) -> Path:
    """Put the command into `base`, laid out as conda is; returns the folder for PATH."""
    folder = base / "bin"
    folder.mkdir(parents=True)
    (folder / "activate").write_text(ACTIVATE)
    command = folder / "conda"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {base} "$@"\n')
    command.chmod(0o755)
    return folder


def environments_used(base: Path) -> set[str]:
    """Prefixes of the environments in which a Python was started."""
    path = base / "used.txt"
    return set(path.read_text().split()) if path.exists() else set()


def create(base: Path, file: Path, prefix: Path) -> None:
    """Make the environment of an env file; SystemExit naming the pin that does not hold."""
    python, pip, listed = yaml.safe_load(file.read_text())["dependencies"]
    here = f"python={sys.version_info.major}.{sys.version_info.minor}"
    if (python, pip) != (here, "pip"):
        raise SystemExit(f"{file}: found {python} and {pip}, this stand-in has {here} and pip")
    install = os.environ.get("OVNERF_TEST_CONDA_INSTALL") == "1"
    make = [sys.executable, "-m", "venv", *([] if install else ["--without-pip"]), str(prefix)]
    subprocess.run(make, check=True)
    paths = {"base": str(prefix), "platbase": str(prefix)}
    site = Path(sysconfig.get_path("purelib", scheme="venv", vars=paths))
    lines = [f"import sys; open({str(base / 'used.txt')!r}, 'a').write(sys.prefix + chr(10))"]
    if install:
        pins = [str(prefix / "bin" / "python"), "-m", "pip", "install", "--quiet", *listed["pip"]]
        subprocess.run(pins, check=True)
    else:
        for pin in listed["pip"]:
            name, _, wanted = pin.partition("==")
            if version(name) != wanted:
                raise SystemExit(f"{file}: {pin}, but {version(name)} is installed")
        lines.append(sysconfig.get_path("purelib"))
    (site / "stand_in.pth").write_text("\n".join(lines) + "\n")


def main(base: Path, arguments: list[str]) -> None:
    """Answer what Snakemake asks of conda."""
    if arguments == ["info", "--json"]:
        print(json.dumps({"conda_prefix": str(base), "platform": "linux-64"}))
    elif arguments == ["--version"]:
        print("conda 99.0.0")
    elif arguments[:1] == ["config"]:
        print(json.dumps({"get": {"channel_priority": "strict"}}))
    elif arguments[:2] == ["env", "create"]:
        file, prefix = (arguments[arguments.index(name) + 1] for name in ("--file", "--prefix"))
        create(base, Path(file), Path(prefix))
    elif arguments[:1] != ["clean"]:
        raise SystemExit(f"the stand-in for conda does not know: {arguments}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
