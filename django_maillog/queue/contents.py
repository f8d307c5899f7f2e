"""What a batch holds, as the digest wants it: aggregates made by the database, a few rows of each group."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import router
from django.db.models import Case, IntegerField, Max, Min, QuerySet, Sum, Value, When
from django.urls import NoReverseMatch, reverse

from .. import conf, digest
from ..models import Batch, Group, Record

SHOWN_GROUPS = 130  # more than a mail has room for; the rest is a number
FULL_GROUPS = 24  # those for which rows are read
ROWS_READ = 2_000
PAGE = 500


def report(batch: Batch, now: datetime) -> digest.Report:
    """The batch as a digest.Report; for an open batch as it would be if it were sealed now."""
    aggregates = list(_aggregates(batch)[:SHOWN_GROUPS])
    groups = _groups(batch, aggregates)
    rows = Record.objects.using(_alias()).filter(batch=batch)
    shown = digest.Report(
        buffer=batch.buffer,
        reason=batch.reason,
        groups=groups,
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
        records=lambda: _values(rows),
        new_count=_new(rows, batch).count(),
    )
    if batch.group_count == 1 and aggregates:
        shown.references = root_of(Group.objects.using(_alias()).get(pk=aggregates[0]["group"]), batch)
    return shown


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


def _aggregates(batch: Batch) -> QuerySet[Record, Any]:
    """One row a group: the new ones first, then by level and count."""
    rows = Record.objects.using(_alias()).filter(batch=batch, silenced=False)
    new = Case(When(group__episode_batch=batch, then=Value(0)), default=Value(1), output_field=IntegerField())
    return (
        rows.values("group")
        .annotate(
            number=Sum("count"), first=Min("first_at"), last=Max("last_at"), worst=Max("level"), old=Min(new)
        )
        .order_by("old", "-worst", "-number", "group")
    )


def _new(rows: QuerySet[Record], batch: Batch) -> QuerySet[Record, Any]:
    return rows.filter(silenced=False, group__episode_batch=batch).values("group").distinct()


def _groups(batch: Batch, aggregates: list[dict[str, Any]]) -> list[digest.GroupReport]:
    ids = [row["group"] for row in aggregates]
    groups = Group.objects.using(_alias()).in_bulk(ids)
    full = ids[:FULL_GROUPS]
    hosts, processes = _where(batch, full)
    messages, spans = _occurrences(batch, full)
    samples = _samples(batch, [groups[pk] for pk in full])
    return [
        digest.GroupReport(
            fingerprint=groups[row["group"]].fingerprint,
            title=groups[row["group"]].title,
            level=row["worst"],
            logger=groups[row["group"]].logger,
            count=row["number"],
            total=groups[row["group"]].count,
            state=_state(groups[row["group"]], batch),
            first_at=row["first"],
            last_at=row["last"],
            first_seen_at=groups[row["group"]].first_seen_at,
            hosts=dict(hosts[row["group"]]),
            processes=processes[row["group"]],
            messages=messages[row["group"]].most_common(),
            spans=spans[row["group"]],
            sample=samples.get(row["group"]),
            url=admin_url("group", row["group"]),
        )
        for row in aggregates
    ]


def _state(group: Group, batch: Batch) -> str:
    if group.episode_batch_id != batch.pk:
        return "repeat"
    return "regressed" if group.first_seen_at < group.episode_at else "new"


def _where(batch: Batch, ids: list[int]) -> tuple[defaultdict[int, Counter[str]], Counter[int]]:
    """Records by host, and the number of processes, of each group."""
    rows = Record.objects.using(_alias()).filter(batch=batch, group__in=ids, silenced=False)
    hosts: defaultdict[int, Counter[str]] = defaultdict(Counter)
    processes: Counter[int] = Counter()
    for group, host, _process, number in rows.values_list("group", "host", "process").annotate(Sum("count")):
        hosts[group][host] += number
        processes[group] += 1
    return hosts, processes


def _occurrences(
    batch: Batch, ids: list[int]
) -> tuple[defaultdict[int, Counter[str]], defaultdict[int, list[tuple[datetime, datetime, int]]]]:
    """The distinct messages and the times of each group, from its rows."""
    rows = (
        Record.objects.using(_alias())
        .filter(batch=batch, group__in=ids, silenced=False)
        .order_by("group", "pk")
    )
    messages: defaultdict[int, Counter[str]] = defaultdict(Counter)
    spans: defaultdict[int, list[tuple[datetime, datetime, int]]] = defaultdict(list)
    fields = ("group", "first_at", "last_at", "count", "folded", "message", "messages")
    for group, first_at, last_at, count, folded, message, folded_messages in rows.values_list(*fields)[
        :ROWS_READ
    ]:
        spans[group].append((first_at, last_at, count))
        for text, number in folded_messages.items() if folded else [(message[:200], count)]:
            messages[group][text] += number
    return messages, spans


def _samples(batch: Batch, groups: list[Group]) -> dict[int, dict[str, Any]]:
    """One full capture of each group: the first in this batch, else the last there was."""
    rows = Record.objects.using(_alias())
    in_batch = rows.filter(batch=batch, group__in=groups, full=True).values_list("group").annotate(Min("pk"))
    chosen = {group.pk: group.sample_id for group in groups if group.sample_id} | dict(in_batch)
    missing = [group.pk for group in groups if group.pk not in chosen]
    if missing:
        chosen |= dict(rows.filter(batch=batch, group__in=missing).values_list("group").annotate(Min("pk")))
    records = rows.in_bulk(set(chosen.values()))
    return {group: as_value(records[pk]) for group, pk in chosen.items() if pk in records}


def as_value(record: Record) -> dict[str, Any]:
    """A stored record in the shape of a prepared value; what it folds is in ``count`` and ``last_time``."""
    value: dict[str, Any] = {
        "time": record.first_at.timestamp(),
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
        value |= {"count": record.count, "last_time": record.last_at.timestamp(), "messages": record.messages}
    return value


def _values(rows: QuerySet[Record]) -> Iterator[dict[str, Any]]:
    """Every stored record, page by page: no cursor is held open, which PgBouncer would break."""
    rows = rows.select_related("group").defer("html").order_by("pk")
    last = 0
    while page := list(rows.filter(pk__gt=last)[:PAGE]):
        for record in page:
            yield as_value(record) | {"fingerprint": record.group.fingerprint, "title": record.group.title}
        last = page[-1].pk


def _alias() -> str:
    return router.db_for_write(Batch)
