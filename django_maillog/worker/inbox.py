"""Where the worker's thread waits, and where other threads say what they want of it."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Inbox:
    """Requests, urgent records, the end of the process; ``idle`` while any record is to wake the worker."""

    def __init__(self) -> None:
        # A Condition's lock is re-entrant: a signal handler may log while it is held.
        self.changed = threading.Condition()
        self._requests: list[Callable[[], object]] = []
        self._urgent = False
        self.idle = False
        self.ending = False

    def wake(self, *, urgent: bool) -> None:
        """A record has come that the worker must not sleep through."""
        with self.changed:
            self._urgent = self._urgent or urgent
            self.idle = False
            self.changed.notify_all()

    def put(self, work: Callable[[], object]) -> threading.Event:
        """Something that the worker is to do; the event is set when it has tried."""
        done = threading.Event()

        def request() -> None:
            try:
                work()
            finally:
                done.set()

        with self.changed:
            self._requests.append(request)
            self.changed.notify_all()
        return done

    def end(self) -> None:
        """The process ends: only what is asked for is still done."""
        with self.changed:
            self.ending = True
            self.changed.notify_all()

    def is_called(self) -> bool:
        """Whether there is something to do at once: while the process ends, only what is asked for."""
        return bool(self._requests) or (self._urgent and not self.ending)

    def wait(self, seconds: float, has_come: Callable[[], bool] | None = None) -> None:
        """Wait until called, or so long; with ``has_come``, until any record comes, too."""
        with self.changed:
            if self.ending:
                self.changed.wait_for(self.is_called)
                return
            # Set before ``has_come`` is asked: who appends a record asks for it afterwards.
            self.idle = has_come is not None
            self.changed.wait_for(
                lambda: self.is_called() or self.ending or (has_come is not None and has_come()), seconds
            )
            self.idle = False

    def take(self) -> list[Callable[[], object]]:
        """What is to be done now."""
        with self.changed:
            self._urgent = False
            requests, self._requests = self._requests, []
            return requests

    def wait_beside(self, seconds: float, has_to_watch: Callable[[], bool]) -> None:
        """For who watches the worker: wait so long, and on while it is idle."""
        with self.changed:
            self.changed.wait_for(lambda: self.ending, seconds)
            self.changed.wait_for(lambda: not self.idle or self.ending or has_to_watch())
