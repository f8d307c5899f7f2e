"""Flush: import the spool, seal what is due, deliver what is sealed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property

from django.db import Error
from django.db.models import Max, Min, Q, Sum

from . import buffers, hosts, policy, silences
from .database_clock import database_now
from .intake.history import load_history
from .intake.importer import import_chunks
from .models import CLOCK_SKEW, Attempt, Batch, BatchQuerySet, Outcome, Status
from .outbox.batches import retry, seal
from .outbox.delivery import Delivered, deliver
from .outbox.options import FlushOptions
from .outbox.targets import due_and_left_to_others, is_left_to_others, rules_of, target_of
from .policy import Reason
from .signals import batch_sealed
from .transactions import IN_TRANSACTION, is_in_transaction

NEWS_EVERY_SECONDS = 1.0  # of importing, after which news are looked for that should go out
# Between two tries of a waiting batch that news in the open one have brought forward.
NEWS_RETRY = timedelta(minutes=1)


@dataclass
class Summary:
    """What a flush did, and what is left: ``imported`` and ``pending`` in records, the rest in batches.

    ``set_aside``: lines of the spool that can't be imported; each is counted as a lost record.
    ``held_back``: open batches that were due and grow on, as an earlier mail of their buffer waits for its
    server; ``sending``: those that another process is sending, or was when it was killed; ``left_alone``:
    those that wait for a process that has their handler. What is left is asked of the database when it is
    first read: the worker needs none of it.
    """

    buffers: Collection[str] | None
    everything: bool = True
    imported: int = 0
    set_aside: int = 0
    sealed: int = 0
    held_back: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    passed_over: set[int] = field(default_factory=set)

    @property
    def sent(self) -> int:
        return self.outcomes[Outcome.SENT] + self.outcomes[Outcome.UNCONFIRMED]

    @cached_property
    def retrying(self) -> int:
        # What another process has just sealed is not this flush's to count.
        untried = self._batches().filter(pk__in=self.passed_over, status=Status.READY, attempts=0)
        return self._batches().waiting().count() + untried.count()

    @cached_property
    def sending(self) -> int:
        return self._batches().filter(status=Status.SENDING).count()

    @cached_property
    def failed(self) -> int:
        return self._batches().filter(status=Status.FAILED).count()

    @cached_property
    def pending(self) -> int:
        return self._batches().undelivered().aggregate(total=Sum("record_count"))["total"] or 0

    @cached_property
    def left_alone(self) -> list[Batch]:
        waiting = self._batches().undelivered().exclude(status=Status.OPEN, record_count=0)
        rows = waiting.defer("text", "html").order_by("pk")
        return due_and_left_to_others(rows, database_now(), everything=self.everything)

    def as_dict(self) -> dict[str, int]:
        names = ("imported", "set_aside", "sealed", "sent", "retrying", "failed", "pending", "sending")
        return {name: getattr(self, name) for name in names} | {"left_alone": len(self.left_alone)}

    def add(self, delivered: Delivered) -> None:
        """Count what a delivery did."""
        self.outcomes += delivered.outcomes
        self.passed_over |= delivered.passed_over

    def _batches(self) -> BatchQuerySet:
        return _of(self.buffers, Batch.objects.all())


def flush(options: FlushOptions | None = None) -> Summary:
    """Import every segment on this host; seal open batches; deliver.

    Raises django.db.Error if the database can't be used, and in the end what an import raised: something that
    is wrong with one segment holds no mail back. Raises RuntimeError in a transaction of the caller's.
    """
    _refuse_transaction()
    options = options or FlushOptions()
    done = Summary(options.buffers, options.everything)
    failed = None
    look_at = time.monotonic() + NEWS_EVERY_SECONDS
    try:
        with closing(import_chunks(options.clock, others=options.others)) as chunks:
            for chunk in chunks:
                done.imported += chunk.records
                done.set_aside += chunk.set_aside
                if options.stop():
                    break
                if time.monotonic() > look_at:
                    _send_news(done, options)
                    look_at = time.monotonic() + NEWS_EVERY_SECONDS
    except Error:
        raise
    except Exception as error:  # whatever is wrong with a segment: it is logged, and raised below
        failed = error
    hosts.note_import(options.clock())
    silences.publish(options.clock())
    _seal_and_deliver(done, options)
    if failed is not None:
        raise failed
    return done


def flush_batch(batch: Batch, options: FlushOptions | None = None) -> Batch:
    """Send one batch now: an open one is sealed first. Returns it as it is afterwards.

    What waits of the open one's buffer is tried before it; while that is refused, it stays open. Raises
    RuntimeError in a transaction of the caller's.
    """
    _refuse_transaction()
    options = options or FlushOptions()
    if batch.status == Status.OPEN:
        options = replace(options, buffers=[batch.buffer])
        for waiting in _holding_back(batch, options.clock()):
            _make_due([waiting], options.clock())
            deliver(options, only=waiting)
        if not _holding_back(batch, options.clock()):
            _seal_one(batch, options, reason=Reason.FLUSH)
    deliver(options, only=batch)
    flushed: Batch = Batch.objects.get(pk=batch.pk)
    return flushed


def _refuse_transaction() -> None:
    if is_in_transaction():
        raise RuntimeError(IN_TRANSACTION)


def retry_failed(names: Collection[str] | None = None) -> int:
    """Put the failed batches (of these buffers) first in line again; how many."""
    options = FlushOptions(buffers=names)
    failed = _of(names, Batch.objects.filter(status=Status.FAILED)).order_by("pk")
    return sum(retry(batch, options.clock()) for batch in failed.defer("text", "html"))


def _seal_and_deliver(done: Summary, options: FlushOptions) -> None:
    """Seal what is due and deliver; once a waiting batch is handed over, what it held back follows."""
    if options.everything:
        now = options.clock()
        waiting = _of(options.buffers, Batch.objects.waiting()).defer("text", "html")
        _make_due([each for each in waiting if not is_left_to_others(each, now, everything=True)], now)
    _seal(done, options, retry=True)
    if not options.send or options.stop():
        return
    _deliver(done, options)
    if done.held_back:
        _seal(done, options, retry=False)
        _deliver(done, options)


def _deliver(done: Summary, options: FlushOptions) -> None:
    left = None if options.limit is None else max(options.limit - done.outcomes.total(), 0)
    done.add(deliver(replace(options, limit=left)))


def _seal(done: Summary, options: FlushOptions, *, retry: bool) -> None:
    """Seal the open batches that are due, or with ``retry`` have what holds them back tried once more."""
    now = options.clock()
    done.held_back = 0
    for batch, reason in list(to_seal(options, now)):
        waiting = _holding_back(batch, now)
        if not waiting:
            done.sealed += _seal_one(batch, options, reason=reason)
            continue
        done.held_back += 1
        is_asked = options.everything or options.at_exit
        if retry and (is_asked or (batch.reason in policy.NEWS and _may_retry(waiting, now))):
            _make_due(waiting, now)


def _seal_one(batch: Batch, options: FlushOptions, *, reason: Reason | None = None) -> bool:
    """Seal a batch, and tell the project."""
    is_sealed = seal(batch, options.clock(), reason=reason)
    if is_sealed and batch_sealed.has_listeners(Batch):
        batch.refresh_from_db()
        with options.sending():
            batch_sealed.send_robust(Batch, batch=batch)
    return is_sealed


def _send_news(done: Summary, options: FlushOptions) -> None:
    """News that come due in the middle of a storm's long import don't wait for its end; all else does."""
    now = options.clock()
    due = [batch for batch, _reason in to_seal(replace(options, everything=False, at_exit=False), now)]
    urgent = [batch for batch in due if batch.reason in policy.URGENT and not _holding_back(batch, now)]
    sealed = sum(_seal_one(batch, options) for batch in urgent)
    done.sealed += sealed
    if sealed and options.send:
        _deliver(done, options)


def _holding_back(batch: Batch, now: datetime) -> list[Batch]:
    """The buffer's batches that were tried and not handed over: while there is one, the open one grows.

    One whose addressee is no longer the buffer's holds nothing back, after ``group_interval``.
    """
    waiting = list(Batch.objects.holding_back().filter(buffer=batch.buffer).defer("text", "html"))
    if not waiting:
        return []
    try:
        addressee = buffers.addressee(target_of(batch))
    except Exception:  # a wrong target: sealing says so
        return waiting
    long_ago = now - timedelta(seconds=rules_of(batch).group_interval)
    return [
        each
        for each in waiting
        if (each.recipients, each.sender, each.using) == tuple(addressee)
        or (each.sealed_at or now) > long_ago
    ]


def _may_retry(waiting: list[Batch], now: datetime) -> bool:
    """Whether a minute has passed since the last try."""
    tried = Attempt.objects.filter(batch__in=[batch.pk for batch in waiting]).aggregate(last=Max("tried_at"))
    return tried["last"] is None or now - tried["last"] >= NEWS_RETRY


def _make_due(waiting: Collection[Batch], now: datetime) -> None:
    """Have waiting batches tried now, whatever their back-off."""
    keys = [batch.pk for batch in waiting]
    if keys:
        Batch.objects.waiting().filter(pk__in=keys).update(next_attempt_at=now)


def next_event(after: datetime | None = None) -> datetime | None:
    """When the next batch becomes due or is tried again, later than ``after``; None if none will be."""
    moments = {
        "due_at": Q(status=Status.OPEN, record_count__gt=0),
        "next_attempt_at": Q(status=Status.READY),
        "claimed_until": Q(status=Status.SENDING),
    }
    later = {name: Q() if after is None else Q(**{f"{name}__gt": after}) for name in moments}
    asked = {f"first_{name}": Min(name, filter=which & later[name]) for name, which in moments.items()}
    found = Batch.objects.undelivered().aggregate(**asked)
    return min(filter(None, found.values()), default=None)


def to_seal(options: FlushOptions, now: datetime) -> Iterator[tuple[Batch, Reason | None]]:
    """The open batches to seal, each with the reason if it isn't the batch's own."""
    rows = Batch.objects.open().filter(record_count__gt=0).defer("text", "html")
    for batch in _of(options.buffers, rows).order_by("pk"):
        if is_left_to_others(batch, now, everything=options.everything):
            continue
        if options.everything:
            yield batch, Reason.FLUSH
        elif batch.due_at is not None and (
            _is_due(batch, now) or (options.at_exit and _is_due_at_exit(batch, now))
        ):
            yield batch, None


def _is_due(batch: Batch, now: datetime) -> bool:
    assert batch.due_at is not None
    rules = rules_of(batch)
    longest = timedelta(seconds=rules.group_wait + rules.group_interval + rules.repeat_interval)
    # Further ahead than any rule can ask for, or opened in the future: the clock was set back meanwhile.
    skewed = batch.due_at > now + longest + CLOCK_SKEW or batch.opened_at > now + CLOCK_SKEW
    return batch.due_at <= now or skewed


def _is_due_at_exit(batch: Batch, now: datetime) -> bool:
    history = load_history(batch.buffer, now)
    due = policy.due_at_exit(rules_of(batch), history, now, Reason(batch.reason))
    return due is not None and due.at <= now


def _of(names: Collection[str] | None, batches: BatchQuerySet) -> BatchQuerySet:
    """The batches of these buffers; None: of all."""
    return batches if names is None else batches.filter(buffer__in=names)
