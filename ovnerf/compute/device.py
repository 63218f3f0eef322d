"""Which device a stage computes on."""

from __future__ import annotations

import os

import torch

from ovnerf.runtime.errors import UserError


def resolve_device(choice: str | None = None) -> torch.device:
    """`auto` is CUDA where available, else CPU; UserError when CUDA is asked for and absent."""
    choice = choice or os.environ.get("OVNERF_DEVICE", "auto")
    if choice == "auto":
        choice = "cuda" if torch.cuda.is_available() else "cpu"
    if choice == "cuda" and not torch.cuda.is_available():
        raise UserError("device: cuda was asked for, found none", "set `device: auto` or `cpu`")
    return torch.device(choice)
