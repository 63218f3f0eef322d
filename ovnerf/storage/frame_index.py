"""How frames are counted: `frame` in a scene, `slot` in a store that holds some of them."""

from __future__ import annotations

from collections.abc import Iterable

from ovnerf.storage.stores import Store


class FrameIndex:
    """Which frames of a scene a store holds, and at which place of its arrays each of them lies.

    A `frame` is an index along the arrays of the scene's `frames` store. Other stores may hold some
    of these frames only; a `slot` is an index along the arrays of such a store. Both are ints >= 0.

    Attributes:
        frames: the frame of each slot, in the order of the store.
    """

    def __init__(self, store: Store) -> None:
        """Read the attribute `frames` of an open store."""
        self.frames: list[int] = [int(frame) for frame in store.attrs["frames"]]
        self._slots = {frame: slot for slot, frame in enumerate(self.frames)}

    def __len__(self) -> int:
        return len(self.frames)

    def __contains__(self, frame: int) -> bool:
        return frame in self._slots

    def slot(self, frame: int) -> int:
        """Where a frame lies in the store; KeyError when the store does not hold it."""
        return self._slots[frame]

    def slots(self, frames: Iterable[int]) -> list[int]:
        """`slot` of each of these frames."""
        return [self._slots[frame] for frame in frames]

    def missing(self, frames: Iterable[int]) -> list[int]:
        """Those of these frames that the store does not hold, ascending."""
        return sorted(set(frames) - self._slots.keys())
