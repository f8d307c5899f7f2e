"""An outage of the mail server ends in one mail: what never reached it becomes one batch."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import router, transaction
from django.db.models import Max, Min, Sum

from ..models import Attempt, Batch, Record, Status
from ..transactions import Lost
from .claims import LEASE
from .groups import repoint

CHUNK = 500  # records moved in a transaction


def merge_waiting(buffer: str, now: datetime) -> int:
    """Make one batch of all that never reached the mail server; how many it took in.

    They are claimed meanwhile. Records move with their counts, a chunk a transaction: whenever it is broken
    off, every batch is whole, and is delivered when the claim has run out.
    """
    alias = router.db_for_write(Batch)
    waiting = Batch.objects.using(alias).waiting().filter(buffer=buffer)
    if not waiting.filter(attempts__gt=0).exists() or waiting.count() < 2:
        return 0
    token = uuid.uuid4().hex
    # To be rendered anew, since it will hold more.
    waiting.update(
        status=Status.SENDING, claimed_until=now + LEASE, claimed_by=token, subject="", text="", html=""
    )
    mine = Batch.objects.using(alias).filter(claimed_by=token)
    kept, *others = mine.order_by("pk").values_list("pk", flat=True) or [0]
    try:
        for other in others:
            _move(alias, token, other, kept)
    except Lost:  # the claim ran out: somebody else delivers what there is
        return 0
    mine.update(status=Status.READY, claimed_until=None, claimed_by="", next_attempt_at=now)
    return len(others)


def _move(alias: str, token: str, source: int, target: int) -> None:
    """Move everything of one batch to another, then delete it."""
    records = Record.objects.using(alias).filter(batch=source).order_by("pk")
    while keys := list(records.values_list("pk", flat=True)[:CHUNK]):
        with transaction.atomic(using=alias):
            old, new = _both(alias, token, source, target)
            moved = Record.objects.using(alias).filter(pk__in=keys)
            sums = moved.aggregate(
                count=Sum("count"), level=Max("level"), first_at=Min("first_at"), last_at=Max("last_at")
            )
            silenced = moved.filter(silenced=True).aggregate(count=Sum("count"))["count"] or 0
            moved.update(batch=target)
            old.record_count -= sums["count"]
            new.record_count += sums["count"]
            old.silenced_count -= silenced
            new.silenced_count += silenced
            new.level = max(new.level, sums["level"])
            new.first_at = min(new.first_at or sums["first_at"], sums["first_at"])
            new.last_at = max(new.last_at or sums["last_at"], sums["last_at"])
            old.save(using=alias)
            new.save(using=alias)
    with transaction.atomic(using=alias):
        old, new = _both(alias, token, source, target)
        new.record_count += old.record_count  # what was only counted has no rows
        new.lost_count += old.lost_count
        shown = Record.objects.using(alias).filter(batch=new, silenced=False)
        new.group_count = shown.values("group").distinct().count()
        new.save(using=alias)
        Attempt.objects.using(alias).filter(batch=old).update(batch=new)
        old.record_count = old.lost_count = 0
        old.status = Status.CANCELLED
        old.save(using=alias)
    repoint(old, new)
    old.delete(using=alias)


def _both(alias: str, token: str, *keys: int) -> list[Batch]:
    """Both batches, as long as the claim holds; a write first, which SQLite's lock needs."""
    rows = Batch.objects.using(alias).filter(pk__in=keys, claimed_by=token, status=Status.SENDING)
    rows.update(claimed_by=token)
    found = {batch.pk: batch for batch in rows.order_by("pk").select_for_update()}
    if len(found) < len(keys):
        raise Lost
    return [found[key] for key in keys]
