"""Training state and fields on disk: safetensors with a JSON header, written atomically."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Adam

from ovnerf.errors import UserError


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-able header under a temporary name, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(whole, temporary, metadata={"header": json.dumps(header, sort_keys=True)})
    os.replace(temporary, path)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file written by `save_tensors`; UserError when damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["header"])
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise UserError(
            f"{path}: not a readable field or checkpoint ({error})",
            "delete it and rerun the rule that makes it",
        ) from None


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
    fill(temporary)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(temporary, out)


def write_log(path: Path, rows: list[dict[str, float]]) -> None:
    """`train.csv`: one row per logged step, six significant digits."""
    pd.DataFrame(rows).to_csv(path, index=False, float_format="%.6g")


def use_deterministic_seed(seed: int) -> torch.Generator:
    """Seed torch's global generator (linear layers) and return one for grids."""
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)
