"""Turns for others: the thread that imports shares its interpreter with threads that log."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

SLICE = 0.0005  # seconds of work between two pauses
PAUSE = 20e-6  # seconds in which another thread can have the interpreter: it would wait 5 ms for a busy one

Item = TypeVar("Item")


def in_slices(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, with a pause whenever the work on them has taken long enough.

    No pauses where there is no other thread, as in ``flush_maillogs``.
    """
    if threading.active_count() == 1:
        yield from items
        return
    since = time.perf_counter()
    for item in items:
        yield item
        if time.perf_counter() - since > SLICE:
            time.sleep(PAUSE)
            since = time.perf_counter()
