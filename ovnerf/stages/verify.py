"""Compare every array of finished stores with the sha256 that was noted when it was written.

    python -m ovnerf verify results/replica/room_0/*.zarr

Not a rule of the workflow. Opening a store already checks its attributes, its headers and each
chunk that is read; this also finds a chunk that was exchanged for another valid one.
"""

from __future__ import annotations

from pathlib import Path

from ovnerf.runtime.errors import UserError
from ovnerf.storage.stores import kind_of, open_store, verify


def run(stores: list[Path]) -> dict[str, object]:
    """Check stores, all of them before the first bad one is reported; returns how many are good.

    Args:
        stores: folders that stages wrote (`frames.zarr` and the like).

    Raises:
        UserError: one or more stores are damaged or are none; a line for each.
    """
    damaged = []
    for path in stores:
        try:
            store = open_store(path, kind_of(path))
            verify(store)
        except UserError as error:
            damaged.append(error)
        else:
            print(f"{path}: {len(store.attrs['content'])} arrays are as they were written")
    if damaged:
        hints = dict.fromkeys(error.hint for error in damaged if error.hint)
        raise UserError("\n".join(error.message for error in damaged), "\n        ".join(hints))
    return {"stores": len(stores)}
