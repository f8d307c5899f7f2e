"""Whether the database answers the worker."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from ..forks import forks
from ..spool.journal import journal


class Heartbeat:
    """Since when the database has owed an answer; read by the thread that mails while it is away."""

    def __init__(self) -> None:
        self._owed_since: float | None = None
        # It is there, and has no connection for us.
        self.is_crowded = False

    def expect(self) -> None:
        """The database is asked for something; if it was before and has not answered, it owes that first."""
        if self._owed_since is None:
            self.beat()

    def beat(self) -> None:
        """It has answered, and is asked for more."""
        self._owed_since = time.monotonic()

    def rest(self) -> None:
        """It owes nothing."""
        self._owed_since = None
        self.is_crowded = False

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        """While somebody else is waited for, a mail server or a broker, the database owes nothing."""
        was_asked = self.is_owed()
        self.rest()
        forks.pause()
        try:
            yield
        finally:
            if was_asked:
                self.beat()

    def is_owed(self) -> bool:
        """Whether the database has been asked and has not answered."""
        return self._owed_since is not None

    def silent_seconds(self) -> float:
        """How long the database has owed an answer; an import that gets on is one."""
        since = self._owed_since
        return 0.0 if since is None else time.monotonic() - max(since, journal.progress_at)
