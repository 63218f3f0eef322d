"""Numbers that are neither NaN nor infinite: what every weight, feature, loss and result must be.

One NaN spreads in silence: an argmax over NaN is class 0, a sample of NaN density counts as empty
space, and the run ends well with a wrong result. So whatever is loaded, stored or learned is looked
at here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ovnerf.runtime.errors import UserError

if TYPE_CHECKING:  # stores are written by stages that do without torch
    from torch import Tensor

LARGEST_BINARY16 = 65504
"""Larger numbers become infinite in binary16, the type in which features are stored."""


def require_finite(where: str, named: Mapping[str, Tensor | NDArray], hint: str) -> None:
    """UserError for the first array or tensor that holds NaN or infinite numbers.

    Args:
        where: the file or setting that they come from, for the message.
        named: arrays or tensors by name; those of whole numbers are fine as they are.
        hint: what to do.
    """
    for name, values in named.items():
        if bad := not_finite(values):
            size = int(np.prod(values.shape))
            raise UserError(
                f"{where}: {name}: found {bad} of {size} numbers that are NaN or infinite, "
                "expected finite numbers",
                hint,
            )


def not_finite(values: Tensor | NDArray) -> int:
    """How many numbers are NaN or infinite; 0 for types that cannot hold such."""
    if isinstance(values, np.ndarray):
        return int((~np.isfinite(values)).sum()) if values.dtype.kind in "fc" else 0
    if not (values.is_floating_point() or values.is_complex()):
        return 0
    return int((~values.isfinite()).sum())


def binary16(values: NDArray, where: str, name: str, hint: str) -> NDArray[np.float16]:
    """Values as binary16; UserError when one is not finite, before or after."""
    require_finite(where, {name: values}, hint)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if bad := not_finite(half):
        raise UserError(
            f"{where}: {name}: found {bad} of {half.size} numbers beyond {LARGEST_BINARY16}, the "
            "largest that the store's 16-bit numbers hold",
            hint,
        )
    return half
