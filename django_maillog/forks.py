"""A fork waits for what its child could not use: locks held by a thread of ours that the child does not have.

SQLite, OpenSSL, the resolver of names and Python's imports have locks for a whole process. A child that was
forked while another thread held one hangs where it needs it (5 to 7 of 400, beside a worker that imports).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

# Whoever waits for the other does so for so long at the most.
WAIT_SECONDS = 1.0


class Signals:
    """Keeps signals while the main thread waits to fork: Python drops what their handlers raise there."""

    def __init__(self) -> None:
        self._handlers: dict[int, Any] = {}
        self._came: list[int] = []

    def hold(self) -> None:
        """Note the signals that come from now on; only the main thread runs handlers."""
        if threading.current_thread() is threading.main_thread():
            found = {number: signal.getsignal(number) for number in signal.valid_signals()}
            self._handlers = {number: handler for number, handler in found.items() if callable(handler)}
            for number in self._handlers:
                signal.signal(number, lambda came, _frame: self._came.append(came))

    def put_back(self) -> None:
        """Set the handlers as they were."""
        if self._handlers and threading.current_thread() is threading.main_thread():
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            self._handlers = {}

    def let_go(self) -> None:
        """The same, and have what came sent again once this thread is back in the project's code."""
        self.put_back()
        if self._came:
            numbers, self._came = self._came, []
            threading.Thread(target=_send_again, args=[numbers], daemon=True).start()


def _send_again(numbers: list[int]) -> None:
    main = threading.main_thread().ident or 0
    while _is_here(sys._current_frames().get(main)):
        time.sleep(0.001)
    for number in numbers:
        signal.pthread_kill(main, number)


def _is_here(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename != __file__:
        frame = frame.f_back
    return frame is not None


class Forks:
    """The threads that a fork waits for, and those that wait to fork; each by its ident."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy: set[int] = set()
        # Those of the busy ones that get nowhere: they wait for a server, and hold none of these locks.
        self._stuck: set[int] = set()
        self._forking: set[int] = set()
        self._signals = Signals()

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
            if not self._busy - self._stuck - own:
                return
            self._signals.hold()
            if not self._changed.wait_for(lambda: not self._busy - self._stuck - own, WAIT_SECONDS):
                self._stuck |= self._busy

    def after(self) -> None:
        """It has, and goes on in the parent."""
        with self._changed:
            self._forking.discard(threading.get_ident())
            self._changed.notify_all()
        self._signals.let_go()

    def after_in_child(self) -> None:
        """This is the child: it has none of the threads, and no right to the lock's state."""
        self._signals.put_back()
        self.__init__()  # type: ignore[misc]


forks = Forks()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=forks.before,
        after_in_parent=forks.after,
        after_in_child=forks.after_in_child,
    )
