"""Text banks: a unit vector per class from prompts and an encoder (docs/method.md#text-banks)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ovnerf.labels.vocabulary import Bank, prompts
from ovnerf.storage.stores import Store, read

CANONICAL = ("object", "things", "stuff", "texture")
"""LERF's phrases, which every class is compared with (docs/method.md#systems)."""
BLANK = " "
"""The as-shipped prompt of the void class: it tokenises to begin and end marks only."""


@dataclass(frozen=True)
class TextBanks:
    """Unit text vectors of one class list, f32."""

    ensemble: np.ndarray
    """(C, D), mean over the prompt templates."""
    bare: np.ndarray
    """(C, D), the class name alone."""
    blank: np.ndarray
    """(D,), the void class of the as-shipped option."""
    canonical: np.ndarray | None = None
    """(P, D), LERF's canonical phrases; where none can be encoded the void class stands in."""

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of a `features` store."""
        return {
            "text_ensemble": self.ensemble,
            "text_bare": self.bare,
            "text_blank": self.blank,
            "text_canonical": self.blank[None] if self.canonical is None else self.canonical,
        }


def text_banks(classes: Sequence[str], encode: Callable[[list[str]], Tensor]) -> TextBanks:
    """Both text banks of a class list, and the canonical phrases.

    Args:
        classes: C class names, without void.
        encode: prompts -> (p, D) text embeddings of any length.
    """

    def bank(kind: Bank) -> np.ndarray:
        rows = [unit_mean(encode(prompts(name, kind))) for name in classes]
        return np.stack([row.float().cpu().numpy() for row in rows])

    blank = unit_mean(encode([BLANK])).float().cpu().numpy()
    phrases = [unit_mean(encode([phrase])).float().cpu().numpy() for phrase in CANONICAL]
    return TextBanks(bank("ensemble"), bank("bare"), blank, np.stack(phrases))


def unit_mean(embedding: Tensor) -> Tensor:
    """Normalise each row of (p, D), average, normalise: (D,) (docs/method.md#text-banks)."""
    return normalize(normalize(embedding, dim=-1).mean(0), dim=-1)


def text_bank(clip: Store, bank: Bank, blank_prompt: bool, device: torch.device) -> Tensor:
    """Unit text vectors (C, D) of a `features` store; with a blank prompt its vector comes last."""
    rows = [read(clip, f"text_{bank}")]
    if blank_prompt:
        rows.append(read(clip, "text_blank")[None])
    return torch.from_numpy(np.concatenate(rows)).to(device)
