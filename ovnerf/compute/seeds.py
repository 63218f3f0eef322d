"""Seeding torch."""

from __future__ import annotations

import torch


def use_deterministic_seed(seed: int) -> torch.Generator:
    """Seed torch's global generator (linear layers) and return one for grids."""
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)
