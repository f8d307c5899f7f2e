"""What the worker keeps an eye on: the database's answers, and the spool."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from ..spool import sources
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


class SpoolWatch:
    """What the worker has seen of the spool, and whether there is more."""

    def __init__(self) -> None:
        # As if there were something, so that a new worker looks once.
        self._appended = -1
        self._orphans: set[Path] = set()

    def note_records(self) -> None:
        """What this process has appended up to now is about to be imported."""
        self._appended = journal.appended

    def has_come(self) -> bool:
        """Whether this process has appended anything since."""
        return journal.appended != self._appended

    def note_orphans(self, before: set[Path]) -> None:
        """Of the segments without an owner these were there before the import: what is left stays so."""
        self._orphans = before & sources.orphans()

    def has_orphans(self) -> bool:
        """Whether a process that ended has left something that the last import has not seen."""
        return bool(sources.orphans() - self._orphans)
