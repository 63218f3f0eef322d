"""Weight files: where they are looked for, and reading them without unpickling code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ovnerf.runtime.errors import UserError
from ovnerf.storage.finite import require_finite
from ovnerf.storage.provenance import REPOSITORY_ROOT, shipped_file


def find_file(name: str, setting: str) -> Path:
    """A file named in the settings: from the working directory, else from the repository.

    Args:
        name: path as written in the settings.
        setting: the setting's dotted name, for the message.

    Raises:
        UserError: in neither place.
    """
    for path in (Path(name), shipped_file(name)):
        if path and path.is_file():
            return path
    raise UserError(
        f"{setting}: no file {name}, looked in {Path.cwd()} and {REPOSITORY_ROOT}",
        "put the weights there or name another file; config/README.md says where each comes from",
    )


def state_dict_of(path: Path) -> dict[str, Tensor]:
    """A state dict from safetensors, or from a torch file that holds nothing but tensors.

    A dict nested under `state_dict` or `model` is unwrapped and a common `module.` prefix removed.

    Raises:
        UserError: the file is not a readable state dict (a TorchScript archive, for example).
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path}: not a readable weight file ({first})",
            "expected safetensors, or a plain state dict saved by torch.save",
        ) from None
    for key in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(torch.is_tensor(item) for item in found.values()):
        raise UserError(f"{path}: expected named tensors, found {type(found).__name__}")
    return {name.removeprefix("module."): item for name, item in found.items()}


def load_weights(model: nn.Module, path: Path, setting: str) -> None:
    """Fill every parameter of `model` from a file (binary16 weights become binary32).

    Raises:
        UserError: names or shapes differ from the model's, or a number is not finite.
    """
    fill_model(
        model,
        state_dict_of(path),
        path,
        f"weights of another architecture than {setting} asks for",
        "check that the model name and the weight file belong together",
    )


def fill_model(
    model: nn.Module, tensors: dict[str, Tensor], path: Path, otherwise: str, hint: str
) -> None:
    """Fill every parameter of `model` with the tensors of the same names.

    Args:
        path: the file that they come from, for messages.
        otherwise: what is said when names or shapes differ from the model's. hint: what to do then.

    Raises:
        UserError: names or shapes differ, or a number is not finite in the model's own type.
    """
    try:
        model.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:3]]
        raise UserError(f"{path}: {otherwise}: {' '.join(lines)[:400]}", hint) from None
    require_finite(str(path), model.state_dict(), "the file is damaged: get it again")
