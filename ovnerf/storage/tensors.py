"""Training state and fields on disk: safetensors with a JSON header, atomic and checksummed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Adam

from ovnerf.runtime.errors import UserError
from ovnerf.storage.finite import require_finite

METADATA = "ovnerf"
"""Key of the header and the content digest in a file's metadata."""
REMAKE = "delete it and rerun the rule that makes it"
DIVERGED = "the training diverged: lower its learning rates, or mend its inputs"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-able header under a temporary name, then rename.

    Raises:
        OSError: the disk refused (safetensors reports that in words of its own).
        UserError: a tensor holds NaN or infinite numbers; nothing is written then.
    """
    require_finite(f"{path} (not written)", tensors, DIVERGED)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Keys keep their order: a training that goes on writes its log's columns as it began them.
    stated = json.dumps(header)
    said = {"header": stated, "content": content_digest(whole, stated)}
    try:
        # One key, because safetensors writes several in an order that differs from run to run.
        save_file(whole, temporary, {METADATA: json.dumps(said)})
        sync(temporary)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        number = re.search(r"os error (\d+)", str(error))
        if isinstance(error, SafetensorError) and number:
            code = int(number[1])
            raise OSError(code, os.strerror(code), str(path)) from None
        raise
    os.replace(temporary, path)


def sync(path: Path) -> None:
    """Wait until a file is on the disk, so that a power cut cannot leave it short once renamed."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def content_digest(tensors: Mapping[str, Tensor], header: str) -> str:
    """sha256 of a header and of every tensor's name, type, shape and bytes."""
    found = hashlib.sha256(header.encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file written by `save_tensors`.

    Raises:
        UserError: the file is damaged, or a tensor holds NaN or infinite numbers.
    """
    try:
        with safe_open(path, framework="pt") as file:
            said = json.loads((file.metadata() or {})[METADATA])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(said["header"])
        problem = "" if content_digest(tensors, said["header"]) == said["content"] else "altered"
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        problem = str(error) or type(error).__name__
    if problem:
        raise UserError(
            f"{path}: not a readable field or checkpoint ({problem})",
            REMAKE,
        )
    require_finite(str(path), tensors, REMAKE)
    return tensors, header


def optimiser_tensors(optimiser: Adam) -> dict[str, Tensor]:
    """Adam's moments, keyed by parameter number and name of the moment."""
    state = optimiser.state_dict()["state"]
    return {
        f"optimiser.{number}.{key}": value
        for number, entry in state.items()
        for key, value in entry.items()
    }


def load_optimiser_tensors(optimiser: Adam, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimiser_tensors` took; parameters without moments stay fresh."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, number, key = name.split(".")
            state.setdefault(int(number), {})[key] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def module_tensors(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    """A module's state dict under a prefix."""
    return {f"{prefix}{name}": tensor for name, tensor in module.state_dict().items()}


def strip(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, without it."""
    return {
        name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)
    }


def publish_folder(out: Path, fill: Any) -> None:
    """Make folder `out` complete or not at all: `fill(temporary folder)`, then rename."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        fill(temporary)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(out, ignore_errors=True)
    os.replace(temporary, out)
