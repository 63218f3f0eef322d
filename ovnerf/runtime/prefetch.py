"""Reading ahead: the next items are made in a thread while this one is worked on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")
WAIT_SECONDS = 0.1


def prefetch(items: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """The items in their order, at most `depth` of them made before they are asked for.

    An exception of `items` is raised where its item would have come. The thread ends with the
    iterator, also when that is given up early.
    """
    made: queue.Queue[tuple[Any, BaseException | None] | None] = queue.Queue(depth)
    given_up = threading.Event()

    def offer(entry: tuple[Any, BaseException | None] | None) -> bool:
        while not given_up.is_set():
            try:
                made.put(entry, timeout=WAIT_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not offer((item, None)):
                    return
        except BaseException as error:
            offer((None, error))
        else:
            offer(None)

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while (entry := made.get()) is not None:
            item, error = entry
            if error is not None:
                raise error
            yield item
    finally:
        given_up.set()
        thread.join()
