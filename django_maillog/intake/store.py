"""A chunk on its way into the tables: groups, records, hourly counts, and last the batch.

Rows are locked in one order (buffers by name; of each its groups by id, then its batch), so importers never
wait for each other in a circle. What takes time is done before: the transaction holds SQLite's write lock.
There the batch comes first, to be compared with what was read.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from .. import moments, policy
from ..models import Batch, Record, Status
from ..policy import Reason
from ..transactions import Lost
from . import rows
from .counts import Arrivals
from .group_rows import GroupRows
from .history import Configurations, load_history
from .reader import Chunk
from .record_rows import RecordRows

COUNTED = (
    "record_count",
    "silenced_count",
    "lost_count",
    "group_count",
    "level",
    "first_at",
    "last_at",
    "due_at",
    "reason",
)


def prepare(
    alias: str, chunk: Chunk, mailed: dict[str, dict[str, Any]], configurations: Configurations, now: datetime
) -> Iterator[Part]:
    """Read what a chunk needs, buffer by buffer; each part is to be written before the next is asked for.

    ``mailed``: the mails that reported the chunk already, by buffer. What is written are batches, if missing.
    """
    for buffer in sorted(chunk.buffers.keys() | chunk.lost.keys()):
        if buffer in mailed:
            batch = _mailed_batch(alias, buffer, mailed[buffer])
        else:
            batch = _open_batch(alias, buffer, configurations, now)
        part = Part(alias, batch, chunk.buffers.get(buffer, {}), chunk.lost[buffer], now)
        part.read(configurations.rules(buffer), load_history(alias, buffer, now))
        yield part


def _open_batch(alias: str, buffer: str, configurations: Configurations, now: datetime) -> Batch:
    """The buffer's open batch, made if there is none; one that stays empty is never mailed."""
    batches = Batch.objects.using(alias).filter(open_for=buffer).defer("text", "html")
    batch = batches.first()
    if batch is None or not batch.record_count:
        facts = {"opened_at": now, **configurations.addressee(buffer)}
        if batch is None:
            fresh = Batch(buffer=buffer, open_for=buffer, **facts)
            Batch.objects.using(alias).bulk_create([fresh], ignore_conflicts=True)
        else:  # left behind by an import that came to nothing, maybe long ago
            batches.filter(record_count=0).update(**facts)
        batch = batches.first()
    if batch is None:
        raise Lost
    return batch


def _mailed_batch(alias: str, buffer: str, mail: dict[str, Any]) -> Batch:
    """The batch of a mail that went out straight from the spool while the database was away."""
    at = moments.at(mail["time"])
    facts = {name: mail.get(name, "") for name in ("sender", "using", "subject", "text", "html")}
    batch, _created = Batch.objects.using(alias).get_or_create(
        message_id=mail["message_id"],
        buffer=buffer,
        defaults=facts
        | {
            "status": Status.SENT,
            "opened_at": at,
            "sealed_at": at,
            "sent_at": at,
            "reason": Reason.OUTAGE,
            "recipients": mail.get("recipients", []),
            "attempts": 1,
            "handed_over": True,
        },
    )
    return batch


class Part:
    """One buffer's part of a chunk."""

    def __init__(
        self, alias: str, batch: Batch, arrivals: dict[str, Arrivals], lost: int, now: datetime
    ) -> None:
        self._alias = alias
        self._batch = batch
        self._arrivals = arrivals
        self._lost = lost
        self._now = now

    def read(self, rules: policy.Rules, history: policy.History) -> None:
        """Read what is stored, lock it where rows can be locked, and work out what is to be written."""
        self._rules, self._history = rules, history
        self._groups = GroupRows(self._alias, self._batch, self._arrivals, self._now)
        self._dues = self._groups.count(rules, history)
        self._records = RecordRows(self._alias, self._batch, self._arrivals, self._groups)
        self._silenced = sum(self._arrivals[fingerprint].count for fingerprint in self._groups.silenced)
        self._count = sum(arrived.count for arrived in self._arrivals.values()) + self._lost

    def write(self, *, ahead: bool) -> None:
        """Write groups, records, hourly counts and the batch.

        ``ahead``: all was read before the transaction; Changed is raised if something is not as it was.
        """
        if ahead:
            self._update_batch()
        if self._arrivals:
            self._groups.write(ahead=ahead)
            self._records.write()
            self._groups.add_tallies()
        if not ahead:
            self._lock_and_save_batch()

    def _update_batch(self) -> None:
        """Before anything else is written, since it is the row that others change most."""
        as_read = {name: vars(self._batch)[name] for name in ("status", *COUNTED)}
        self._add_counts(self._batch)
        row = {name: vars(self._batch)[name] for name in (*COUNTED, "id")}
        rows.update(self._alias, Batch, [row], as_read=[as_read])

    def _lock_and_save_batch(self) -> None:
        """The hot row; if the batch was sealed meanwhile, everything starts over."""
        batches = Batch.objects.using(self._alias).only("status", *COUNTED).select_for_update()
        batch = batches.filter(pk=self._batch.pk).first()
        if batch is None or (batch.status != Status.OPEN and self._batch.status == Status.OPEN):
            raise Lost
        self._add_counts(batch)
        if batch.status != Status.OPEN:  # it went out already
            shown = Record.objects.using(self._alias).filter(batch=batch, silenced=False)
            batch.group_count = shown.values("group").distinct().count()
        batch.save(using=self._alias, update_fields=COUNTED)

    def _make_due(self, batch: Batch) -> None:
        dues = self._dues.copy()
        if self._lost:
            wait = timedelta(seconds=self._rules.repeat_interval)
            dues.append(policy.Due(at=self._now + wait, reason=Reason.REPEAT))
        if batch.record_count + self._count >= self._rules.capacity and self._count > self._silenced:
            dues.append(policy.due_for_capacity(self._rules, self._history, self._now))
        due = policy.earliest(dues)
        if due is not None and (batch.due_at is None or due.at < batch.due_at):
            batch.due_at, batch.reason = due.at, due.reason

    def _add_counts(self, batch: Batch) -> None:
        if batch.status == Status.OPEN:
            self._make_due(batch)
            batch.group_count += self._groups.entered
        arrivals = self._arrivals.values()
        batch.record_count += self._count
        batch.silenced_count += self._silenced
        batch.lost_count += self._lost
        batch.level = max([batch.level, *(arrived.level for arrived in arrivals)])
        first, last = [arrived.first_at for arrived in arrivals], [arrived.last_at for arrived in arrivals]
        batch.first_at = min(filter(None, [batch.first_at, *first]), default=self._now)
        batch.last_at = max(filter(None, [batch.last_at, *last]), default=self._now)
