"""One clock for all hosts: the database's, since leases and due times of one host are read by others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import connections
from django.utils import timezone

from .transactions import write_alias

# What tells the time in UTC whatever the session's zone is, by vendor. SQLite's clock is the host's.
_QUESTIONS = {
    "postgresql": "SELECT clock_timestamp() AT TIME ZONE 'UTC'",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
}


class DatabaseClock:
    """What time it is, as ``timezone.now()`` says it, but by the database's clock.

    The database is asked at the first call, once; afterwards this host's clock is corrected. A flush has one
    of its own. Raises django.db.Error if the database can't be used.
    """

    def __init__(self) -> None:
        self._ahead: timedelta | None = None

    def __call__(self) -> datetime:
        if self._ahead is None:
            self._ahead = _ahead(write_alias())
        return timezone.now() + self._ahead


def database_now() -> datetime:
    """What time it is by the database's clock; asks it at each call."""
    return DatabaseClock()()


def _ahead(alias: str) -> timedelta:
    """By how much the database's clock is ahead of this host's; its answer is half a round trip old."""
    question = _QUESTIONS.get(connections[alias].vendor)
    if question is None:
        return timedelta()
    asked_at = datetime.now(UTC)
    with connections[alias].cursor() as cursor:
        cursor.execute(question)
        found: datetime = cursor.fetchone()[0]
    answered_at = datetime.now(UTC)
    return found.replace(tzinfo=UTC) - (asked_at + (answered_at - asked_at) / 2)
