"""What a person says: be silent about some groups, or for some time; or that groups are repaired."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from . import charset
from .intake.silenced import plain
from .models import Group, Silence
from .outbox.groups import update_groups
from .spool import silenced


def silence(groups: Iterable[Group], *, until: datetime | None, by: str, note: str, now: datetime) -> None:
    """Count these groups from now on without mailing them, until a time, or for ever (None)."""
    keys = [group.pk for group in groups]
    said = charset.storable_row(Group, {"silenced_by": by, "silence_note": note})
    update_groups(keys, silenced_at=now, silenced_until=until, **said)


def end_silence(groups: Iterable[Group]) -> None:
    """Mail these groups again."""
    keys = [group.pk for group in groups]
    update_groups(keys, silenced_at=None, silenced_until=None, silenced_by="", silence_note="")


def resolve(groups: Iterable[Group], now: datetime) -> None:
    """Mark these groups as repaired: their next record counts as a regression."""
    update_groups([group.pk for group in groups], resolved_at=now)


def declare(buffer: str, match: str, *, starts_at: datetime, ends_at: datetime, note: str) -> None:
    """Count what comes between two times in a buffer (``""``: in all) and matches, without mailing it."""
    facts = charset.storable_row(Silence, {"buffer": buffer, "match": match, "note": note})
    Silence.objects.create(**facts, starts_at=starts_at, ends_at=ends_at)
    publish(starts_at)


def end(buffer: str, match: str, now: datetime) -> bool:
    """End the silences that were declared so; False if none holds."""
    facts = charset.storable_row(Silence, {"buffer": buffer, "match": match})
    ended = Silence.objects.active(now).order_by().filter(**facts).update(ends_at=now)
    publish(now)
    return bool(ended)


def publish(now: datetime) -> None:
    """Have mails that this host sends without the database heed the silences that hold."""
    silences = [plain(each) for each in Silence.objects.active(now)]
    if silences != silenced.read():
        silenced.write(silences)
