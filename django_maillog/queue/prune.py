"""Delete what is old: sent and cancelled batches with their records, groups without any, finished segments."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import router
from django.db.models import Exists, OuterRef

from ..models import Attempt, Batch, Group, Record, Segment, Tally

CHUNK = 2_000
SEGMENT_KEPT = timedelta(days=1)  # a finished segment's row outlives its file: a slow importer may still hold that


def prune(before: datetime, now: datetime, *, progress: Callable[[int], object] = lambda rows: None) -> int:
    """Delete what ended before a time, in short transactions; the number of rows.

    Failed batches stay until somebody acts. ``progress`` is called with the number of rows after each chunk.
    """
    alias = router.db_for_write(Batch)
    deleted = 0
    batches = Batch.objects.using(alias).finished_before(before)
    while ids := list(batches.order_by("pk").values_list("pk", flat=True)[:1]):
        while keys := list(Record.objects.using(alias).filter(batch=ids[0]).values_list("pk", flat=True)[:CHUNK]):
            deleted += _delete(Record, alias, keys, progress)
        Attempt.objects.using(alias).filter(batch__in=ids).delete()
        deleted += _delete(Batch, alias, ids, progress)
    tallies = Tally.objects.using(alias).filter(hour_at__lt=before)
    while keys := list(tallies.values_list("pk", flat=True)[:CHUNK]):
        deleted += _delete(Tally, alias, keys, progress)
    unused = Group.objects.using(alias).filter(
        ~Exists(Record.objects.using(alias).filter(group=OuterRef("pk"))), last_seen_at__lt=before, silenced_at=None
    )
    while keys := list(unused.values_list("pk", flat=True)[:CHUNK]):
        deleted += _delete(Group, alias, keys, progress)
    finished = Segment.objects.using(alias).filter(finished_at__lt=now - SEGMENT_KEPT)
    return deleted + finished.delete()[0]


def _delete(model: type, alias: str, keys: list[int], progress: Callable[[int], object]) -> int:
    rows = model._default_manager.using(alias).filter(pk__in=keys)  # type: ignore[attr-defined]
    number = rows.delete()[0]
    progress(number)
    return number
