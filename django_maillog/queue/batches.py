"""What may happen to a batch, and to a group, each as one conditional update: seal, claim, settle, cancel, silence."""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from email.utils import make_msgid

from django.core.mail.utils import DNS_NAME
from django.db import router, transaction
from django.db.models import F

from ..delivery import Verdict
from ..models import Attempt, Batch, Group, Outcome, Record, Status
from ..policy import Reason
from .targets import target_of

log = logging.getLogger("django_maillog")

LEASE = timedelta(minutes=10)
FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=1)
GIVE_UP_AFTER = timedelta(days=4)  # RFC 5321, 4.5.4.1: "generally needs to be at least 4-5 days"


def seal(batch: Batch, now: datetime, *, reason: Reason | None = None) -> bool:
    """Close an open batch for delivery; False if there was nothing to seal, or nobody to send it to.

    One row's update, whatever the batch holds. ``Message-ID`` is fixed here and is the same on each retry.
    """
    try:
        target = target_of(batch)
        recipients, sender = target.get_recipients(), target.get_sender()
    except Exception:  # a buffer whose target is wrong stays pending, and must not keep the others from going out
        log.exception("target unusable, batch stays open: buffer=%s", batch.buffer)
        return False
    if not recipients:
        return False
    changes = {
        "status": Status.READY,
        "open_for": None,
        "sealed_at": now,
        "next_attempt_at": now,
        "recipients": recipients,
        "sender": sender[:320],
        "using": (target.using or "")[:200],
        "message_id": make_msgid(f"maillog-{batch.pk}", domain_of(sender)),
    }
    if reason is not None:
        changes["reason"] = reason
    rows = Batch.objects.using(_alias()).open().filter(pk=batch.pk, record_count__gt=0)
    return bool(rows.update(**changes))


def domain_of(address: str) -> str:
    """The domain of an address, for Message-IDs; the host's name where it has none that fits."""
    domain = address.rpartition("@")[2].strip("> ")
    return domain if re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", domain) else str(DNS_NAME)


def claim(batch: Batch, now: datetime) -> bool:
    """Take a sealed batch for delivery; False if somebody else was faster. The claim runs out after LEASE."""
    rows = Batch.objects.using(_alias()).filter(
        pk=batch.pk, status=batch.status, claimed_until=batch.claimed_until, attempts=batch.attempts
    )
    changed = rows.update(status=Status.SENDING, claimed_until=now + LEASE, attempts=F("attempts") + 1)
    if not changed:
        return False
    batch.status, batch.claimed_until = Status.SENDING, now + LEASE
    batch.attempts += 1
    return True


def settle(batch: Batch, verdict: Verdict, now: datetime) -> Outcome:
    """Write down how the try to deliver a claimed batch ended, with what was sent."""
    outcome = _outcome(batch, verdict, now)
    changes: dict[str, object] = {
        "claimed_until": None,
        "last_error": verdict.error,
        "reached": batch.reached or verdict.reached,
        "subject": batch.subject,
        "text": batch.text,
        "html": batch.html,
    }
    if outcome is Outcome.SENT:
        changes |= {"status": Status.SENT, "sent_at": now, "next_attempt_at": None}
    elif outcome is Outcome.FAILED:
        changes |= {"status": Status.FAILED, "next_attempt_at": None}
    else:
        changes |= {"status": Status.READY, "next_attempt_at": now + _back_off(batch.attempts)}
    alias = _alias()
    with transaction.atomic(using=alias):
        mine = Batch.objects.using(alias).filter(
            pk=batch.pk, status=Status.SENDING, claimed_until=batch.claimed_until, attempts=batch.attempts
        )
        mine.update(**changes)  # none, if the lease ran out and somebody took over: the attempt is noted all the same
        Attempt.objects.using(alias).create(batch=batch, tried_at=now, outcome=outcome, error=verdict.error)
        if outcome is Outcome.SENT:
            Group.objects.using(alias).filter(batch=batch).update(notified_at=now)
    for name, value in changes.items():
        setattr(batch, name, value)
    return outcome


def retry(batch: Batch, now: datetime) -> bool:
    """Put a failed or waiting batch first in line; False if it is in no such state."""
    rows = Batch.objects.using(_alias()).filter(pk=batch.pk, status__in=[Status.READY, Status.FAILED])
    # The four days of retries begin anew: a person asked.
    return bool(rows.update(status=Status.READY, next_attempt_at=now, sealed_at=now))


def retry_waiting(buffer: str, now: datetime) -> int:
    """The mail server is back: batches of the buffer that never reached it need not wait any longer."""
    rows = Batch.objects.using(_alias()).filter(
        buffer=buffer, status=Status.READY, reached=False, attempts__gt=0, next_attempt_at__gt=now
    )
    return rows.update(next_attempt_at=now)


def cancel(batch: Batch) -> bool:
    """Never send a batch that has not gone out; False if it is being sent or is done."""
    rows = Batch.objects.using(_alias()).filter(pk=batch.pk, status__in=[Status.OPEN, Status.READY, Status.FAILED])
    return bool(rows.update(status=Status.CANCELLED, open_for=None, next_attempt_at=None, due_at=None))


def send_again(batch: Batch, now: datetime) -> Batch | None:
    """A copy of a finished batch, ready to be sent as a mail of its own; None if the batch isn't finished.

    The copy holds the mail but no records, so that every record stays in exactly one batch.
    """
    if batch.status not in (Status.SENT, Status.FAILED, Status.CANCELLED) or not batch.text:
        return None
    copy = Batch(
        buffer=batch.buffer,
        status=Status.READY,
        opened_at=now,
        sealed_at=now,
        next_attempt_at=now,
        reason=Reason.FLUSH,
        level=batch.level,
        first_at=batch.first_at,
        last_at=batch.last_at,
        recipients=batch.recipients,
        sender=batch.sender,
        using=batch.using,
        subject=batch.subject,
        text=batch.text,
        html=batch.html,
        message_id=make_msgid("maillog-again", domain_of(batch.sender)),
    )
    copy.save(using=_alias())
    return copy


def merge_waiting(buffer: str, now: datetime) -> int:
    """Make one batch of all that never reached the mail server, so that an outage ends in one mail; how many it took."""
    alias = _alias()
    waiting = Batch.objects.using(alias).filter(
        buffer=buffer, status=Status.READY, reached=False, record_count__gt=0
    )
    if not waiting.filter(attempts__gt=0).exists():
        return 0
    with transaction.atomic(using=alias):
        # A conditional update first: it takes SQLite's write lock, and keeps other senders away on every database.
        waiting.update(next_attempt_at=F("next_attempt_at"))
        batches = list(waiting.order_by("pk").select_for_update())
        if len(batches) < 2:
            return 0
        kept, others = batches[0], batches[1:]
        Record.objects.using(alias).filter(batch__in=others).update(batch=kept)
        Attempt.objects.using(alias).filter(batch__in=others).update(batch=kept)
        Group.objects.using(alias).filter(batch__in=others).update(batch=kept)
        Group.objects.using(alias).filter(episode_batch__in=others).update(episode_batch=kept)
        kept.record_count = sum(batch.record_count for batch in batches)
        kept.silenced_count = sum(batch.silenced_count for batch in batches)
        kept.lost_count = sum(batch.lost_count for batch in batches)
        kept.level = max(batch.level for batch in batches)
        kept.first_at = min(batch.first_at for batch in batches if batch.first_at)
        kept.last_at = max(batch.last_at for batch in batches if batch.last_at)
        kept.next_attempt_at = min(batch.next_attempt_at for batch in batches if batch.next_attempt_at)
        kept.group_count = (
            Record.objects.using(alias).filter(batch=kept, silenced=False).values("group").distinct().count()
        )
        kept.subject = kept.text = kept.html = ""
        kept.save(using=alias)
        Batch.objects.using(alias).filter(pk__in=[batch.pk for batch in others]).delete()
    return len(others)


def silence(groups: Iterable[Group], *, until: datetime | None, by: str, note: str, now: datetime) -> int:
    """Count these groups from now on without mailing them, until a time, or for ever (None)."""
    return _update_groups(
        groups, silenced_at=now, silenced_until=until, silenced_by=by[:150], silence_note=note[:255]
    )


def end_silence(groups: Iterable[Group]) -> int:
    """Mail these groups again."""
    return _update_groups(groups, silenced_at=None, silenced_until=None, silenced_by="", silence_note="")


def resolve(groups: Iterable[Group], now: datetime) -> int:
    """Mark these groups as repaired: their next record counts as a regression."""
    return _update_groups(groups, resolved_at=now)


def _update_groups(groups: Iterable[Group], **changes: object) -> int:
    return Group.objects.using(_alias()).filter(pk__in=[group.pk for group in groups]).update(**changes)


def _outcome(batch: Batch, verdict: Verdict, now: datetime) -> Outcome:
    if verdict.sent:
        return Outcome.SENT
    expired = batch.sealed_at is not None and now - batch.sealed_at > GIVE_UP_AFTER
    return Outcome.RETRY if verdict.retry and not expired else Outcome.FAILED


def _back_off(attempts: int) -> timedelta:
    """One minute, doubling to an hour, give or take a tenth so that processes spread."""
    delay = min(FIRST_RETRY * 2 ** min(attempts - 1, 10), LONGEST_RETRY)
    return delay * random.uniform(0.9, 1.1)  # noqa: S311


def _alias() -> str:
    return router.db_for_write(Batch)
