"""A fork waits for what its child could not use: the locks that a thread held which the child does not have.

Modules have such locks while they are imported, and SQLite has some for a whole process: a child forked while
another thread was in SQLite hangs at its own first use of it (5 to 7 of 400, beside a worker that imports).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

# Whoever waits for the other does so for so long at the most.
WAIT_SECONDS = 1.0


class Forks:
    """Which threads no fork may interrupt, and whether a fork waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy: set[int] = set()  # threads
        self._waiting = 0  # forks

    @contextlib.contextmanager
    def put_off(self) -> Iterator[None]:
        """A fork by another thread comes before this or after it."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    @contextlib.contextmanager
    def welcome(self) -> Iterator[None]:
        """Within ``put_off``: somebody else is waited for, and a fork may come."""
        was_busy = threading.get_ident() in self._busy
        self._end()
        try:
            yield
        finally:
            if was_busy:
                self._begin()

    def _begin(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, WAIT_SECONDS)
            self._busy.add(threading.get_ident())

    def _end(self) -> None:
        with self._changed:
            self._busy.discard(threading.get_ident())
            self._changed.notify_all()

    def before(self) -> None:
        """A thread is about to fork."""
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: not self._busy - {threading.get_ident()}, WAIT_SECONDS)

    def after(self) -> None:
        """It has, and goes on in the parent."""
        with self._changed:
            self._waiting -= 1
            self._changed.notify_all()


forks = Forks()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=forks.before,
        after_in_parent=forks.after,
        after_in_child=forks.__init__,  # type: ignore[misc]
    )
