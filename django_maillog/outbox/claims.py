"""Who delivers a batch: claims with a lease and a token, and how a try ends."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import router
from django.db.models import Case, F, Value, When

from ..intake import rows
from ..models import CLOCK_SKEW, Attempt, Batch, BatchQuerySet, Outcome, Status
from ..transactions import retrying, writing
from .connection import Verdict

LEASE = timedelta(minutes=10)
# Of batches that are claimed together, to go out within a second or two: if their sender dies, the rest need
# not wait for long.
PAGE_LEASE = timedelta(minutes=1)
FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=1)


class Try(NamedTuple):
    """How an attempt to deliver a claimed batch ended, and when."""

    batch: Batch
    verdict: Verdict
    at: datetime

    @property
    def outcome(self) -> Outcome:
        if self.verdict.sent:
            return Outcome.SENT
        expired = self.batch.give_up_at is not None and self.at > self.batch.give_up_at
        return Outcome.RETRY if self.verdict.retry and not expired else Outcome.FAILED


def claim(keys: Sequence[int], now: datetime) -> list[Batch]:
    """Take sealed batches for delivery, but for those that somebody else was faster with.

    The claim runs out: of one batch after LEASE, of several after PAGE_LEASE.
    """
    alias = _alias()
    asked = Batch.objects.using(alias).filter(pk__in=keys)
    token = uuid.uuid4().hex
    changes = {
        # Whoever had it before may have handed it over before it was killed. Before status, for MySQL's sake.
        "reached": Case(When(status=Status.SENDING, then=Value(True)), default=F("reached")),
        "status": Status.SENDING,
        "claimed_until": now + (LEASE if len(keys) == 1 else PAGE_LEASE),
        "claimed_by": token,
        "attempts": F("attempts") + 1,
    }
    # Others may want some of the same rows, in another order.
    taken = retrying(lambda: asked.deliverable(now).update(**changes), alias)
    return list(asked.filter(claimed_by=token).order_by("pk")) if taken else []


def keep(batches: Sequence[Batch], now: datetime) -> None:
    """Let the claim on those that are still to be settled last as long as a slow mail server may need."""
    _mine(batches).update(claimed_until=now + LEASE)


def release(batches: Sequence[Batch]) -> None:
    """Give back the claim on batches that were not tried, as if they had never been claimed."""
    _mine(batches).update(status=Status.READY, claimed_until=None, claimed_by="", attempts=F("attempts") - 1)


def settle(tries: Sequence[Try]) -> None:
    """Write down how tries to deliver batches of one claim ended, with what was sent.

    Who took over a claim that ran out decides how the batch stands; the attempt is noted all the same.
    """
    alias = _alias()
    with writing(alias):
        mine = _mine([each.batch for each in tries]).order_by("pk").select_for_update()
        held = set(mine.values_list("pk", flat=True))
        rows.update(alias, Batch, [_changes(each) for each in tries if each.batch.pk in held])
        rows.insert(alias, Attempt, [_attempt(each) for each in tries])


def mend_times(now: datetime) -> None:
    """After the clock was set back: what waits for a time that no rule asks for waits no longer."""
    batches = Batch.objects.using(_alias())
    ready = batches.filter(status=Status.READY, next_attempt_at__gt=now + 2 * LONGEST_RETRY)
    # Its sender may be at work still, so it gets a whole lease.
    claimed = batches.filter(status=Status.SENDING, claimed_until__gt=now + LEASE + CLOCK_SKEW)
    # Asked first: on SQLite an update waits for the lock, even if it changes nothing.
    if ready.exists():
        ready.update(next_attempt_at=now)
    if claimed.exists():
        claimed.update(claimed_until=now + LEASE)


def _mine(batches: Sequence[Batch]) -> BatchQuerySet:
    """The rows of batches that were claimed together, while the claim is ours."""
    return Batch.objects.using(_alias()).filter(
        pk__in=[batch.pk for batch in batches], status=Status.SENDING, claimed_by=batches[0].claimed_by
    )


def _changes(tried: Try) -> rows.Row:
    """What a try changes in its batch's row; the same columns, however it ended."""
    batch, verdict, outcome = tried.batch, tried.verdict, tried.outcome
    status = {Outcome.SENT: Status.SENT, Outcome.FAILED: Status.FAILED, Outcome.RETRY: Status.READY}[outcome]
    again = tried.at + _back_off(batch.attempts) if outcome is Outcome.RETRY else None
    return {
        "status": status,
        "claimed_until": None,
        "claimed_by": "",
        "last_error": verdict.error,
        "reached": batch.reached or verdict.reached,
        "subject": batch.subject,
        "text": batch.text,
        "html": batch.html,
        "next_attempt_at": again,
        "sent_at": tried.at if outcome is Outcome.SENT else batch.sent_at,
        "id": batch.pk,
    }


def _attempt(tried: Try) -> rows.Row:
    return {
        "batch_id": tried.batch.pk,
        "tried_at": tried.at,
        "outcome": tried.outcome,
        "error": tried.verdict.error,
    }


def _back_off(attempts: int) -> timedelta:
    """One minute, doubling to an hour, give or take a tenth so that processes spread."""
    delay: timedelta = min(FIRST_RETRY * 2 ** min(attempts - 1, 10), LONGEST_RETRY)
    return delay * random.uniform(0.9, 1.1)


def _alias() -> str:
    return router.db_for_write(Batch)
