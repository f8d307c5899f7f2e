"""Who delivers a batch: claims with a lease and a token, and how a try ends."""

from __future__ import annotations

import random
import uuid
from datetime import datetime, timedelta

from django.db import router, transaction
from django.db.models import Case, F, Value, When

from ..delivery import Verdict
from ..models import CLOCK_SKEW, Attempt, Batch, BatchQuerySet, Outcome, Status
from .groups import mark_mailed

LEASE = timedelta(minutes=10)
FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=1)


def claim(key: int, now: datetime) -> Batch | None:
    """Take a sealed batch for delivery; None if somebody else was faster. The claim runs out after LEASE."""
    rows = Batch.objects.using(_alias()).filter(pk=key)
    token = uuid.uuid4().hex
    taken = rows.deliverable(now).update(
        # Whoever had it before may have handed it over before it was killed. Before status, for MySQL's sake.
        reached=Case(When(status=Status.SENDING, then=Value(True)), default=F("reached")),
        status=Status.SENDING,
        claimed_until=now + LEASE,
        claimed_by=token,
        attempts=F("attempts") + 1,
    )
    return rows.get() if taken else None


def settle(batch: Batch, verdict: Verdict, now: datetime) -> Outcome:
    """Write down how the try to deliver a claimed batch ended, with what was sent.

    Who took over a claim that ran out decides how the batch stands; the attempt is noted all the same.
    """
    outcome = _outcome(batch, verdict, now)
    changes: dict[str, object] = {
        "claimed_until": None,
        "claimed_by": "",
        "last_error": verdict.error,
        "reached": batch.reached or verdict.reached,
        "subject": batch.subject,
        "text": batch.text,
        "html": batch.html,
        "next_attempt_at": None,
    }
    if outcome is Outcome.SENT:
        changes |= {"status": Status.SENT, "sent_at": now}
    elif outcome is Outcome.FAILED:
        changes |= {"status": Status.FAILED}
    else:
        changes |= {"status": Status.READY, "next_attempt_at": now + _back_off(batch.attempts)}
    alias = _alias()
    with transaction.atomic(using=alias):
        _mine(batch).update(**changes)
        Attempt.objects.using(alias).create(batch=batch, tried_at=now, outcome=outcome, error=verdict.error)
    if outcome is Outcome.SENT:
        mark_mailed(batch, now)
    for name, value in changes.items():
        setattr(batch, name, value)
    return outcome


def mend_times(now: datetime) -> None:
    """After the clock was set back: what waits for a time that no rule asks for waits no longer."""
    rows = Batch.objects.using(_alias())
    ready = rows.filter(status=Status.READY, next_attempt_at__gt=now + 2 * LONGEST_RETRY)
    ready.update(next_attempt_at=now)
    # Its sender may be at work still, so it gets a whole lease.
    claimed = rows.filter(status=Status.SENDING, claimed_until__gt=now + LEASE + CLOCK_SKEW)
    claimed.update(claimed_until=now + LEASE)


def _mine(batch: Batch) -> BatchQuerySet:
    """The batch's row while its claim is ours."""
    return Batch.objects.using(_alias()).filter(
        pk=batch.pk, status=Status.SENDING, claimed_by=batch.claimed_by
    )


def _outcome(batch: Batch, verdict: Verdict, now: datetime) -> Outcome:
    if verdict.sent:
        return Outcome.SENT
    expired = batch.give_up_at is not None and now > batch.give_up_at
    return Outcome.RETRY if verdict.retry and not expired else Outcome.FAILED


def _back_off(attempts: int) -> timedelta:
    """One minute, doubling to an hour, give or take a tenth so that processes spread."""
    delay: timedelta = min(FIRST_RETRY * 2 ** min(attempts - 1, 10), LONGEST_RETRY)
    return delay * random.uniform(0.9, 1.1)


def _alias() -> str:
    return router.db_for_write(Batch)
