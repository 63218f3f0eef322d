"""`python -m ovnerf <stage> ...`: every rule of the workflow is also a command.

The options of a stage are the keyword parameters of its `run` function: `Path` parameters become
`--name PATH`, `settings` becomes `--settings` (JSON text, or a JSON/YAML file), validated by the
stage's pydantic model. A stage prints one JSON line when it ends: what it made, its seconds and its
peak memory. Exit codes: 0 done, 2 bad input (one message, no traceback); anything else is a bug
and shows its traceback.

    python -m ovnerf make_room --out room/room.json --settings '{"seed": 3, "frames": 12}'
    python -m ovnerf sample_frames --folder room --out frames.zarr
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import os
import resource
import sys
import textwrap
import time
import typing
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

import yaml
from pydantic import BaseModel

from ovnerf.config import parse, read_yaml
from ovnerf.errors import UserError

STAGES = Path(__file__).parent / "stages"


def stage_names() -> list[str]:
    """Names of the stage modules, alphabetical."""
    return sorted(path.stem for path in STAGES.glob("*.py") if path.stem != "__init__")


def is_settings(kind: Any) -> TypeGuard[type[BaseModel]]:
    """Whether a parameter's type is a pydantic model."""
    return inspect.isclass(kind) and issubclass(kind, BaseModel)


def read_settings(model: type[BaseModel], text: str | None, option: str) -> BaseModel:
    """Settings from JSON text or a JSON/YAML file; the model's defaults when None."""
    if text is None:
        return model()
    if not text.lstrip().startswith("{"):
        return parse(model, read_yaml(text), text)
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{option}: not valid JSON: {error}") from None
    return parse(model, data, option)


def settings_help(model: type[BaseModel], indent: str = "  ") -> list[str]:
    """The settings of a stage, one per line: name, default, meaning; nested ones indented."""
    lines = []
    for name, field in model.model_fields.items():
        meaning = " ".join((field.description or "").split())
        if is_settings(field.annotation):
            lines += [f"{indent}{name}:", *settings_help(field.annotation, indent + "  ")]
            continue
        lines.append(f"{indent}{name} = {json.dumps(field.default, default=str)}")
        lines += textwrap.wrap(
            meaning, 96, initial_indent=indent + "    ", subsequent_indent=indent + "    "
        )
    return lines


def epilog_of(kinds: dict[str, Any]) -> str:
    """What stands below the options in a stage's help: every setting of every model."""
    lines = []
    for key, kind in kinds.items():
        if is_settings(kind):
            lines += [f"{option_of(key)} ({kind.__name__}, defaults shown):", *settings_help(kind)]
    return "\n".join(lines)


def option_of(key: str) -> str:
    """The command line option of a `run` parameter."""
    return "--" + key.replace("_", "-")


def without_none(kind: Any) -> Any:
    """The type inside `X | None`; any other type as it is."""
    options = [part for part in typing.get_args(kind) if part is not type(None)]
    return options[0] if type(None) in typing.get_args(kind) else kind


def stage_parser(name: str, module: ModuleType) -> tuple[argparse.ArgumentParser, dict[str, Any]]:
    """Parser of one stage and the resolved types of its `run` parameters."""
    kinds = typing.get_type_hints(module.run)
    kinds.pop("return", None)
    parser = argparse.ArgumentParser(
        prog=f"python -m ovnerf {name}",
        description=module.__doc__,
        epilog=epilog_of(kinds),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for key, parameter in inspect.signature(module.run).parameters.items():
        option = option_of(key)
        required = parameter.default is inspect.Parameter.empty and not is_settings(kinds[key])
        if is_settings(kinds[key]):
            parser.add_argument(option, metavar="JSON|FILE", help="every setting is below")
            continue
        convert = without_none(kinds[key])
        if typing.get_origin(convert) is list:
            parser.add_argument(option, nargs="+", type=Path, required=required, metavar="PATH")
        else:
            default = None if required else parameter.default
            parser.add_argument(
                option,
                type=convert,
                required=required,
                default=default,
                metavar=convert.__name__.upper(),
            )
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1, help="compute threads (default 1)")
    return parser, kinds


def peak_memory_mb() -> float:
    """Largest resident set of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_stage(name: str, arguments: Sequence[str]) -> None:
    """Parse a stage's options, run it, print its closing JSON line."""
    module = importlib.import_module(f"ovnerf.stages.{name}")
    parser, kinds = stage_parser(name, module)
    options = vars(parser.parse_args(arguments))
    device, threads = options.pop("device"), options.pop("threads")
    for key, kind in kinds.items():
        if is_settings(kind):
            options[key] = read_settings(kind, options[key], option_of(key))
    set_up_compute(device, threads)
    begin = time.perf_counter()
    summary = module.run(**options)
    closing = {
        "stage": name,
        **(summary or {}),
        "seconds": round(time.perf_counter() - begin, 2),
        "peak_memory_mb": round(peak_memory_mb()),
    }
    print(json.dumps(closing), flush=True)


def set_up_compute(device: str, threads: int) -> None:
    """Fix the device and thread count before any tensor exists."""
    os.environ["OVNERF_DEVICE"] = device
    import torch

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)


def overview(names: Sequence[str]) -> str:
    """The help of the whole command: the module docstring and one line per stage."""
    lines = [(__doc__ or "").rstrip(), "", "stages:"]
    for name in names:
        # Read, not imported: importing all of them takes seconds.
        about = ast.get_docstring(ast.parse((STAGES / f"{name}.py").read_text())) or ""
        lines.append(f"  {name:<18}{about.partition(chr(10))[0]}")
    return "\n".join([*lines, "", "`python -m ovnerf <stage> --help` lists a stage's settings."])


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    names = stage_names()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview(names))
        return 0
    if arguments[0] not in names:
        print(f"error: no stage {arguments[0]!r}; one of: {', '.join(names)}", file=sys.stderr)
        return 2
    try:
        run_stage(arguments[0], arguments[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
