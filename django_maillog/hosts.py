"""Which hosts import, and when each did last; one that is silent may be down, or have lost its worker."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from . import charset
from .models import Host, Segment
from .spool.segment import HOST
from .transactions import write_alias

# Between two notes that this process makes of its host.
NOTE_SECONDS = 60.0

# When this process has noted it last, by database (monotonic).
_noted_at: dict[str, float] = {}


def note_import(now: datetime) -> None:
    """Note that this host has imported, at most once a minute; ``now`` is the database's time."""
    alias = write_alias()
    if time.monotonic() - _noted_at.get(alias, -NOTE_SECONDS) < NOTE_SECONDS:
        return
    facts = charset.storable_row(Host, {"name": HOST})
    hosts = Host.objects.filter(**facts)
    # Asked first: of several processes one writes, and on SQLite an update waits for the lock.
    is_noted = hosts.filter(imported_at__gt=now - timedelta(seconds=NOTE_SECONDS)).exists()
    if not is_noted and not hosts.update(imported_at=now):
        Host.objects.bulk_create([Host(**facts, imported_at=now)], ignore_conflicts=True)
    _noted_at[alias] = time.monotonic()


def forget(name: str) -> bool:
    """Delete a host that is no more, and the rows of its segments; False if there is none of this name."""
    Segment.objects.filter(**charset.storable_row(Segment, {"host": name})).delete()
    return bool(Host.objects.filter(**charset.storable_row(Host, {"name": name})).delete()[0])
