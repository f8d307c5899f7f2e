"""What a batch holds, as the digest wants it: aggregates made by the database, a few rows of each group."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django.db import router
from django.db.models import (
    Case,
    Exists,
    IntegerField,
    Max,
    Min,
    OuterRef,
    Prefetch,
    QuerySet,
    Sum,
    Value,
    When,
)
from django.urls import NoReverseMatch, reverse

from .. import conf, digest, moments
from ..models import Batch, Group, Record

SHOWN_GROUPS = 130  # more than a mail has room for; the rest is a number
FULL_GROUPS = 24  # those for which rows are read
ROWS_READ = 2_000
PAGE = 500

Key = tuple[int, int]  # a batch and a group


class Contents:
    """What batches hold, read for all of them at once.

    Of one batch that is a few rows of each group worth showing; several must be small ones, since much of
    what they hold is in memory together.
    """

    def __init__(self, batches: Sequence[Batch]) -> None:
        rows = Record.objects.using(_alias()).filter(batch__in=[batch.pk for batch in batches])
        self._aggregates: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in _aggregates(rows)[: SHOWN_GROUPS if len(batches) == 1 else None]:
            self._aggregates[row["batch"]].append(row)
        full = {
            (batch, row["group"]) for batch, found in self._aggregates.items() for row in found[:FULL_GROUPS]
        }
        ids = {group for _batch, group in full}
        self._groups = Group.objects.using(_alias()).in_bulk(
            {row["group"] for found in self._aggregates.values() for row in found}
        )
        shown = rows.filter(group__in=ids, silenced=False)
        self._hosts, self._processes = _where(shown)
        self._messages, self._spans = _occurrences(shown)
        self._samples = _samples(rows, full, self._groups)

    def report(self, batch: Batch, now: datetime) -> digest.Report:
        """One of the batches as a digest.Report; an open one as it would be if it were sealed now."""
        aggregates = self._aggregates[batch.pk][:SHOWN_GROUPS]
        shown = digest.Report(
            buffer=batch.buffer,
            reason=batch.reason,
            groups=[self._group(batch, row) for row in aggregates],
            record_count=batch.record_count,
            group_count=batch.group_count,
            silenced_count=batch.silenced_count,
            lost_count=batch.lost_count,
            level=batch.level,
            opened_at=batch.opened_at,
            first_at=batch.first_at or batch.opened_at,
            last_at=batch.last_at or batch.opened_at,
            sealed_at=batch.sealed_at or now,
            message_id=batch.message_id,
            batch_id=batch.pk,
            batch_url=admin_url("batch", batch.pk),
            records=lambda: _values(batch),
            # Where all groups are shown, the mail counts for itself.
            new_count=_count_new(batch) if len(aggregates) < batch.group_count else None,
        )
        if batch.group_count == 1 and aggregates:
            shown.references = root_of(self._groups[aggregates[0]["group"]], batch)
        return shown

    def _group(self, batch: Batch, row: dict[str, Any]) -> digest.GroupReport:
        group, key = self._groups[row["group"]], (batch.pk, row["group"])
        sample = self._samples.get(key)
        return digest.GroupReport(
            fingerprint=group.fingerprint,
            title=group.title,
            level=row["worst"],
            logger=group.logger,
            count=row["number"],
            total=group.count,
            state=_state(group, batch),
            first_at=row["first"],
            last_at=row["last"],
            first_seen_at=group.first_seen_at,
            hosts=dict(self._hosts[key]),
            processes=self._processes[key],
            messages=self._messages[key].most_common(),
            spans=self._spans[key],
            sample=as_value(sample) if sample is not None else None,
            url=admin_url("group", group.pk),
        )


def report(batch: Batch, now: datetime) -> digest.Report:
    """The batch as a digest.Report; an open one as it would be if it were sealed now."""
    return Contents([batch]).report(batch, now)


def root_of(group: Group, batch: Batch) -> str:
    """The Message-ID under which the mails about one group since it was new are threaded; none has it."""
    name = f"{group.buffer}\0{group.fingerprint}\0{group.episode_at.isoformat()}"
    domain = batch.message_id.rpartition("@")[2].strip("<> ") or "localhost"
    return f"<maillog-{hashlib.blake2b(name.encode(), digest_size=12).hexdigest()}@{domain}>"


def admin_url(model: str, key: int) -> str:
    """The absolute address of a row's page in the admin; empty without MAILLOG_SITE_URL or admin."""
    site = conf.site_url()
    if not site:
        return ""
    try:
        return site + reverse(f"admin:django_maillog_{model}_change", args=[key])
    except NoReverseMatch:
        return ""


def _aggregates(rows: QuerySet[Record]) -> QuerySet[Record, Any]:
    """One row a group of a batch: the new ones first, then by level and count.

    No join: MySQL may start one from the groups, and read all that they ever had.
    """
    is_new = Exists(Group.objects.filter(pk=OuterRef("group"), episode_batch=OuterRef("batch")))
    old = Min(Case(When(is_new, then=Value(0)), default=Value(1), output_field=IntegerField()))
    return (
        rows.filter(silenced=False)
        .values("batch", "group")
        .annotate(
            number=Sum("count"), first=Min("first_at"), last=Max("last_at"), worst=Max("level"), old=old
        )
        .order_by("batch", "old", "-worst", "-number", "group")
    )


def _count_new(batch: Batch) -> int:
    shown = Record.objects.filter(batch=batch, group=OuterRef("pk"), silenced=False)
    return Group.objects.using(_alias()).filter(Exists(shown), episode_batch=batch).count()


def _state(group: Group, batch: Batch) -> str:
    if group.episode_batch_id != batch.pk:
        return "repeat"
    return "regressed" if group.first_seen_at < group.episode_at else "new"


def _where(rows: QuerySet[Record]) -> tuple[defaultdict[Key, Counter[str]], Counter[Key]]:
    """Records by host, and the number of processes, of each group of a batch."""
    hosts: defaultdict[Key, Counter[str]] = defaultdict(Counter)
    processes: Counter[Key] = Counter()
    fields = ("batch", "group", "host", "process")
    for batch, group, host, _process, number in rows.values_list(*fields).annotate(Sum("count")):
        hosts[batch, group][host] += number
        processes[batch, group] += 1
    return hosts, processes


def _occurrences(
    rows: QuerySet[Record],
) -> tuple[defaultdict[Key, Counter[str]], defaultdict[Key, list[tuple[datetime, datetime, int]]]]:
    """The distinct messages and the times of each group of a batch, from its rows."""
    messages: defaultdict[Key, Counter[str]] = defaultdict(Counter)
    spans: defaultdict[Key, list[tuple[datetime, datetime, int]]] = defaultdict(list)
    fields = ("batch", "group", "first_at", "last_at", "count", "folded", "message", "messages")
    for batch, group, first_at, last_at, count, folded, message, folded_messages in rows.order_by(
        "batch", "group", "pk"
    ).values_list(*fields)[:ROWS_READ]:
        spans[batch, group].append((first_at, last_at, count))
        for text, number in folded_messages.items() if folded else [(message[:200], count)]:
            messages[batch, group][text] += number
    return messages, spans


def _samples(rows: QuerySet[Record], keys: set[Key], groups: dict[int, Group]) -> dict[Key, Record]:
    """One full capture of each group of a batch: the first in this batch, else the last there was."""

    def first(rows: QuerySet[Record]) -> dict[Key, int]:
        found = rows.values_list("batch", "group").annotate(Min("pk"))
        return {(batch, group): pk for batch, group, pk in found}

    ids = {group for _batch, group in keys}
    chosen = {key: sample for key in keys if (sample := groups[key[1]].sample_id)}
    chosen |= first(rows.filter(group__in=ids, full=True))
    if missing := keys - chosen.keys():
        chosen = first(rows.filter(group__in={group for _batch, group in missing})) | chosen
    records = Record.objects.using(_alias()).in_bulk(set(chosen.values()))
    return {key: records[pk] for key, pk in chosen.items() if pk in records}


def as_value(record: Record) -> dict[str, Any]:
    """A stored record in the shape of a prepared value; what it folds is in ``count`` and ``last_time``."""
    value: dict[str, Any] = {
        "time": moments.seconds(record.first_at),
        "level": record.level,
        "logger": record.logger,
        "message": record.message,
        "host": record.host,
        "process": record.process,
        **(record.details or {}),
    }
    loaded = vars(record)
    for name in ("traceback", "request", "extra", "html"):
        if loaded.get(name):  # not loaded: not wanted, and not worth a query a record
            value[name] = loaded[name]
    if record.full:
        value["full"] = True
    if record.count > 1:
        value |= {
            "count": record.count,
            "last_time": moments.seconds(record.last_at),
            "messages": record.messages,
        }
    return value


def _values(batch: Batch) -> Iterator[dict[str, Any]]:
    """Every stored record, page by page: no cursor is held open, which PgBouncer would break."""
    rows = Record.objects.using(_alias()).filter(batch=batch)
    ends = rows.aggregate(first=Min("pk"), last=Max("pk"))
    if ends["first"] is None:
        return
    # Between the two: who walks the primary key, as MySQL may, must not begin with the oldest record of all.
    groups = Prefetch("group", Group.objects.using(_alias()))
    rows = rows.prefetch_related(groups).defer("html").order_by("pk").filter(pk__lte=ends["last"])
    start = ends["first"]
    page: list[Record] | None = None
    while page is None or len(page) == PAGE:
        page = list(rows.filter(pk__gte=start)[:PAGE])
        for record in page:
            yield as_value(record) | {"fingerprint": record.group.fingerprint, "title": record.group.title}
            start = record.pk + 1


def _alias() -> str:
    return router.db_for_write(Batch)
