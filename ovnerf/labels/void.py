"""The label of pixels without a class."""

from __future__ import annotations

VOID = 65535
"""Label of a pixel without a class, in every u16 label array."""
