"""A chunk on its way into the tables: groups, records, hourly counts, and last the batch.

Rows are locked in one order (buffers by name; of each its groups by id, then its batch), so importers never
wait for each other in a circle. All counting is done before: the transaction holds SQLite's write lock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from .. import policy
from ..models import Batch, Record, Status
from ..policy import Reason
from .arrivals import Arrivals
from .chunks import Chunk
from .contention import Lost
from .group_rows import GroupRows
from .history import Configurations, load_history
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


def store(
    alias: str, chunk: Chunk, mailed: dict[str, dict[str, Any]], configurations: Configurations, now: datetime
) -> None:
    """Write a chunk within the caller's transaction; ``mailed``: the mails that reported it, by buffer."""
    for buffer in sorted(chunk.buffers.keys() | chunk.lost.keys()):
        arrivals, lost = chunk.buffers.get(buffer, {}), chunk.lost[buffer]
        if buffer in mailed:
            part = _Part(alias, _mailed_batch(alias, buffer, mailed[buffer]), configurations, now)
            part.store(arrivals)
            part.count_as_mailed(arrivals, lost)
        else:
            part = _Part(alias, _open_batch(alias, buffer, configurations, now), configurations, now)
            part.store(arrivals)
            part.count_as_open(arrivals, lost)


def _open_batch(alias: str, buffer: str, configurations: Configurations, now: datetime) -> Batch:
    """The buffer's open batch, made if there is none."""
    batches = Batch.objects.using(alias).filter(open_for=buffer).defer("text", "html")
    batch = batches.first()
    if batch is None:
        fresh = Batch(buffer=buffer, open_for=buffer, opened_at=now, **configurations.addressee(buffer))
        Batch.objects.using(alias).bulk_create([fresh], ignore_conflicts=True)
        batch = batches.first()
    if batch is None:
        raise Lost
    return batch


def _mailed_batch(alias: str, buffer: str, mail: dict[str, Any]) -> Batch:
    """The batch of a mail that went out straight from the spool while the database was away."""
    at = datetime.fromtimestamp(mail["time"], UTC)
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
            "reached": True,
        },
    )
    return batch


class _Part:
    """One buffer's part of a chunk."""

    def __init__(self, alias: str, batch: Batch, configurations: Configurations, now: datetime) -> None:
        self.alias = alias
        self.batch = batch
        self.now = now
        self.rules = configurations.rules(batch.buffer)
        self.history = load_history(alias, batch.buffer, now)
        self.silenced = 0  # records
        self.new_groups = 0
        self.dues: list[policy.Due | None] = []

    def store(self, arrivals: dict[str, Arrivals]) -> None:
        """Groups, records and hourly counts; what the batch must know of them is left in the attributes."""
        if not arrivals:
            return
        groups = GroupRows(self.alias, self.batch, arrivals, self.now)
        self.dues += groups.count(self.rules, self.history)
        groups.write()
        RecordRows(self.alias, self.batch).write(arrivals, groups)
        groups.add_tallies()
        self.silenced = sum(arrivals[fingerprint].count for fingerprint in groups.silenced)
        self.new_groups = groups.entered

    def count_as_open(self, arrivals: dict[str, Arrivals], lost: int) -> None:
        """The last step on the hot row; if the batch was sealed meanwhile, everything starts over."""
        count = sum(arrived.count for arrived in arrivals.values()) + lost
        if lost:
            wait = timedelta(seconds=self.rules.repeat_interval)
            self.dues.append(policy.Due(at=self.now + wait, reason=Reason.REPEAT))
        batch = self._lock_batch()
        if batch.status != Status.OPEN:
            raise Lost
        if batch.record_count + count >= self.rules.capacity and count > self.silenced:
            self.dues.append(policy.due_for_capacity(self.rules, self.history, self.now))
        due = policy.earliest(self.dues)
        if due is not None and (batch.due_at is None or due.at < batch.due_at):
            batch.due_at, batch.reason = due.at, due.reason
        batch.group_count += self.new_groups
        self._add_counts(batch, arrivals, count, lost)

    def count_as_mailed(self, arrivals: dict[str, Arrivals], lost: int) -> None:
        """The same for a batch that went out already."""
        batch = self._lock_batch()
        shown = Record.objects.using(self.alias).filter(batch=batch, silenced=False)
        batch.group_count = shown.values("group").distinct().count()
        self._add_counts(batch, arrivals, sum(arrived.count for arrived in arrivals.values()) + lost, lost)

    def _lock_batch(self) -> Batch:
        batches = Batch.objects.using(self.alias).only("status", *COUNTED).select_for_update()
        batch = batches.filter(pk=self.batch.pk).first()
        if batch is None:
            raise Lost
        return batch

    def _add_counts(self, batch: Batch, arrivals: dict[str, Arrivals], count: int, lost: int) -> None:
        batch.record_count += count
        batch.silenced_count += self.silenced
        batch.lost_count += lost
        batch.level = max([batch.level, *(arrived.level for arrived in arrivals.values())])
        first, last = [a.first_at for a in arrivals.values()], [a.last_at for a in arrivals.values()]
        batch.first_at = min(filter(None, [batch.first_at, *first]), default=self.now)
        batch.last_at = max(filter(None, [batch.last_at, *last]), default=self.now)
        batch.save(using=self.alias, update_fields=COUNTED)
