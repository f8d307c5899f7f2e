"""Import segments: lines become records, groups and the open batch, in one transaction with the segment's offset."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections, router, transaction
from django.db.models import Case, F, Max, Q, Value, When
from django.db.models.functions import Greatest, Least

from .. import conf, policy, spool
from ..models import Batch, Group, Record, Segment, Status, Tally
from ..lines import Line, parse
from ..policy import Reason

KEEP = 3  # rows of a fingerprint in a segment that are stored one by one; the rest is folded into one
MAX_ROWS = 150  # rows a transaction inserts at the most: it holds SQLite's write lock
MAX_MESSAGES = 8  # distinct messages counted in a folded row

log = logging.getLogger("django_maillog")


class _Lost(Exception):
    """Somebody else was faster: roll back and start over."""


@dataclass
class _Arrivals:
    """What a chunk holds of one fingerprint in one buffer."""

    values: list[dict[str, Any]] = field(default_factory=list)
    folded: list[dict[str, Any]] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.values) + len(self.folded)

    def everything(self) -> Iterable[dict[str, Any]]:
        yield from self.values
        yield from self.folded

    def add(self, value: dict[str, Any]) -> bool:
        """Take a value; whether it may need a row of its own."""
        keep = len(self.values) < KEEP or (bool(value.get("full")) and not any(v.get("full") for v in self.values))
        (self.values if keep else self.folded).append(value)
        return keep


@dataclass
class _Chunk:
    """As many complete lines as one transaction takes."""

    start: int
    end: int
    buffers: dict[str, dict[str, _Arrivals]] = field(default_factory=lambda: defaultdict(dict))
    lost: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    records: int = 0

    def add(self, line: Line) -> None:
        if line.lost:
            self.lost[line.buffer] += line.lost
            self.records += line.lost
        elif line.value is not None:
            arrivals = self.buffers[line.buffer].setdefault(line.value["fingerprint"], _Arrivals())
            self.rows += arrivals.add(line.value)
            self.records += 1


def import_all(now: datetime) -> int:
    """Import every segment on this host and delete those that are done; the number of records."""
    return sum(import_segment(source, now) for source in spool.segments())


def import_segment(source: spool.Source, now: datetime) -> int:
    """Import a segment's complete lines; the number of records that this call imported.

    Raises django.db.Error if the database can't be used; nothing is imported twice or lost then.
    """
    alias = router.db_for_write(Segment)
    imported = 0
    offset = Segment.objects.using(alias).filter(pk=source.id).values_list("offset", flat=True).first()
    if offset is None:
        Segment.objects.using(alias).bulk_create(
            [Segment(id=source.id, host=source.host, process=source.process, seen_at=now)], ignore_conflicts=True
        )
        offset = 0
    with spool.spool.mailing:
        reports = source.reports()
    while chunk := _read(source, offset, reports):
        try:
            with transaction.atomic(using=alias):
                _advance(alias, source.id, chunk, now)
                _store(alias, source, chunk, reports, now)
                if spool.spool.mailing.locked() or len(source.reports()) != len(reports):
                    raise _Lost  # the clock is mailing these very lines: wait, and import them as mailed
        except _Lost:
            with spool.spool.mailing:
                reports = source.reports()
            offset = Segment.objects.using(alias).values_list("offset", flat=True).get(pk=source.id)
            continue
        imported += chunk.records
        offset = chunk.end
    removed = source.remove_if_done(offset)
    spool.spool.note_imported(source.id, offset, removed=removed)
    if removed:
        Segment.objects.using(alias).filter(pk=source.id).update(finished_at=now)
    return imported


def _read(source: spool.Source, offset: int, reports: list[dict[str, Any]]) -> _Chunk | None:
    """The next lines, at most to where a report of a mail from the spool begins or ends."""
    lines, _end = source.read(offset)
    if not lines:
        return None
    borders = sorted({border for report in reports for border in (report["from"], report["to"])})
    border = next((b for b in borders if b > offset), None)
    chunk = _Chunk(start=offset, end=offset)
    for raw in lines:
        chunk.add(parse(raw, source))
        chunk.end += len(raw) + 1
        if chunk.rows >= MAX_ROWS or chunk.end == border:
            break
    return chunk


def _advance(alias: str, segment_id: str, chunk: _Chunk, now: datetime) -> None:
    """Move the offset by compare-and-set: the first statement, so that SQLite's write lock is waited for."""
    segments = Segment.objects.using(alias).filter(pk=segment_id, offset=chunk.start)
    if not segments.update(offset=chunk.end, seen_at=now):
        raise _Lost


def _store(
    alias: str, source: spool.Source, chunk: _Chunk, reports: list[dict[str, Any]], now: datetime
) -> None:
    mailed = next((r for r in reports if r["from"] <= chunk.start and chunk.end <= r["to"]), {"mails": {}})
    for buffer in sorted(chunk.buffers.keys() | chunk.lost.keys()):  # one order, so that importers never deadlock
        mail = mailed["mails"].get(buffer)
        intake = _Intake(alias, source, buffer, now, mail and mail | {"time": mailed["time"]})
        intake.store(chunk.buffers.get(buffer, {}), chunk.lost[buffer])


class _Intake:
    """One buffer's part of a chunk on its way into the tables."""

    def __init__(
        self, alias: str, source: spool.Source, buffer: str, now: datetime, mailed: dict[str, Any] | None
    ) -> None:
        self.alias = alias
        self.source = source
        self.buffer = buffer
        self.now = now
        self.mailed = mailed
        self.rules, self.addressee = _configuration(buffer, source)

    def store(self, arrivals: dict[str, _Arrivals], lost: int) -> None:
        batch = self._mailed_batch(self.mailed) if self.mailed else self._open_batch()
        seen_causes = self._causes_seen(arrivals)
        groups = self._lock_groups(arrivals)
        history = load_history(self.alias, self.buffer, self.now)
        ordered = sorted(arrivals.items(), key=lambda item: item[1].values[0]["time"])
        dues: list[policy.Due | None] = []
        new_groups = silenced = 0
        for fingerprint, arrived in ordered:
            group = groups[fingerprint]
            sighting = _sighting(group, arrived, seen_causes.get(group.cause), self.now)
            dues.append(policy.due(self.rules, history, self.now, sighting))
            seen_causes[group.cause] = max(sighting.last_at, seen_causes.get(group.cause) or sighting.last_at)
            if sighting.silenced:
                silenced += arrived.count
            elif group.batch_id != batch.pk:
                new_groups += 1
            _update_group(group, batch, arrived, sighting, policy.state(self.rules, sighting))
        self._insert_records(batch, groups, ordered)
        self._save_groups(groups.values())
        self._tally(groups, ordered)
        count = sum(arrived.count for arrived in arrivals.values()) + lost
        if batch.record_count + count >= self.rules.capacity and count > silenced:
            dues.append(policy.due_for_capacity(self.rules, history, self.now))
        if lost:
            dues.append(policy.Due(at=self.now + timedelta(seconds=self.rules.repeat_interval), reason=Reason.REPEAT))
        self._update_batch(batch, arrivals, count, silenced, lost, new_groups, policy.earliest(dues))

    def _open_batch(self) -> Batch:
        """The buffer's open batch, made if there is none."""
        open_batches = Batch.objects.using(self.alias).filter(open_for=self.buffer)
        batch = open_batches.first()
        if batch is None:
            fresh = Batch(buffer=self.buffer, open_for=self.buffer, opened_at=self.now, **self.addressee)
            Batch.objects.using(self.alias).bulk_create([fresh], ignore_conflicts=True)
            batch = open_batches.first()
        if batch is None:
            raise _Lost
        return batch

    def _mailed_batch(self, mailed: dict[str, Any]) -> Batch:
        """The batch of a mail that went out straight from the spool while the database was away."""
        at = datetime.fromtimestamp(mailed["time"], UTC)
        facts = {name: mailed.get(name, "") for name in ("sender", "using", "subject", "text", "html")}
        batch, _created = Batch.objects.using(self.alias).get_or_create(
            message_id=mailed["message_id"],
            buffer=self.buffer,
            defaults=facts
            | {
                "status": Status.SENT,
                "opened_at": at,
                "sealed_at": at,
                "sent_at": at,
                "reason": Reason.OUTAGE,
                "recipients": mailed.get("recipients", []),
                "attempts": 1,
                "reached": True,
            },
        )
        return batch

    def _causes_seen(self, arrivals: dict[str, _Arrivals]) -> dict[str, datetime]:
        causes = {arrived.values[0]["cause"] for arrived in arrivals.values()}
        groups = Group.objects.using(self.alias).filter(buffer=self.buffer, cause__in=causes)
        # A cause whose groups were all marked resolved was seen, but counts as gone.
        return dict(groups.values_list("cause").annotate(Max("last_seen_at")))

    def _lock_groups(self, arrivals: dict[str, _Arrivals]) -> dict[str, Group]:
        """Every group of these fingerprints, made where missing, locked in the order of their ids."""
        groups = Group.objects.using(self.alias).filter(buffer=self.buffer, fingerprint__in=arrivals)
        known = set(groups.values_list("fingerprint", flat=True))
        fresh = [self._new_group(fp, arrivals[fp]) for fp in sorted(arrivals.keys() - known)]
        if fresh:
            Group.objects.using(self.alias).bulk_create(fresh, ignore_conflicts=True)
        locked = groups.select_related("batch").order_by("pk")
        return {group.fingerprint: group for group in locked.select_for_update(of=_self_of(self.alias))}

    def _new_group(self, fingerprint: str, arrived: _Arrivals) -> Group:
        first = next((value for value in arrived.values if value.get("full")), arrived.values[0])
        at = _time(arrived.values[0])
        return Group(
            buffer=self.buffer,
            fingerprint=fingerprint,
            cause=first["cause"],
            title=first["title"][:255],
            level=first["level"],
            logger=first["logger"][:255],
            first_seen_at=at,
            last_seen_at=at,
            episode_at=at,
        )

    def _insert_records(
        self, batch: Batch, groups: dict[str, Group], ordered: list[tuple[str, _Arrivals]]
    ) -> None:
        stored = self._stored(batch, [group.pk for group in groups.values()])
        fresh: list[Record] = []
        for fingerprint, arrived in ordered:
            group = groups[fingerprint]
            silenced = group.is_silenced(self.now)
            rows, has_full, folded = stored[group.pk, silenced]
            to_fold = list(arrived.folded)
            for value in arrived.values:
                if rows < KEEP or (value.get("full") and not has_full):
                    fresh.append(self._record(batch, group, value, silenced=silenced))
                    rows += 1
                    has_full = has_full or bool(value.get("full"))
                else:
                    to_fold.append(value)
            if to_fold and folded is not None:
                _fold_into(folded, to_fold)
                folded.save(using=self.alias, update_fields=["count", "first_at", "last_at", "messages"])
            elif to_fold:
                row = self._record(batch, group, to_fold[0], silenced=silenced)
                row.folded, row.count, row.full = True, 0, False
                _fold_into(row, to_fold)
                fresh.append(row)
        Record.objects.using(self.alias).bulk_create(fresh)
        self._remember_samples(groups, fresh)

    def _stored(self, batch: Batch, group_ids: list[int]) -> dict[tuple[int, bool], tuple[int, bool, Record | None]]:
        """What this segment has stored in this batch before, by group and silence: rows, whether one is full, the fold."""
        found: dict[tuple[int, bool], tuple[int, bool, Record | None]] = defaultdict(lambda: (0, False, None))
        if batch.record_count == 0:
            return found
        rows = Record.objects.using(self.alias).filter(batch=batch, group__in=group_ids, segment=self.source.id)
        for row in rows.only("group_id", "silenced", "folded", "full", "count", "first_at", "last_at", "messages"):
            number, has_full, fold = found[row.group_id, row.silenced]
            found[row.group_id, row.silenced] = (
                number + (not row.folded),
                has_full or row.full,
                row if row.folded else fold,
            )
        return found

    def _record(self, batch: Batch, group: Group, value: dict[str, Any], *, silenced: bool) -> Record:
        at = _time(value)
        full = bool(value.get("full"))
        details = {name: value[name] for name in DETAILS if name in value}
        where = f"{value['pathname']}:{value.get('lineno')} in {value.get('function')}" if value.get("pathname") else ""
        return Record(
            batch=batch,
            group=group,
            segment=self.source.id,
            full=full,
            silenced=silenced,
            first_at=at,
            last_at=at,
            level=value["level"],
            logger=value["logger"][:255],
            message=value["message"],
            where=where[:500],
            traceback=value.get("traceback", ""),
            request=value.get("request"),
            extra=value.get("extra"),
            details=details or None,
            html=value.get("html", ""),
            host=value["host"][:255],
            process=value["process"],
        )

    def _remember_samples(self, groups: dict[str, Group], fresh: list[Record]) -> None:
        """Each group points to its last full sample; the backends that can't return ids of many rows are asked."""
        full = [record for record in fresh if record.full]
        if full and full[0].pk is None:
            newest = Record.objects.using(self.alias).filter(
                batch=full[0].batch, group__in={record.group_id for record in full}, full=True
            )
            ids = dict(newest.values_list("group_id").annotate(Max("pk")))
        else:
            ids = {record.group_id: record.pk for record in full}
        for group in groups.values():
            if group.pk in ids:
                group.sample_id = ids[group.pk]

    def _save_groups(self, groups: Iterable[Group]) -> None:
        Group.objects.using(self.alias).bulk_update(
            groups,
            [
                "count",
                "level",
                "last_seen_at",
                "episode_at",
                "episode_count",
                "episode_batch",
                "batch",
                "resolved_at",
                "sample",
            ],
        )

    def _tally(self, groups: dict[str, Group], ordered: list[tuple[str, _Arrivals]]) -> None:
        """Add to the hourly counts; the locks on the groups keep two importers apart."""
        counts: Counter[tuple[int, datetime, int]] = Counter()
        for fingerprint, arrived in ordered:
            for value in arrived.everything():
                hour = _time(value).replace(minute=0, second=0, microsecond=0)
                counts[groups[fingerprint].pk, hour, value["level"]] += 1
        hours = {hour for _group, hour, _level in counts}
        stored = Tally.objects.using(self.alias).filter(
            group__in=[group.pk for group in groups.values()], hour_at__in=hours
        )
        known = {(tally.group_id, tally.hour_at, tally.level): tally for tally in stored}
        fresh = []
        for key, count in counts.items():
            if key in known:
                known[key].count += count
            else:
                fresh.append(Tally(group_id=key[0], hour_at=key[1], level=key[2], count=count))
        Tally.objects.using(self.alias).bulk_update([known[key] for key in counts if key in known], ["count"])
        Tally.objects.using(self.alias).bulk_create(fresh)

    def _update_batch(
        self,
        batch: Batch,
        arrivals: dict[str, _Arrivals],
        count: int,
        silenced: int,
        lost: int,
        new_groups: int,
        due: policy.Due | None,
    ) -> None:
        """The one statement on the hot row; if the batch was sealed meanwhile, everything starts over."""
        times = [_time(value) for arrived in arrivals.values() for value in (arrived.values + arrived.folded[-1:])]
        first, last = min(times, default=self.now), max(times, default=self.now)
        level = max((v["level"] for arrived in arrivals.values() for v in arrived.everything()), default=0)
        changes: dict[str, Any] = {
            "record_count": F("record_count") + count,
            "silenced_count": F("silenced_count") + silenced,
            "lost_count": F("lost_count") + lost,
            "group_count": F("group_count") + new_groups,
            "level": Greatest(F("level"), Value(level)),
            "first_at": Case(When(first_at__isnull=True, then=Value(first)), default=Least(F("first_at"), Value(first))),
            "last_at": Case(When(last_at__isnull=True, then=Value(last)), default=Greatest(F("last_at"), Value(last))),
        }
        if due and not self.mailed:
            sooner = Q(due_at__isnull=True) | Q(due_at__gt=due.at)
            # MySQL assigns from left to right and sees the new values: reason must come before due_at.
            changes["reason"] = Case(When(sooner, then=Value(str(due.reason))), default=F("reason"))
            changes["due_at"] = Case(When(sooner, then=Value(due.at)), default=F("due_at"))
        rows = Batch.objects.using(self.alias).filter(pk=batch.pk)
        if not self.mailed:
            rows = rows.filter(status=Status.OPEN)
        if not rows.update(**changes):
            raise _Lost


DETAILS = (
    "title",
    "pathname",
    "lineno",
    "function",
    "template",
    "thread",
    "task",
    "process_name",
    "exception",
    "stack_info",
    "formatted",
    "cut",
)


def load_history(alias: str, buffer: str, now: datetime) -> policy.History:
    """What the buffer mailed lately, for the rules."""
    rows = Batch.objects.using(alias).filter(buffer=buffer, sealed_at__isnull=False).order_by("-sealed_at")
    sealed = tuple((Reason(reason), min(at, now)) for reason, at in rows.values_list("reason", "sealed_at")[:100])
    return policy.History(last_mail_at=sealed[0][1] if sealed else None, sealed=sealed)


def rules_of(buffer: str) -> policy.Rules:
    """The rules of the buffer's handler in this process, else the defaults."""
    handler = conf.find_buffer(buffer)
    return handler.rules if handler is not None else policy.Rules()


def _configuration(buffer: str, source: spool.Source) -> tuple[policy.Rules, dict[str, Any]]:
    """The buffer's rules and addressee: from its handler in this process, else from what the segment's owner wrote."""
    if conf.find_buffer(buffer) is not None:
        return rules_of(buffer), {}
    written = source.buffers().get(buffer, {})
    try:
        rules = policy.Rules(**written.get("rules", {}))
    except (TypeError, ValueError):
        rules = policy.Rules()
    recipients = [str(address) for address in written.get("recipients") or []]
    addressee = {"recipients": recipients, "sender": str(written.get("sender", ""))[:320]}
    return rules, addressee | {"using": str(written.get("using", ""))[:200]}


def _sighting(
    group: Group, arrived: _Arrivals, cause_seen_at: datetime | None, now: datetime
) -> policy.Sighting:
    times = [_time(value) for value in arrived.everything()]
    batch = group.batch
    mailed_at = batch.sealed_at if batch is not None and batch.sealed_at else group.notified_at
    return policy.Sighting(
        level=max(value["level"] for value in arrived.everything()),
        count=arrived.count,
        first_at=min(times),
        last_at=max(times),
        group_seen_at=group.last_seen_at if group.count else None,
        cause_seen_at=cause_seen_at,
        count_before=group.episode_count,
        mailed_at=min(mailed_at, now) if mailed_at else None,
        resolved=group.resolved_at is not None,
        silenced=group.is_silenced(now),
    )


def _update_group(
    group: Group, batch: Batch, arrived: _Arrivals, sighting: policy.Sighting, state: Reason
) -> None:
    if state is not Reason.REPEAT:
        group.episode_at = sighting.first_at
        group.episode_count = 0
        group.episode_batch = batch
    group.count += arrived.count
    group.episode_count += arrived.count
    group.level = max(group.level, sighting.level)
    group.last_seen_at = max(group.last_seen_at, sighting.last_at)
    group.batch = batch
    group.resolved_at = None


def _fold_into(row: Record, values: list[dict[str, Any]]) -> None:
    times = [_time(value) for value in values]
    row.count += len(values)
    row.first_at = min(row.first_at, *times)
    row.last_at = max(row.last_at, *times)
    messages = Counter(row.messages)
    for value in values:
        text = value["message"][:200]
        messages[text if text in messages or len(messages) <= MAX_MESSAGES else ""] += 1
    row.messages = dict(messages)


def _time(value: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(value["time"], UTC)


def _self_of(alias: str) -> tuple[str, ...]:
    """Lock the groups alone, not the batches joined to them, where the database can say so."""
    return ("self",) if connections[alias].features.has_select_for_update_of else ()
