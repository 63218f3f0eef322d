"""Opening a store that must have been made with the settings at hand."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from ovnerf.runtime.errors import UserError
from ovnerf.storage.provenance import file_digest
from ovnerf.storage.stores import MADE_BY, Store, open_store, path_of


def open_made_with(path: Path, kind: str, settings: BaseModel) -> Store:
    """The store of this kind at `path`, whose attribute `settings` must equal `settings`.

    Raises:
        UserError: as `open_store`, or the store was made with other settings; the message names
            the first setting that differs.
    """
    store = open_store(path, kind)
    expected = settings.model_dump(mode="json")
    found = store.attrs["settings"]
    different = [name for name in expected if found.get(name) != expected[name]]
    if different:
        name = different[0]
        raise UserError(
            f"{path}: made with {MADE_BY[kind]}.{name}: {found.get(name)!r}, "
            f"expected {expected[name]!r}",
            f"give the settings that it was made with, or rerun {MADE_BY[kind]}",
        )
    return store


def require_weights(store: Store, weights: Path) -> None:
    """UserError when a store says that it was made with another weight file than this one."""
    expected = store.attrs.get("weights")
    if expected is not None and file_digest(weights) != expected:
        raise UserError(
            f"{weights}: not the weights that {path_of(store)} was made with",
            "put the old file back, or run again: the store is then made anew",
        )
