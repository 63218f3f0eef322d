"""Unit text vectors of a run's classes and of free phrases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import TypeAdapter
from torch import Tensor, nn

from ovnerf.asking.description import Description
from ovnerf.config.features import DenseClip, Encoder, LSeg, OpenClip, Simulated
from ovnerf.encoders.simulated import simulated_text
from ovnerf.encoders.text import TextBanks, text_banks
from ovnerf.encoders.windows import encoder_files
from ovnerf.runtime.errors import UserError
from ovnerf.storage.provenance import file_digest
from ovnerf.storage.stores import Store, read
from ovnerf.storage.weight_loading import find_file

Encode = Callable[[list[str]], Tensor]
"""Prompts -> raw text embeddings (p, D)."""


def class_text(description: Description, features: Store | None) -> TextBanks:
    """Text vectors of a run's classes: those of its features store, else made again.

    Raises:
        UserError: the store has other classes, or there is none and the encoder cannot make them.
    """
    if features is None:
        return made_again(description)
    if tuple(features.attrs["classes"]) != description.classes:
        raise UserError(
            f"{features.store_path}: its classes differ from those in {description.source}",
            "give the features store that the field was trained with",
        )
    # Stores of earlier versions have no canonical phrases, and no query needs them.
    banks = ("ensemble", "bare", "blank", "canonical")
    there = [bank for bank in banks if f"text_{bank}" in features]
    return TextBanks(**{bank: read(features, f"text_{bank}") for bank in there})


def made_again(description: Description) -> TextBanks:
    """Text vectors of the classes from the encoder that the field's file names."""
    encoder = encoder_settings(description)
    if isinstance(encoder, Simulated):
        return simulated_text(len(description.classes), encoder)
    return text_banks(description.classes, text_encoder(description))


def encoder_settings(description: Description) -> Encoder:
    """The settings of the run's encoder."""
    return TypeAdapter(Encoder).validate_python(description.encoder)


def has_text_encoder(description: Description) -> bool:
    """Whether the run's encoder can make vectors of any phrase."""
    return description.encoder["kind"] in ("openclip", "dense_clip", "lseg")


def text_encoder(description: Description) -> Encode:
    """The text half of the run's encoder.

    Raises:
        UserError: an encoder without one, or weights that are missing or not the run's.
    """
    encoder = encoder_settings(description)
    if isinstance(encoder, (OpenClip, DenseClip)):
        return openclip_text(description, encoder)
    if isinstance(encoder, LSeg):
        return lseg_text(description, encoder)
    raise UserError(
        f"{description.source}: its encoder `{encoder.kind}` has no text half, so only its class "
        f"names can be asked for: {', '.join(description.classes)}",
        "ask for one of them, or train with an `openclip`, `dense_clip` or `lseg` encoder",
    )


def openclip_text(description: Description, encoder: OpenClip | DenseClip) -> Encode:
    """The text half of an open_clip model."""
    from ovnerf.encoders.openclip import OpenClipEncoder

    files = encoder_files(encoder)
    for name, path in files.items():
        if name != "proxy":  # which has no part in text
            require_same(description, name, path)
    whole = OpenClipEncoder(files.get("model", encoder.model), files["weights"])
    whole.model.visual = nn.Identity()
    return whole.encode_text


def lseg_text(description: Description, encoder: LSeg) -> Encode:
    """The text half of LSeg."""
    from ovnerf.encoders.lseg import LSegEncoder

    weights = find_file(encoder.weights, "encoder.weights")
    require_same(description, "weights", weights)
    whole = LSegEncoder.load(weights)
    del whole.net.pretrained, whole.net.scratch
    return whole.encode_text


def require_same(description: Description, name: str, path: Path) -> None:
    """UserError when a file of the encoder is not the one that the run's features came from."""
    expected = description.encoder_files.get(name)
    found = file_digest(path)
    if expected is not None and found != expected:
        raise UserError(
            f"{path}: not the {name} of {description.source}: found sha256 {found[:16]}, "
            f"expected {expected[:16]}",
            "put the old file back, or run the workflow again with this one",
        )
