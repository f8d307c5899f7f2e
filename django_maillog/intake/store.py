"""A chunk on its way into the tables: groups, records, hourly counts, and last the batch.

Rows are locked in one order (buffers by name; of each its groups by id, then its batch), so importers never
wait for each other in a circle. SQLite has one lock for all, so there everything is read before it is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from .. import charset, moments, policy
from ..models import Batch, Record, Status
from ..policy import Reason
from ..transactions import Overtaken, write_alias, writing
from .counts import Scope
from .group_rows import GroupRows
from .history import Configurations, load_history
from .reader import Chunk
from .record_rows import RecordRows
from .sites import check_sites

COUNTERS = (
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

Mails = dict[str, dict[str, Any]]  # facts of the mails that went out straight from the spool, by buffer


def parts(chunk: Chunk, mailed: Mails, configurations: Configurations, now: datetime) -> Iterator[Part]:
    """A chunk buffer by buffer, each with the batch that takes it; a batch that is missing is written.

    ``mailed``: the mails that reported the chunk already.
    """
    for buffer in chunk.all_buffers():
        if buffer in mailed:
            batch = mailed_batch(buffer, mailed[buffer])
        else:
            batch = _open_batch(buffer, configurations, now)
        scope = Scope(batch, chunk.buffers.get(buffer, {}), now)
        yield Part(scope, chunk.lost[buffer], configurations.rules(batch))


def _open_batch(buffer: str, configurations: Configurations, now: datetime) -> Batch:
    """The buffer's open batch, made if there is none; one that stays empty is never mailed."""
    batches = Batch.objects.filter(open_for=buffer)
    batch = batches.first()
    if batch is None or not batch.record_count:
        facts = charset.storable_row(Batch, configurations.of_batch(buffer)) | {"opened_at": now}
        if batch is None:
            fresh = Batch(buffer=buffer, open_for=buffer, **facts)
            Batch.objects.bulk_create([fresh], ignore_conflicts=True)
        else:  # left behind by an import that came to nothing, maybe long ago
            batches.filter(record_count=0).update(**facts)
        batch = batches.first()
    if batch is None:
        raise Overtaken
    return batch


def remove_empty(buffers: Sequence[str]) -> None:
    """Delete the open batches of these buffers that nothing came into; who uses one meanwhile starts over."""
    empty = Batch.objects.open().filter(record_count=0)
    # Locked by key: MySQL would lock the index of names first, and then wait for whoever seals one.
    if found := list(empty.filter(open_for__in=buffers).values_list("pk", flat=True)):
        with writing(write_alias()):
            locked = empty.filter(pk__in=found).order_by("pk").select_for_update()
            Batch.objects.filter(pk__in=list(locked.values_list("pk", flat=True))).delete()


def mailed_batch(buffer: str, mail: dict[str, Any]) -> Batch:
    """The batch of a mail that went out straight from the spool while the database was away.

    It reported what several processes had logged, so that several import at once what belongs to it.
    """
    mails = Batch.objects.filter(message_id=mail["message_id"])
    batch = mails.first()
    if batch is None:
        at = moments.at(mail["time"])
        texts = {name: mail.get(name, "") for name in ("sender", "using", "subject", "text", "html")}
        facts = charset.storable_row(Batch, texts | {"recipients": mail.get("recipients", [])})
        fresh = Batch(
            **facts,
            message_id=mail["message_id"],
            buffer=buffer,
            status=Status.SENT,
            opened_at=at,
            sealed_at=at,
            sent_at=at,
            reason=Reason.OUTAGE,
            attempts=1,
            handed_over=True,
        )
        Batch.objects.bulk_create([fresh], ignore_conflicts=True)
        batch = mails.first()
    if batch is None:
        raise Overtaken
    return batch


class Part:
    """One buffer's part of a chunk: read what is stored, then write."""

    def __init__(self, scope: Scope, lost: int, rules: policy.Rules) -> None:
        self._scope = scope
        self._lost = lost
        self._rules = rules
        self._dues: list[policy.Due | None] = []
        self._groups = GroupRows(scope)
        self._records = RecordRows(scope, self._groups)

    def read(self, *, lock: bool) -> None:
        """Read what is stored, and work out what is to be written; ``lock``: within the transaction.

        Raises Overflowing if the chunk must be read again, with a site's overflow group.
        """
        self._groups.read(lock=lock)
        check_sites(self._scope, known=self._groups.stored.keys())
        self._make_dues(self._groups.count(self._rules))
        self._records.read()

    @cached_property
    def _history(self) -> policy.History:
        return load_history(self._scope.batch.buffer, self._scope.now)

    def _make_dues(self, sightings: list[policy.Sighting]) -> None:
        """Work out when each group wants the batch sealed.

        What the buffer mailed lately can only delay that: it is not asked for what comes too late anyway.
        """
        rules, now, is_due_at = self._rules, self._scope.now, self._scope.batch.due_at
        self._dues = [policy.due(rules, policy.History(), now, sighting) for sighting in sightings]
        due = policy.earliest(self._dues)
        if due is not None and (is_due_at is None or due.at < is_due_at):
            self._dues = [policy.due(rules, self._history, now, sighting) for sighting in sightings]

    def write(self, *, check: bool) -> None:
        """Write groups, records, hourly counts and the batch.

        ``check``: all was read before the transaction; Changed is raised if it isn't true any more.
        Overtaken is raised if the batch was sealed meanwhile.
        """
        if self._scope.arrivals:
            if check and self._groups.stored:
                self._groups.check()
            self._groups.write()
            self._records.write()
            self._groups.add_tallies()
        self._write_batch()

    def _write_batch(self) -> None:
        """The hot row comes last, and is read again: others count on it, too."""
        batches = Batch.objects.filter(pk=self._scope.batch.pk)
        batch = batches.only("status", *COUNTERS).select_for_update().first()
        if batch is None or (batch.status != Status.OPEN and self._scope.batch.status == Status.OPEN):
            raise Overtaken
        arrivals = self._scope.arrivals.values()
        silenced = sum(self._scope.arrivals[fingerprint].count for fingerprint in self._groups.silenced)
        count = sum(arrived.count for arrived in arrivals) + self._lost
        batch.record_count += count
        batch.silenced_count += silenced
        batch.lost_count += self._lost
        batch.level = max([batch.level, *(arrived.level for arrived in arrivals)])
        times = [at for arrived in arrivals for at in (arrived.first_at, arrived.last_at)]
        times = [*filter(None, [batch.first_at, batch.last_at]), *times] or [self._scope.now]
        batch.first_at, batch.last_at = min(times), max(times)
        if batch.status == Status.OPEN:
            batch.group_count += self._groups.entered
            self._make_due(batch, has_audible=count > silenced)
        else:  # it went out already
            shown = Record.objects.filter(batch=batch, silenced=False)
            batch.group_count = shown.values("group").distinct().count()
        batches.update(**{name: getattr(batch, name) for name in COUNTERS})

    def _make_due(self, batch: Batch, *, has_audible: bool) -> None:
        dues = self._dues.copy()
        if self._lost:
            wait = timedelta(seconds=self._rules.repeat_interval)
            dues.append(policy.Due(at=self._scope.now + wait, reason=Reason.REPEAT))
        if batch.record_count >= self._rules.capacity and has_audible:
            dues.append(policy.due_for_capacity(self._rules, self._history, self._scope.now))
        due = policy.earliest(dues)
        if due is not None and (batch.due_at is None or due.at < batch.due_at):
            batch.due_at, batch.reason = due.at, due.reason
