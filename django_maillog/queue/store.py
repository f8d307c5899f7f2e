"""A chunk on its way into the tables: groups, records, hourly counts, and last the batch.

Rows are locked in one order (buffers by name; of each its groups by id, then its batch), so importers never
wait for each other in a circle. All counting is done before: the transaction holds SQLite's write lock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Max, Model, OuterRef, Subquery

from .. import policy
from ..models import Batch, Group, Record, Status
from ..policy import Reason
from . import rows
from .arrivals import KEEP, Arrivals, Fold, Occurrences, Value, count_message
from .chunks import Chunk
from .contention import Lost
from .history import Configurations, load_history
from .rows import Row

GROUP_COLUMNS = (
    "count",
    "level",
    "first_seen_at",
    "last_seen_at",
    "episode_at",
    "episode_count",
    "episode_batch_id",
    "batch_id",
    "resolved_at",
)
NEW_GROUP_COLUMNS = tuple(field.attname for field in Group._meta.concrete_fields if not field.primary_key)
FOLD_COLUMNS = ("count", "first_at", "last_at", "messages")
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


@dataclass
class _Stored:
    """What a batch holds already of one group and process."""

    rows: int = 0
    has_full: bool = False
    fold: Record | None = None


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
        groups = self._lock_groups(arrivals)
        known = [group for group in groups.values() if group.pk]
        batches = self._batches(known)
        causes = self._causes_seen(arrivals, groups)
        for fingerprint, arrived in sorted(arrivals.items(), key=lambda item: item[1].first):
            group = groups[fingerprint]
            batch = batches.get(group.batch_id or 0)
            sighting = _sighting(group, arrived, causes.get(group.cause), batch, self.now)
            causes[group.cause] = max(sighting.last_at, causes.get(group.cause, sighting.last_at))
            self.dues.append(policy.due(self.rules, self.history, self.now, sighting))
            if sighting.silenced:
                self.silenced += arrived.count
            else:
                self._enter(group, batch)
            self._count(group, arrived, sighting)
        rows.update(self.alias, Group, [_columns(group, (*GROUP_COLUMNS, "id")) for group in known])
        self._insert_groups(groups)
        self._store_records(arrivals, groups, stored=self._stored(arrivals, known))
        rows.add_tallies(self.alias, list(_tallies(arrivals, groups)))

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
        batches = Batch.objects.using(self.alias).select_for_update().defer("text", "html")
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
        names = [
            "record_count",
            "silenced_count",
            "lost_count",
            "group_count",
            "level",
            "first_at",
            "last_at",
        ]
        batch.save(using=self.alias, update_fields=[*names, "due_at", "reason"])

    # Groups

    def _lock_groups(self, arrivals: dict[str, Arrivals]) -> dict[str, Group]:
        """The group of each fingerprint, locked in the order of ids; those not known yet without an id."""
        groups = Group.objects.using(self.alias)
        found = groups.filter(buffer=self.batch.buffer, fingerprint__in=arrivals)
        # By key alone: MySQL locks rows in the order in which an index finds them.
        keys = sorted(found.values_list("pk", flat=True))
        locked = {g.fingerprint: g for g in groups.filter(pk__in=keys).order_by("pk").select_for_update()}
        fresh = {fp: self._new_group(fp, arrivals[fp]) for fp in sorted(arrivals.keys() - locked.keys())}
        return locked | fresh

    def _new_group(self, fingerprint: str, arrived: Arrivals) -> Group:
        value = arrived.best_value()
        return Group(
            buffer=self.batch.buffer,
            fingerprint=fingerprint,
            cause=value["cause"],
            title=value["title"][:255],
            level=arrived.level,
            logger=value["logger"][:255],
            first_seen_at=arrived.first_at,
            last_seen_at=arrived.last_at,
            episode_at=arrived.first_at,
        )

    def _insert_groups(self, groups: dict[str, Group]) -> None:
        """Insert the new ones, and give them their keys; if another importer was faster, start over."""
        fresh = {fingerprint: group for fingerprint, group in groups.items() if not group.pk}
        rows.insert(self.alias, Group, [_columns(group, NEW_GROUP_COLUMNS) for group in fresh.values()])
        found = Group.objects.using(self.alias).filter(buffer=self.batch.buffer, fingerprint__in=fresh)
        for fingerprint, key in found.values_list("fingerprint", "pk"):
            fresh[fingerprint].pk = key

    def _batches(self, groups: Iterable[Group]) -> dict[int, Batch]:
        """The latest batches of the groups."""
        keys = {group.batch_id for group in groups if group.batch_id}
        return Batch.objects.using(self.alias).only("status", "sealed_at").in_bulk(keys)

    def _causes_seen(self, arrivals: dict[str, Arrivals], groups: dict[str, Group]) -> dict[str, datetime]:
        causes = {groups[fingerprint].cause for fingerprint in arrivals}
        found = Group.objects.using(self.alias).filter(buffer=self.batch.buffer, cause__in=causes)
        return dict(found.order_by().values_list("cause").annotate(Max("last_seen_at")))

    def _enter(self, group: Group, latest: Batch | None) -> None:
        """Note that a mail will show the group."""
        if group.batch_id == self.batch.pk:
            return
        if self.batch.status == Status.OPEN or latest is None or latest.status != Status.OPEN:
            self.new_groups += 1
            group.batch_id = self.batch.pk

    def _count(self, group: Group, arrived: Arrivals, sighting: policy.Sighting) -> None:
        if policy.state(self.rules, sighting) is not Reason.REPEAT:
            group.episode_at = sighting.first_at
            group.episode_count = 0
            group.episode_batch_id = self.batch.pk
        group.count += arrived.count
        group.episode_count += arrived.count
        group.level = max(group.level, sighting.level)
        group.first_seen_at = min(group.first_seen_at, sighting.first_at)
        group.last_seen_at = max(group.last_seen_at, sighting.last_at)
        group.resolved_at = None

    # Records

    def _stored(
        self, arrivals: dict[str, Arrivals], known: list[Group]
    ) -> dict[tuple[int, str, int, bool], _Stored]:
        """What the batch holds of these groups and processes, by group, host, process and silence."""
        found: dict[tuple[int, str, int, bool], _Stored] = defaultdict(_Stored)
        if not self.batch.record_count:
            return found
        processes = {process for arrived in arrivals.values() for _host, process in arrived.places}
        records = Record.objects.using(self.alias).filter(
            batch=self.batch, group__in=known, process__in=processes
        )
        fields = ("group_id", "host", "process", "silenced", "folded", "full", "count", "first_at", "last_at")
        for record in records.only(*fields, "messages").select_for_update():
            stored = found[record.group_id, record.host, record.process, record.silenced]
            stored.has_full = stored.has_full or record.full
            if record.folded:
                stored.fold = record
            else:
                stored.rows += 1
        return found

    def _store_records(
        self,
        arrivals: dict[str, Arrivals],
        groups: dict[str, Group],
        stored: dict[tuple[int, str, int, bool], _Stored],
    ) -> None:
        fresh: list[Row] = []
        grown: list[Record] = []
        sampled: set[int] = set()
        for fingerprint, arrived in arrivals.items():
            group = groups[fingerprint]
            silenced = group.is_silenced(self.now)
            for (host, process), occurrences in arrived.places.items():
                before = stored[group.pk, host[:255], process, silenced]
                values, fold = _split(occurrences, before)
                fresh += [self._row(group, value, silenced=silenced) for value in values]
                if any("full" in value for value in values):
                    sampled.add(group.pk)
                if fold is not None and before.fold is not None:
                    _grow(before.fold, fold)
                    grown.append(before.fold)
                elif fold is not None:
                    fresh.append(self._row(group, fold.value, silenced=silenced) | _folded(fold))
        rows.insert(self.alias, Record, fresh)
        rows.update(self.alias, Record, [_columns(record, (*FOLD_COLUMNS, "id")) for record in grown])
        self._remember_samples(sampled)

    def _row(self, group: Group, value: Value, *, silenced: bool) -> Row:
        at = datetime.fromtimestamp(value["time"], UTC)
        details = {name: value[name] for name in DETAILS if name in value}
        where = ""
        if value.get("pathname"):
            where = f"{value['pathname']}:{value.get('lineno')} in {value.get('function')}"
        return {
            "batch_id": self.batch.pk,
            "group_id": group.pk,
            "folded": False,
            "full": "full" in value,
            "silenced": silenced,
            "first_at": at,
            "last_at": at,
            "count": 1,
            "level": value["level"],
            "logger": value["logger"][:255],
            "host": value["host"][:255],
            "process": value["process"],
            "where": where[:500],
            "message": value["message"],
            "messages": {},
            "traceback": value.get("traceback", ""),
            "request": value.get("request"),
            "extra": value.get("extra"),
            "details": details or None,
            "html": value.get("html", ""),
        }

    def _remember_samples(self, groups: set[int]) -> None:
        """Each of these groups points to its last full record."""
        full = Record.objects.using(self.alias).filter(batch=self.batch, group=OuterRef("pk"), full=True)
        newest = full.order_by("-pk").values("pk")[:1]
        if groups:
            Group.objects.using(self.alias).filter(pk__in=groups).update(sample=Subquery(newest))


def _sighting(
    group: Group, arrived: Arrivals, cause_seen_at: datetime | None, latest: Batch | None, now: datetime
) -> policy.Sighting:
    mailed_at = group.notified_at
    if latest is not None and latest.sealed_at is not None and latest.status != Status.CANCELLED:
        mailed_at = latest.sealed_at
    return policy.Sighting(
        level=arrived.level,
        count=arrived.count,
        first_at=arrived.first_at,
        last_at=arrived.last_at,
        group_seen_at=group.last_seen_at if group.count else None,
        cause_seen_at=cause_seen_at,
        count_before=group.episode_count,
        mailed_at=min(mailed_at, now) if mailed_at else None,
        resolved=group.resolved_at is not None,
        silenced=group.is_silenced(now),
    )


def _split(occurrences: Occurrences, before: _Stored) -> tuple[list[Value], Fold | None]:
    """The values that get rows of their own, given what the batch holds already, and the rest."""
    values: list[Value] = []
    fold = (
        occurrences.fold.copy() if occurrences.fold else None
    )  # a chunk may be stored again, after a deadlock
    for value in occurrences.kept:
        if before.rows < KEEP or ("full" in value and not before.has_full):
            values.append(value)
            before.rows += 1
            before.has_full = before.has_full or "full" in value
            continue
        fold = fold or Fold(value)
        fold.add(value)
    return values, fold


def _folded(fold: Fold) -> Row:
    """What a new row of repeats has of its own."""
    first, last = datetime.fromtimestamp(fold.first, UTC), datetime.fromtimestamp(fold.last, UTC)
    facts = {"count": fold.count, "first_at": first, "last_at": last, "messages": fold.messages}
    return facts | {"folded": True, "full": False}


def _grow(row: Record, fold: Fold) -> None:
    row.first_at = min(row.first_at, datetime.fromtimestamp(fold.first, UTC))
    row.last_at = max(row.last_at, datetime.fromtimestamp(fold.last, UTC))
    row.count += fold.count
    messages = dict(row.messages)
    for message, number in fold.messages.items():
        count_message(messages, message, number)
    row.messages = messages


def _columns(instance: Model, names: Iterable[str]) -> Row:
    values = vars(instance)
    return {name: values[name] for name in names}


def _tallies(arrivals: dict[str, Arrivals], groups: dict[str, Group]) -> Iterator[Row]:
    for fingerprint in sorted(arrivals, key=lambda fingerprint: groups[fingerprint].pk):
        for (hour, level), count in sorted(arrivals[fingerprint].hours.items()):
            hour_at = datetime.fromtimestamp(hour * 3600, UTC)
            yield {"group_id": groups[fingerprint].pk, "hour_at": hour_at, "level": level, "count": count}
