"""A fork waits for what its child could not use: locks held by a thread of ours that the child does not have.

SQLite, OpenSSL, the resolver of names and Python's imports have locks for a whole process. A child that was
forked while another thread held one hangs where it needs it (5 to 7 of 400, beside a worker that imports).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

# Whoever waits for the other does so for so long at the most.
WAIT_SECONDS = 1.0


class Forks:
    """The threads that a fork waits for, and those that wait to fork; each by its ident."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy: set[int] = set()
        # Those of the busy ones that get nowhere: they wait for a server, and hold none of these locks.
        self._stuck: set[int] = set()
        self._forking: set[int] = set()

    @contextlib.contextmanager
    def put_off(self) -> Iterator[None]:
        """A fork by another thread comes before this, at a ``pause``, or after it."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    def pause(self) -> None:
        """Let forks come, if this thread puts them off."""
        if threading.get_ident() in self._busy:
            self._end()
            self._begin()

    def _begin(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._forking, WAIT_SECONDS)
            self._busy.add(threading.get_ident())

    def _end(self) -> None:
        with self._changed:
            self._busy.discard(threading.get_ident())
            self._stuck.discard(threading.get_ident())
            self._changed.notify_all()

    def before(self) -> None:
        """This thread is about to fork."""
        own = {threading.get_ident()}
        with self._changed:
            self._forking |= own
            if not self._changed.wait_for(lambda: not self._busy - self._stuck - own, WAIT_SECONDS):
                self._stuck |= self._busy

    def after(self) -> None:
        """It has, and goes on in the parent."""
        with self._changed:
            self._forking.discard(threading.get_ident())
            self._changed.notify_all()


forks = Forks()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=forks.before,
        after_in_parent=forks.after,
        after_in_child=forks.__init__,  # type: ignore[misc]
    )
