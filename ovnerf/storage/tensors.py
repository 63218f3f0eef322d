"""Training state and fields on disk: safetensors with a JSON header, atomic and checksummed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Adam

from ovnerf.runtime.errors import UserError
from ovnerf.storage.atomic import atomic_file
from ovnerf.storage.finite import require_finite

METADATA = "ovnerf"
"""Key of the header and the content digest in a file's metadata."""
REMAKE = "delete it and rerun the rule that makes it"
DIVERGED = "the training diverged: lower its learning rates, or mend its inputs"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-able header; the file appears when it is complete.

    Raises:
        OSError: the disk refused (safetensors reports that in words of its own).
        UserError: a tensor holds NaN or infinite numbers; nothing is written then.
    """
    require_finite(f"{path} (not written)", tensors, DIVERGED)
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Keys keep their order: a training that goes on writes its log's columns as it began them.
    header_text = json.dumps(header)
    metadata = {"header": header_text, "content": content_digest(stored, header_text)}
    with disk_errors(path), atomic_file(path) as temporary, mode_of_new_files(temporary):
        # One key: safetensors writes several in an order that differs from run to run.
        save_file(stored, temporary, {METADATA: json.dumps(metadata)})


@contextmanager
def mode_of_new_files(path: Path) -> Iterator[None]:
    """Give the file that the block writes the mode that any new file has in its folder.

    safetensors lets nobody but the owner read what it writes. The mode is seen on an empty file
    that is there first: asking the system for the umask would change it for all threads.
    """
    path.unlink(missing_ok=True)
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    yield
    path.chmod(mode)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what safetensors says of a disk's refusal into the OSError that it is, naming `path`.

    Other errors of safetensors stay as they are.
    """
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None


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
            metadata = json.loads((file.metadata() or {})[METADATA])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(metadata["header"])
        altered = content_digest(tensors, metadata["header"]) != metadata["content"]
        problem = "altered" if altered else ""
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
