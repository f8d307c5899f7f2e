"""What a person says of groups: be silent about them, or they are repaired."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from .models import Group
from .outbox.groups import update_groups


def silence(groups: Iterable[Group], *, until: datetime | None, by: str, note: str, now: datetime) -> int:
    """Count these groups from now on without mailing them, until a time, or for ever (None)."""
    return update_groups(
        _keys(groups), silenced_at=now, silenced_until=until, silenced_by=by[:150], silence_note=note[:255]
    )


def end_silence(groups: Iterable[Group]) -> int:
    """Mail these groups again."""
    return update_groups(
        _keys(groups), silenced_at=None, silenced_until=None, silenced_by="", silence_note=""
    )


def resolve(groups: Iterable[Group], now: datetime) -> int:
    """Mark these groups as repaired: their next record counts as a regression."""
    return update_groups(_keys(groups), resolved_at=now)


def _keys(groups: Iterable[Group]) -> list[int]:
    return [group.pk for group in groups]
