"""Who delivers a batch: claims with a lease and a token, and how an attempt ends."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import Error, transaction
from django.db.models import Q

from ..charset import storable, storable_row
from ..models import CLOCK_SKEW, Attempt, Batch, BatchQuerySet, Outcome, Status
from ..transactions import is_full, is_refused, is_too_large, retrying, write_alias
from .connection import TIMEOUT_SECONDS
from .targets import target_of
from .verdicts import Verdict

# For a mailer without a time-out of its own.
LEASE = timedelta(minutes=10)
# What a mail may wait for in turn, beside an answer for each recipient: two addresses, the greeting, EHLO,
# STARTTLS, EHLO, AUTH (two), MAIL, DATA, the text; some again with less of it, and the end.
ANSWERS = 20
# What isn't the mail server's time: rendering, and recording the outcome.
OVERHEAD = timedelta(minutes=2)
LONGEST_LEASE = timedelta(hours=2)
FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=1)
ERROR_LIMIT = 2_000  # characters of what a server said that are kept


def lease_of(batch: Batch) -> timedelta:
    """How long a claim holds: longer than the time-outs of the batch's mailer can add up to."""
    try:
        timeout = vars(target_of(batch).get_connection()).get("timeout", 0)
    except Exception:  # a wrong target: the delivery says so, soon
        return LEASE
    seconds = TIMEOUT_SECONDS if timeout is None else timeout
    if not isinstance(seconds, (int, float)) or not seconds > 0:
        return LEASE
    # Whatever number a setting says: more than this no lease takes.
    seconds = min(seconds, LONGEST_LEASE.total_seconds())
    answers = timedelta(seconds=seconds * (ANSWERS + len(batch.recipients)))
    return min(answers + OVERHEAD, LONGEST_LEASE)


def claim(batch: Batch, now: datetime, *, token: str) -> Attempt | None:
    """Take a sealed batch, as it was read, for delivery; None if somebody else was faster.

    The attempt and the time of the next one are written here: whatever fails afterwards, this process
    included, the same mail comes no sooner, and nothing that the outcome needs has to be made room for.
    ``token`` says who holds the claim (see ``claim_lock``).
    """
    attempt = Attempt(batch=batch, tried_at=now, outcome=Outcome.UNKNOWN)
    changes = {
        "status": Status.SENDING,
        "claimed_until": now + lease_of(batch),
        "claimed_by": token,
        "attempts": batch.attempts + 1,
        "next_attempt_at": now + _back_off(batch.attempts + 1),
        # Whoever had it before may have handed it over before it was killed.
        "handed_over": batch.handed_over or batch.status == Status.SENDING,
    }
    as_read = {"status": batch.status, "attempts": batch.attempts, "claimed_by": batch.claimed_by}

    def take(*, noted: bool = True) -> int:
        with transaction.atomic(using=write_alias()):
            rows = Batch.objects.deliverable(now).filter(pk=batch.pk, **as_read)
            taken: int = rows.update(**changes)
            if taken and noted:
                attempt.save(using=write_alias())
            return taken

    try:
        taken = retrying(take, write_alias())
    except Error as error:
        if not is_full(error):
            raise
        attempt.pk = None
        taken = take(noted=False)  # a database without room for the attempt must not keep the mail
    if not taken:
        return None
    for name, value in changes.items():
        setattr(batch, name, value)
    return attempt


def store(batch: Batch) -> bool:
    """Keep what was rendered, for every retry; False if the database refuses it."""
    names = ("subject", "text", "html", "headers")
    changes = storable_row(Batch, {name: getattr(batch, name) for name in names})
    for name, value in changes.items():
        setattr(batch, name, value)
    size = sum(len(str(value).encode()) for value in changes.values())
    return _attempt_to_store(lambda: _mine(batch).update(**changes), size=size)


def settle(batch: Batch, attempt: Attempt, verdict: Verdict, now: datetime) -> Outcome:
    """Record how an attempt ended: a status and a time, and where it can be stored what the server said.

    Only the process that holds the claim may record how the batch stands; the attempt is noted all the same.
    """
    outcome = outcome_of(batch, verdict, now)
    is_out = outcome in (Outcome.SENT, Outcome.UNCONFIRMED)
    batch.handed_over = batch.handed_over or verdict.handed_over
    changes: dict[str, object] = {
        "status": Status.SENT if is_out else Status.FAILED if outcome is Outcome.FAILED else Status.READY,
        "claimed_until": None,
        "claimed_by": "",
        "handed_over": batch.handed_over,
    }
    if outcome is not Outcome.RETRY:
        changes["next_attempt_at"] = None
    if is_out:
        changes["sent_at"] = now
    error = storable(write_alias(), verdict.error)[:ERROR_LIMIT]
    if not _attempt_to_store(lambda: _record(batch, attempt, outcome, changes, error)):
        with transaction.atomic(using=write_alias()):
            _record(batch, attempt, outcome, changes, "The mail server's words can't be stored.")
    return outcome


def mend_times(now: datetime) -> None:
    """After the clock was set back: what waits for a time that no rule asks for waits no longer."""
    ready = Q(status=Status.READY, next_attempt_at__gt=now + 2 * LONGEST_RETRY)
    # Its sender may be at work still, so it gets a whole lease.
    claimed = Q(status=Status.SENDING, claimed_until__gt=now + LONGEST_LEASE + CLOCK_SKEW)
    # Asked first: on SQLite an update waits for the lock, even if it changes nothing.
    if Batch.objects.filter(ready | claimed).exists():
        Batch.objects.filter(ready).update(next_attempt_at=now)
        Batch.objects.filter(claimed).update(claimed_until=now + LEASE)


def _record(batch: Batch, attempt: Attempt, outcome: Outcome, changes: dict[str, object], error: str) -> None:
    _mine(batch).update(**changes, last_error=error)
    if attempt.pk is not None:
        Attempt.objects.filter(pk=attempt.pk).update(outcome=outcome, error=error)


def outcome_of(batch: Batch, verdict: Verdict, now: datetime) -> Outcome:
    """What a verdict means for a batch."""
    if verdict.sent:
        return Outcome.SENT if verdict.confirmed else Outcome.UNCONFIRMED
    expired = batch.give_up_at is not None and now > batch.give_up_at
    return Outcome.RETRY if verdict.retry and not expired else Outcome.FAILED


def _mine(batch: Batch) -> BatchQuerySet:
    """The batch's row, while the claim is ours."""
    rows: BatchQuerySet = Batch.objects.filter(
        pk=batch.pk, status=Status.SENDING, claimed_by=batch.claimed_by
    )
    return rows


def _attempt_to_store(write: Callable[[], object], *, size: int = 0) -> bool:
    """Write it; False if the database will never take it (its values, or any more of anything)."""
    try:
        with transaction.atomic(using=write_alias()):
            write()
    except (Error, ValueError) as error:
        too_large = is_too_large(error, write_alias(), size)
        if not (too_large or is_refused(error) or is_full(error)):
            raise
        return False
    return True


def _back_off(attempts: int) -> timedelta:
    """One minute, doubling to an hour, give or take a tenth so that processes spread."""
    delay: timedelta = min(FIRST_RETRY * 2 ** min(attempts - 1, 10), LONGEST_RETRY)
    return delay * random.uniform(0.9, 1.1)
