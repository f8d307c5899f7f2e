"""What may happen to groups: silenced, resolved, mailed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from django.db import router

from ..models import Batch, Group
from ..transactions import writing

PAGE = 500


def silence(groups: Iterable[Group], *, until: datetime | None, by: str, note: str, now: datetime) -> int:
    """Count these groups from now on without mailing them, until a time, or for ever (None)."""
    return _update(
        groups, silenced_at=now, silenced_until=until, silenced_by=by[:150], silence_note=note[:255]
    )


def end_silence(groups: Iterable[Group]) -> int:
    """Mail these groups again."""
    return _update(groups, silenced_at=None, silenced_until=None, silenced_by="", silence_note="")


def resolve(groups: Iterable[Group], now: datetime) -> int:
    """Mark these groups as repaired: their next record counts as a regression."""
    return _update(groups, resolved_at=now)


def mark_mailed(batches: Iterable[Batch], now: datetime) -> None:
    """Note in the batches' groups that their mail is out."""
    mailed = Group.objects.using(_alias()).filter(batch__in=[batch.pk for batch in batches])
    for keys in _pages(mailed.values_list("pk", flat=True)):
        _change(keys, notified_at=now)


def repoint(old: Batch, new: Batch) -> None:
    """Let the groups that point to one batch point to another."""
    for name in ("batch", "episode_batch"):
        for keys in _pages(Group.objects.using(_alias()).filter(**{name: old}).values_list("pk", flat=True)):
            _change(keys, **{name: new})


def _update(groups: Iterable[Group], **changes: object) -> int:
    return _change(sorted(group.pk for group in groups), **changes)


def _change(keys: list[int], **changes: object) -> int:
    alias = _alias()
    with writing(alias):
        rows = Group.objects.using(alias).filter(pk__in=keys)
        # In the order in which imports lock them, or one would wait for the other in a circle.
        list(rows.order_by("pk").select_for_update().values_list("pk"))
        return rows.update(**changes)


def _pages(keys: Iterable[int]) -> Iterator[list[int]]:
    ordered = sorted(keys)
    yield from (ordered[start : start + PAGE] for start in range(0, len(ordered), PAGE))


def _alias() -> str:
    return router.db_for_write(Batch)
