"""Delete what is old: finished batches with their records, groups without any, finished segments."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import router
from django.db.models import Exists, OuterRef, Q, QuerySet

from . import conf
from .models import Attempt, Batch, BatchQuerySet, Group, Host, Record, Segment, Silence, Tally
from .outbox.options import never
from .transactions import step_aside, writing

LEAST_GAP = 0.02  # seconds in which others may write; at least as long as the deletion before
INTERVAL_SECONDS = 6 * 3600.0
CHUNK = 250  # rows a transaction deletes: it holds SQLite's write lock
FAILED_KEPT = timedelta(days=365)
# A finished segment's row outlives its file: a slow importer may still hold that.
SEGMENT_KEPT = timedelta(days=1)


def prune(
    before: datetime,
    now: datetime,
    *,
    progress: Callable[[int], object] = lambda rows: None,
    stop: Callable[[], bool] = never,
) -> int:
    """Delete what ended before a time, in short transactions; the number of rows.

    Failed batches stay until somebody acts, for a year at most. ``progress`` is called with the number of
    rows after each chunk, ``stop`` asked before it.
    """
    return _Prune(progress, stop).run(before, now)


def count(before: datetime, now: datetime) -> dict[str, int]:
    """What ``prune`` would delete: the number of rows by what they are, without those that are none."""
    alias = router.db_for_write(Batch)
    batches = Batch.objects.using(alias)
    old = _finished(batches, before, now)
    kept = Record.objects.using(alias).exclude(batch__in=old)
    records = Record.objects.using(alias).filter(batch__in=old)
    attempts = Attempt.objects.using(alias).filter(batch__in=old)
    numbers: Counter[str] = Counter()
    for rows in (old, records, attempts, *_old(before, now, alias, kept)):
        numbers[str(rows.model._meta.verbose_name_plural)] += rows.order_by().count()
    return {name: number for name, number in numbers.items() if number}


def _finished(batches: BatchQuerySet, before: datetime, now: datetime) -> BatchQuerySet:
    return batches.finished_before(before) | batches.failed_before(min(before, now - FAILED_KEPT))


def _old(before: datetime, now: datetime, alias: str, records: QuerySet[Record]) -> Iterator[QuerySet[Any]]:
    """Old rows beside those of finished batches; ``records``: those that stay."""
    # Left behind by an importer that was killed.
    yield Batch.objects.using(alias).open().filter(record_count=0, opened_at__lt=before)
    yield Tally.objects.using(alias).filter(hour_at__lt=before)
    groups = Group.objects.using(alias).filter(last_seen_at__lt=before, silenced_at=None)
    yield groups.filter(~Exists(records.filter(group=OuterRef("pk"))))
    yield Silence.objects.using(alias).filter(ends_at__lt=before)
    yield Host.objects.using(alias).filter(imported_at__lt=before)
    # Of hosts that are no more; of others, their files say how far they were imported.
    ended = Q(finished_at__lt=now - SEGMENT_KEPT) | Q(seen_at__lt=before)
    yield Segment.objects.using(alias).filter(ended)


class Pruner:
    """Prunes by MAILLOG_RETENTION_DAYS, four times a day."""

    def __init__(self) -> None:
        self._at = 0.0  # monotonic

    def prune_if_time(
        self,
        clock: Callable[[], datetime],
        *,
        progress: Callable[[int], object] = lambda rows: None,
        stop: Callable[[], bool] = never,
    ) -> None:
        """Prune, unless it was done lately."""
        if time.monotonic() >= self._at:
            self._at = time.monotonic() + INTERVAL_SECONDS
            now = clock()
            prune(now - timedelta(days=conf.retention_days()), now, progress=progress, stop=stop)


class _Prune:
    def __init__(self, progress: Callable[[int], object], stop: Callable[[], bool]) -> None:
        self._alias = router.db_for_write(Batch)
        self._progress = progress
        self._stop = stop
        self._deleted = 0

    def run(self, before: datetime, now: datetime) -> int:
        self._delete_batches(_finished(Batch.objects.using(self._alias), before, now))
        for rows in _old(before, now, self._alias, Record.objects.using(self._alias)):
            self._delete_all(rows)
        return self._deleted

    def _delete_batches(self, batches: BatchQuerySet) -> None:
        for batch in list(batches.order_by("opened_at").only("pk")):
            self._delete_all(Record.objects.using(self._alias).filter(batch=batch))
            self._delete_all(Attempt.objects.using(self._alias).filter(batch=batch))
            self._delete_all(batches.filter(pk=batch.pk))

    def _delete_all(self, rows: QuerySet[Any]) -> None:
        while not self._stop() and (keys := sorted(rows.order_by().values_list("pk", flat=True)[:CHUNK])):
            start = time.monotonic()
            with writing(self._alias):
                # Asked again of the locked rows: a group's records since then would go with it.
                locked = (
                    rows.filter(pk__in=keys).order_by("pk").select_for_update().values_list("pk", flat=True)
                )
                number = rows.model.objects.using(self._alias).filter(pk__in=list(locked)).delete()[0]
            self._deleted += number
            self._progress(number)
            step_aside(self._alias, max(LEAST_GAP, time.monotonic() - start))
