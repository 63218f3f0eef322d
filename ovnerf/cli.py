"""`python -m ovnerf <stage> ...`: every rule of the workflow is also a command.

The options of a stage are the keyword parameters of its `run` function (others are given without a
name, like the folder of `inspect`): `Path` parameters become `--name PATH`, `settings` becomes
`--settings` (JSON text, or a JSON/YAML file), validated by the stage's pydantic model. A stage
prints one JSON line when it ends: what it made, a digest of it, how fast, its peak memory, and what
a person should look at (`warning`). Exit codes: 0 done; 2 bad input; 74 the disk is full,
read-only or broken; 75 stopped by SIGTERM with its work kept, run it again to go on. Each comes
with one message and no traceback; anything else is a bug and shows its traceback.

    python -m ovnerf make_room --out room/room.json --settings '{"seed": 3, "frames": 12}'
    python -m ovnerf sample_frames --folder room --out frames.zarr
"""

from __future__ import annotations

import argparse
import ast
import errno
import gc
import importlib
import inspect
import json
import os
import resource
import sys
import textwrap
import time
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

import yaml
from pydantic import BaseModel

from ovnerf.config.run import parse, read_yaml
from ovnerf.inspection.config_commands import (
    CHECK,
    ON_CONFIGS,
    PLAN,
    check_config,
    print_plan,
    read_config_names,
)
from ovnerf.runtime import progress
from ovnerf.runtime.allocator import keep_freed_memory
from ovnerf.runtime.errors import BAD_INPUT, DISK_TROUBLE, DONE, STOPPED, Stopped, UserError
from ovnerf.runtime.lock import hold_lock
from ovnerf.runtime.memory import check_memory, expected_mb
from ovnerf.storage.places import check_place, with_a_name
from ovnerf.storage.provenance import WORKFLOW_ROOT, path_digest

STAGES = Path(__file__).parent / "stages"
DISK_ERRORS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EROFS: "the file system is read-only; choose another `results` folder",
    errno.EACCES: "mend the permissions of it and of its folder",
    errno.EPERM: "mend the permissions of it and of its folder",
    errno.EIO: "the disk reports an error; look at the system's log",
    errno.ESTALE: "the network disk lost the file",
}
"""What a person does about each; other errors of the system are bugs."""
WORKFLOW = "workflow"
"""Not a stage: `python -m ovnerf workflow ...` is Snakemake with the workflow of this package."""


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
    except (yaml.YAMLError, ValueError) as error:
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


def positive(text: str) -> int:
    """A whole number of at least 1; argparse names the option that is none."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"found {number}, expected 1 or more")
    return number


def compute_parser() -> argparse.ArgumentParser:
    """The options that every stage has."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--threads", type=positive, default=1, help="compute threads (default 1)")
    return parser


def stage_parser(name: str, module: ModuleType) -> tuple[argparse.ArgumentParser, dict[str, Any]]:
    """Parser of one stage and the resolved types of its `run` parameters."""
    kinds = typing.get_type_hints(module.run)
    kinds.pop("return", None)
    parser = argparse.ArgumentParser(
        prog=f"python -m ovnerf {name}",
        description=module.__doc__,
        epilog=epilog_of(kinds),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[compute_parser()],
        allow_abbrev=False,
    )
    for key, parameter in inspect.signature(module.run).parameters.items():
        option = option_of(key)
        required = parameter.default is inspect.Parameter.empty and not is_settings(kinds[key])
        if is_settings(kinds[key]):
            parser.add_argument(option, metavar="JSON|FILE", help="every setting is below")
            continue
        convert = without_none(kinds[key])
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            many = typing.get_origin(convert) is list
            parser.add_argument(
                key,
                type=typing.get_args(convert)[0] if many else convert,
                nargs=("+" if required else "*") if many else None,
                metavar=key.upper(),
                # One without a default would be told to be missing.
                **({} if required else {"default": parameter.default}),
            )
            continue
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
    return parser, kinds


def peak_memory_mb() -> float:
    """Largest resident set of this process so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def run_stage(name: str, arguments: Sequence[str]) -> None:
    """Parse a stage's options, run it, print its closing JSON line."""
    compute, _ = compute_parser().parse_known_args(arguments)
    with keeping_everything():
        set_up_compute(compute.device, compute.threads)
        module = importlib.import_module(f"ovnerf.stages.{name}")
    set_up_torch(compute.threads)
    parser, kinds = stage_parser(name, module)
    options = vars(parser.parse_intermixed_args(arguments))
    del options["device"], options["threads"]
    for key, kind in kinds.items():
        if is_settings(kind):
            options[key] = read_settings(kind, options[key], option_of(key))
    begin = time.perf_counter()
    out = options.get("out")
    if out is not None:
        options["out"] = out = with_a_name(out)
        check_place(name, out)
    with (
        progress.watched() as state,
        naming(out),
        hold_lock(out) if out else nullcontext(),
    ):
        check_memory(name, options)
        expected = expected_mb(name, options)
        summary = module.run(**options) or {}
        closing = {
            "stage": name,
            **summary,
            **how_it_went(state.work),
            "seconds": round(time.perf_counter() - begin, 2),
            "peak_memory_mb": round(peak_memory_mb()),
            "expected_memory_mb": expected,
        }
        if state.warnings:
            told = [closing["warning"]] if "warning" in closing else []
            closing["warning"] = "; ".join([*told, *progress.warnings()])
        if out:
            closing |= {"out": str(out), "digest": path_digest(out)}
    for text in progress.warnings():
        progress.log(f"warning: {text}")
    print(json.dumps(closing), flush=True)


@contextmanager
def keeping_everything() -> Iterator[None]:
    """Switch the garbage collector off, and exempt from it all objects that exist by the end.

    Used around imports, whose objects live as long as the process; searching them for garbage would
    take 0.1 s of every job's start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def naming(out: Path | None) -> Iterator[None]:
    """Add the name of `out` to an OSError that names no file (a full disk, for example)."""
    try:
        yield
    except OSError as error:
        if out is not None and not error.filename:
            error.filename = str(out)
        raise


def how_it_went(work: progress.Work | None) -> dict[str, Any]:
    """What a stage's loop did, for its closing line; empty for a stage without a loop.

    Returns:
        The unit, how many are done, at which one this process resumed, and units per second.
    """
    if work is None:
        return {}
    rate = work.rate()
    return {
        "unit": work.unit,
        "done": work.done,
        "went_on_at": work.first,
        "rate": float(f"{rate:.4g}") if rate else None,
    }


def set_up_compute(device: str, threads: int) -> None:
    """Fix device, thread count and allocator, before any numerical library is imported."""
    keep_freed_memory()
    os.environ["OVNERF_DEVICE"] = device
    # cuBLAS keeps its sums in one order only with a workspace of fixed size.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
    # A thread of OpenMP that waits keeps its core busy; the compiled loops' threads need it.
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")


def set_up_torch(threads: int) -> None:
    """Threads and determinism, for the stages that have imported torch; it takes a second."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    torch.set_num_threads(threads)
    # The same as use_deterministic_algorithms(True, warn_only=True), which also imports the whole
    # compiler: 1.3 seconds in every job.
    torch.set_deterministic_debug_mode("warn")
    # Else every new tensor is first filled with NaN; a third of the launches of a training step.
    torch.utils.deterministic.fill_uninitialized_memory = False


def run_workflow(arguments: Sequence[str]) -> typing.NoReturn:
    """Become Snakemake, with the Snakefile that comes with this package and these options."""
    snakefile = str(WORKFLOW_ROOT / "workflow" / "Snakefile")
    program = [sys.executable, "-m", "snakemake", "--snakefile", snakefile, *arguments]
    os.execv(sys.executable, program)


def overview(names: Sequence[str]) -> str:
    """The help of the whole command: the module docstring and one line per stage."""
    lines = [(__doc__ or "").rstrip(), "", "stages:"]
    width = max(map(len, names)) + 2
    for name in names:
        # Read, not imported: importing all of them takes seconds.
        about = (
            ast.get_docstring(ast.parse((STAGES / f"{name}.py").read_text(encoding="utf-8"))) or ""
        )
        lines.append(f"  {name:<{width}}{about.partition(chr(10))[0]}")
    lines += ["", "`python -m ovnerf <stage> --help` lists a stage's settings."]
    lines += ["`python -m ovnerf check CONFIG ...` says what a dry run would refuse or warn of."]
    lines += ["`python -m ovnerf plan CONFIG ...` says what it would cost on this machine."]
    lines += ["`python -m ovnerf workflow ...` runs all stages: Snakemake, with its own options."]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    names = stage_names()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview(names))
        return DONE
    if arguments[0] == WORKFLOW:
        run_workflow(arguments[1:])
    if arguments[0] not in (*ON_CONFIGS, *names):
        print(f"error: no stage {arguments[0]!r}; one of: {', '.join(names)}", file=sys.stderr)
        return BAD_INPUT
    try:
        if arguments[0] == CHECK:
            print(json.dumps(check_config(read_config_names(CHECK, arguments[1:]))))
        elif arguments[0] == PLAN:
            print_plan(read_config_names(PLAN, arguments[1:]))
        else:
            run_stage(arguments[0], arguments[1:])
    except UserError as error:
        return ends(BAD_INPUT, f"error: {error}")
    except Stopped as stopped:
        return ends(STOPPED, f"{stopped}\n  hint: run it again to go on")
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        return ends(DISK_TROUBLE, disk_message(error))
    return DONE


def ends(code: int, message: str) -> int:
    """Say the last words, to whoever still listens; returns the exit code."""
    with suppress(BrokenPipeError):
        print(message, file=sys.stderr, flush=True)
    return code


def disk_message(error: OSError) -> str:
    """What the disk refused, and what to do."""
    where = f"{error.filename}: " if error.filename else ""
    hint = DISK_ERRORS[typing.cast(int, error.errno)]
    return f"error: {where}{error.strerror}\n  hint: {hint}; finished work is kept, run it again"
