"""Points in time as the project's database takes them.

They are aware; with ``USE_TZ = False`` they are naive, in ``TIME_ZONE``, and ``timezone.now()`` is so, too.
"""

from __future__ import annotations

from datetime import UTC, datetime

from django.conf import settings
from django.utils import timezone

HOUR = 3600  # seconds


def at(seconds: float) -> datetime:
    """The moment so many seconds after the beginning of 1970 in UTC."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment if settings.USE_TZ else timezone.make_naive(moment, timezone.get_default_timezone())


def to_timestamp(moment: datetime) -> float:
    """Seconds since the beginning of 1970 in UTC."""
    if timezone.is_naive(moment):
        moment = moment.replace(tzinfo=timezone.get_default_timezone())
    return moment.timestamp()


def local(moment: datetime) -> datetime:
    """The moment for people to read: in the time zone that is active for them, if there may be several."""
    return moment if timezone.is_naive(moment) else timezone.localtime(moment)


def hour_of(moment: datetime) -> int:
    """The hour that it is in, counted from the beginning of 1970 in UTC."""
    return int(to_timestamp(moment) // HOUR)
