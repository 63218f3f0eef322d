"""Wishes of browser windows: of each window only the newest counts."""

from __future__ import annotations

from collections import OrderedDict
from threading import Condition
from typing import Generic, TypeVar

Wish = TypeVar("Wish")


class Desk(Generic[Wish]):
    """Takes wishes from any thread and hands them to one worker, a window at a time."""

    def __init__(self) -> None:
        """Nothing is wished."""
        self.waiting: OrderedDict[int, Wish] = OrderedDict()
        self.changed = Condition()
        self.closed = False

    def put(self, window: int, wish: Wish) -> None:
        """Replace what a window wishes; its place among the windows stays."""
        with self.changed:
            self.waiting[window] = wish
            self.changed.notify()

    def drop(self, window: int) -> None:
        """Forget a window that was closed."""
        with self.changed:
            self.waiting.pop(window, None)

    def close(self) -> None:
        """Let `take` return None from now on."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def take(self) -> tuple[int, Wish] | None:
        """The wish that waits longest; waits for one, and returns None when the desk is closed."""
        with self.changed:
            self.changed.wait_for(lambda: self.closed or bool(self.waiting))
            return None if self.closed else self.waiting.popitem(last=False)

    def outdated(self, window: int) -> bool:
        """Whether the window has wished something newer, or work should end."""
        with self.changed:
            return self.closed or window in self.waiting
