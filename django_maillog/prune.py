"""Delete what is old: finished batches with their records, groups without any, finished segments."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Exists, OuterRef, Q, QuerySet

from . import conf
from .models import Attempt, Batch, BatchQuerySet, Group, Host, Record, Segment, Silence, Tally
from .outbox.options import never
from .transactions import step_aside, write_alias, writing

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
    deleted = 0
    finished = _finished(before, now)
    for batch in list(finished.order_by("opened_at").only("pk")):
        for rows in (Record.objects.filter(batch=batch), Attempt.objects.filter(batch=batch)):
            deleted += _delete(rows, progress, stop)
        deleted += _delete(finished.filter(pk=batch.pk), progress, stop)
    return deleted + sum(_delete(rows, progress, stop) for rows in _old(before, now, Record.objects.all()))


def count(before: datetime, now: datetime) -> dict[str, int]:
    """What ``prune`` would delete: the number of rows by what they are, without those that are none."""
    old = _finished(before, now)
    records, attempts = Record.objects.filter(batch__in=old), Attempt.objects.filter(batch__in=old)
    kept = Record.objects.exclude(batch__in=old)
    numbers: Counter[str] = Counter()
    for rows in (old, records, attempts, *_old(before, now, kept)):
        numbers[str(rows.model._meta.verbose_name_plural)] += rows.order_by().count()
    return {name: number for name, number in numbers.items() if number}


def _finished(before: datetime, now: datetime) -> BatchQuerySet:
    batches = Batch.objects.all()
    return batches.finished_before(before) | batches.failed_before(min(before, now - FAILED_KEPT))


def _old(before: datetime, now: datetime, records: QuerySet[Record]) -> Iterator[QuerySet[Any]]:
    """Old rows beside those of finished batches; ``records``: those that stay."""
    # Left behind by an importer that was killed.
    yield Batch.objects.open().filter(record_count=0, opened_at__lt=before)
    yield Tally.objects.filter(hour_at__lt=before)
    groups = Group.objects.filter(last_seen_at__lt=before, silenced_at=None)
    yield groups.filter(~Exists(records.filter(group=OuterRef("pk"))))
    yield Silence.objects.filter(ends_at__lt=before)
    yield Host.objects.filter(imported_at__lt=before)
    # Of hosts that are no more; of others, their files say how far they were imported.
    yield Segment.objects.filter(Q(finished_at__lt=now - SEGMENT_KEPT) | Q(seen_at__lt=before))


def _delete(rows: QuerySet[Any], progress: Callable[[int], object], stop: Callable[[], bool]) -> int:
    alias, deleted = write_alias(), 0
    while not stop() and (keys := sorted(rows.order_by().values_list("pk", flat=True)[:CHUNK])):
        start = time.monotonic()
        with writing(alias):
            # Asked again of the locked rows: a group's records since then would go with it.
            locked = rows.filter(pk__in=keys).order_by("pk").select_for_update().values_list("pk", flat=True)
            number = rows.model.objects.filter(pk__in=list(locked)).delete()[0]
        deleted += number
        progress(number)
        step_aside(alias, max(LEAST_GAP, time.monotonic() - start))
    return deleted


class Pruner:
    """Prunes by MAILLOG_RETENTION_DAYS, four times a day."""

    _at = 0.0  # monotonic

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
            # By a wrong setting, which a system check reports, nothing is deleted.
            with contextlib.suppress(ImproperlyConfigured):
                days = conf.retention_days()
                prune(now - timedelta(days=days), now, progress=progress, stop=stop)
