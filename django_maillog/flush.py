"""Flush: import the spool, seal what is due, deliver what is sealed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from django.db import router
from django.db.models import Min, Q, Sum
from django.utils import timezone

from . import policy
from .intake.history import load_history, rules_of
from .intake.importer import import_chunks
from .models import CLOCK_SKEW, Batch, BatchQuerySet, Outcome, Status
from .outbox.batches import seal
from .outbox.delivery import Sending, deliver, never
from .policy import Reason

NEWS_EVERY = 1.0  # seconds of importing after which news are looked for that should go out


@dataclass
class Summary:
    """What a flush did, and what is left: ``imported`` and ``pending`` in records, the rest in batches.

    What is left is asked of the database when it is first read: the worker needs none of it.
    """

    buffers: Collection[str] | None
    imported: int = 0
    sealed: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)

    @property
    def sent(self) -> int:
        return self.outcomes[Outcome.SENT]

    @cached_property
    def retrying(self) -> int:
        # The second: due and yet not sent, as its mailer can't be reached.
        ready = self._batches().filter(status=Status.READY)
        return ready.filter(Q(attempts__gt=0) | Q(next_attempt_at__lte=timezone.now())).count()

    @cached_property
    def failed(self) -> int:
        return self._batches().filter(status=Status.FAILED).count()

    @cached_property
    def pending(self) -> int:
        return self._batches().undelivered().aggregate(total=Sum("record_count"))["total"] or 0

    def as_dict(self) -> dict[str, int]:
        names = ("imported", "sealed", "sent", "retrying", "failed", "pending")
        return {name: getattr(self, name) for name in names}

    def _batches(self) -> BatchQuerySet:
        rows = Batch.objects.using(_alias()).all()
        return rows if self.buffers is None else rows.filter(buffer__in=self.buffers)


def flush(
    buffers: Collection[str] | None = None,
    *,
    everything: bool = True,
    at_exit: bool = False,
    clock: Callable[[], datetime] = timezone.now,
    send: bool = True,
    sending: Sending = nullcontext,
    stop: Callable[[], bool] = never,
    others: bool = True,
) -> Summary:
    """Import every segment on this host; seal open batches; deliver.

    ``buffers``: those named, else all. ``everything``: open batches are sealed, whatever the rules say; else
    those that are due, ``at_exit`` with what policy.due_at_exit allows. ``send=False``: nothing is delivered.
    ``sending`` is entered while a mail server is waited for, ``stop`` asked between steps. ``others=False``:
    other living processes import what is theirs. Raises django.db.Error if the database can't be used.
    """
    done = Summary(buffers)
    look_at = time.monotonic() + NEWS_EVERY
    with closing(import_chunks(clock, others=others)) as chunks:
        for records in chunks:
            done.imported += records
            if stop():
                break
            if time.monotonic() > look_at:
                _send_news(done, clock, send=send, sending=sending, stop=stop)
                look_at = time.monotonic() + NEWS_EVERY
    for batch, reason in list(to_seal(buffers, clock(), everything=everything, at_exit=at_exit)):
        done.sealed += seal(batch, clock(), reason=reason)
    if send and not stop():
        done.outcomes += deliver(clock=clock, buffers=buffers, sending=sending, stop=stop)
    return done


def _send_news(
    done: Summary, clock: Callable[[], datetime], *, send: bool, sending: Sending, stop: Callable[[], bool]
) -> None:
    """News that come due in the middle of a storm's long import don't wait for its end; all else does."""
    due = [batch for batch, _reason in to_seal(done.buffers, clock(), everything=False, at_exit=False)]
    sealed = sum(seal(batch, clock()) for batch in due if batch.reason in policy.URGENT)
    done.sealed += sealed
    if sealed and send:
        done.outcomes += deliver(clock=clock, buffers=done.buffers, sending=sending, stop=stop)


def flush_batch(batch: Batch, *, clock: Callable[[], datetime] = timezone.now) -> Batch:
    """Send one batch now: an open one is sealed first. Returns it as it is afterwards."""
    if batch.status == Status.OPEN:
        seal(batch, clock(), reason=Reason.FLUSH)
    deliver(clock=clock, only=batch)
    return Batch.objects.using(_alias()).get(pk=batch.pk)


def next_event(after: datetime | None = None) -> datetime | None:
    """When the next batch becomes due or is tried again, later than ``after``; None if none will be."""
    rows = Batch.objects.using(_alias())
    moments = (
        ("due_at", rows.open().filter(record_count__gt=0)),
        ("next_attempt_at", rows.filter(status=Status.READY)),
        ("claimed_until", rows.filter(status=Status.SENDING)),
    )
    found = []
    for name, batches in moments:
        later = batches if after is None else batches.filter(**{f"{name}__gt": after})
        found.append(later.aggregate(moment=Min(name))["moment"])
    return min(filter(None, found), default=None)


def to_seal(
    buffers: Collection[str] | None, now: datetime, *, everything: bool, at_exit: bool
) -> Iterator[tuple[Batch, Reason | None]]:
    """The open batches to seal, each with the reason if it isn't the batch's own."""
    rows = Batch.objects.using(_alias()).open().filter(record_count__gt=0).defer("text", "html")
    for batch in (rows if buffers is None else rows.filter(buffer__in=buffers)).order_by("pk"):
        if everything:
            yield batch, Reason.FLUSH
        elif batch.due_at is not None and (_is_due(batch, now) or (at_exit and _is_due_at_exit(batch, now))):
            yield batch, None


def _is_due(batch: Batch, now: datetime) -> bool:
    assert batch.due_at is not None
    rules = rules_of(batch.buffer)
    longest = timedelta(seconds=rules.group_wait + rules.group_interval + rules.repeat_interval)
    # Further ahead than any rule can ask for, or opened in the future: the clock was set back meanwhile.
    skewed = batch.due_at > now + longest + CLOCK_SKEW or batch.opened_at > now + CLOCK_SKEW
    return batch.due_at <= now or skewed


def _is_due_at_exit(batch: Batch, now: datetime) -> bool:
    history = load_history(_alias(), batch.buffer, now)
    due = policy.due_at_exit(rules_of(batch.buffer), history, now, Reason(batch.reason))
    return due is not None and due.at <= now


def _alias() -> str:
    return router.db_for_write(Batch)
