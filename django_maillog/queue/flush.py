"""Flush: import the spool, seal what is due, deliver what is sealed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime

from django.db import router
from django.db.models import Min, Q, Sum
from django.utils import timezone

from .. import conf, policy
from ..models import Batch, BatchQuerySet, Outcome, Status
from ..policy import Reason
from .batches import seal
from .deliver import deliver
from .contents import report
from .intake import import_all, load_history, rules_of
from .targets import target_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What a flush did; ``imported`` and ``pending`` are numbers of records, the rest of batches."""

    imported: int = 0
    sealed: int = 0
    sent: int = 0
    retrying: int = 0
    failed: int = 0
    pending: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One mail that a flush would send."""

    buffer: str
    records: int
    groups: int
    recipients: list[str]
    subject: str
    reason: str

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def flush(
    buffers: Collection[str] | None = None,
    *,
    everything: bool = True,
    at_exit: bool = False,
    clock: Callable[[], datetime] = timezone.now,
    send: bool = True,
    sending: Callable[[], AbstractContextManager[object]] = nullcontext,
    stop: Callable[[], bool] = lambda: False,
) -> Summary:
    """Import every segment on this host; seal open batches; deliver.

    ``buffers``: those named, else all. ``everything``: every open batch is sealed, whatever the rules say; else those that
    are due, ``at_exit`` with what policy.due_at_exit allows. ``send=False``: nothing is delivered. ``sending`` is
    entered while a mail server is waited for, ``stop`` asked between steps. Raises django.db.Error if the database can't be used.
    """
    imported = import_all(clock())
    sealed = 0
    for batch, reason in list(_to_seal(buffers, clock(), everything=everything, at_exit=at_exit)):
        sealed += seal(batch, clock(), reason=reason)
    outcomes = deliver(clock=clock, buffers=buffers, sending=sending, stop=stop) if send and not stop() else {}
    rows = _of(buffers)
    return Summary(
        imported=imported,
        sealed=sealed,
        sent=outcomes.get(Outcome.SENT, 0),
        retrying=rows.filter(status=Status.READY, attempts__gt=0).count(),
        failed=rows.filter(status=Status.FAILED).count(),
        pending=rows.undelivered().aggregate(total=Sum("record_count"))["total"] or 0,
    )


def flush_batch(batch: Batch, *, clock: Callable[[], datetime] = timezone.now) -> Batch:
    """Send one batch now: an open one is sealed first. Returns it as it is afterwards."""
    if batch.status == Status.OPEN:
        seal(batch, clock(), reason=Reason.FLUSH)
    deliver(clock=clock, only=batch)
    return Batch.objects.using(_alias()).get(pk=batch.pk)


def next_event() -> datetime | None:
    """When the next batch becomes due, or is to be tried again; None if none will by itself."""
    moments = Batch.objects.using(_alias()).undelivered().filter(record_count__gt=0).aggregate(
        due=Min("due_at", filter=Q(status=Status.OPEN)),
        retry=Min("next_attempt_at", filter=Q(status=Status.READY)),
        lease=Min("claimed_until", filter=Q(status=Status.SENDING)),
    )
    return min((moment for moment in moments.values() if moment is not None), default=None)


def plan(buffers: Collection[str] | None = None, *, everything: bool = True, now: datetime | None = None) -> list[Plan]:
    """The mails that a flush would send from what is imported, to whom; changes nothing."""
    now = now or timezone.now()
    batches = [batch for batch, _reason in _to_seal(buffers, now, everything=everything, at_exit=False)]
    batches += list(_of(buffers).deliverable(now).order_by("pk"))
    plans = []
    for batch in batches:
        target = target_of(batch)
        plans.append(
            Plan(
                buffer=batch.buffer,
                records=batch.record_count,
                groups=batch.group_count,
                recipients=list(batch.recipients) or target.get_recipients(),
                subject=batch.subject or target.get_digest_subject(report(batch, now)),
                reason=batch.reason if not everything else Reason.FLUSH,
            )
        )
    return plans


def known_buffers() -> set[str]:
    """Every buffer that this process has configured or that has a batch."""
    return conf.buffers().keys() | set(Batch.objects.using(_alias()).order_by().values_list("buffer", flat=True).distinct())


def problems() -> Iterator[str]:
    """What keeps batches from going out, in words for a person."""
    for batch in Batch.objects.using(_alias()).open().filter(record_count__gt=0).order_by("pk"):
        if not target_of(batch).get_recipients():
            yield (
                f"Buffer {batch.buffer!r} has {batch.record_count} records and nobody to send them to: "
                "set ADMINS, or toaddrs of its SMTPHandler."
            )
    for batch in Batch.objects.using(_alias()).filter(status=Status.FAILED).order_by("pk")[:10]:
        yield f"Batch {batch.pk} of buffer {batch.buffer!r} failed: {batch.last_error}"
    for batch in _of(None).filter(status=Status.READY, attempts__gt=0).order_by("pk")[:10]:
        yield f"Batch {batch.pk} of buffer {batch.buffer!r} is tried again at {batch.next_attempt_at}: {batch.last_error}"


def _to_seal(
    buffers: Collection[str] | None, now: datetime, *, everything: bool, at_exit: bool
) -> Iterator[tuple[Batch, Reason | None]]:
    """The open batches to seal, each with the reason if it isn't the batch's own."""
    rows = _of(buffers).filter(record_count__gt=0).order_by("pk")
    if everything:
        yield from ((batch, Reason.FLUSH) for batch in rows.open())
        return
    due = list(rows.due(now))
    yield from ((batch, None) for batch in due)
    if not at_exit:
        return
    for batch in rows.open().exclude(pk__in=[batch.pk for batch in due]).exclude(reason=""):
        allowed = policy.due_at_exit(
            rules_of(batch.buffer), load_history(_alias(), batch.buffer, now), now, Reason(batch.reason)
        )
        if allowed is not None and allowed.at <= now:
            yield batch, None


def _of(buffers: Collection[str] | None) -> BatchQuerySet:
    rows = Batch.objects.using(_alias()).all()
    return rows if buffers is None else rows.filter(buffer__in=buffers)


def _alias() -> str:
    return router.db_for_write(Batch)
