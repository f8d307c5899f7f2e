"""The page of one group: facts, its last days, its last full sample, what else its newest records say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, OuterRef
from django.template.defaultfilters import truncatechars
from django.utils.translation import gettext as _

from .. import language, moments
from ..capture.text import has_own_title, shortened
from ..language import formatted
from ..models import Batch, Group, Record
from . import words
from .charts import chart
from .history import DAYS, daily
from .record_page import record_context

# What the page says of messages and hosts, it says of this many of the newest rows.
ROWS_READ = 200
MESSAGES_SHOWN = 20
RECORDS_SHOWN = 10
BATCHES_SHOWN = 10


def context(group: Group, now: datetime, *, may_read: bool) -> dict[str, Any]:
    """What the page's template shows, but for the form; what its records say only to who ``may_read`` it."""
    records = Record.objects.filter(group=group).order_by("-last_at", "-pk")
    fields = ("message", "messages", "titles", "details", "count", "host", "last_at")
    newest = list(records.only(*fields)[:ROWS_READ])
    sample = (group.sample or records.first()) if may_read else None
    columns = daily(group, now)
    hosts: Counter[str] = Counter()
    for record in newest:
        hosts[record.host] += record.count
    return {
        "state": words.group_badge(group, now),
        "level": words.level_badge(group.level),
        "facts": list(_facts(group, now)),
        "silenced": group.is_silenced(now),
        "chart": chart(columns, label=_("records of the last 14 days"), step=12, height=40),
        "chart_days": columns,
        "first_day": language.date(moments.local(now - timedelta(days=DAYS - 1)), with_year=False),
        "hosts": hosts.most_common(MESSAGES_SHOWN),
        "distinct": _messages(newest) if may_read else [],
        "values": _values(newest) if may_read else [],
        "rows_read": len(newest) if len(newest) == ROWS_READ else 0,
        "records": [
            (record, words.when(record.last_at, now)) for record in newest[:RECORDS_SHOWN] if may_read
        ],
        "batches": [
            (batch, words.status_badge(batch, now), words.when(batch.opened_at, now))
            for batch in _batches(group)
        ],
        "sample": record_context(sample) if sample else None,
    }


def _facts(group: Group, now: datetime) -> Iterator[tuple[str, Any]]:
    yield _("Records"), formatted(group.count)
    yield _("First seen"), words.when(group.first_seen_at, now)
    yield _("Last seen"), words.when(group.last_seen_at, now)
    if group.first_release:
        yield _("First seen in release"), group.first_release
    if group.last_release:
        yield _("Last seen in release"), group.last_release
    yield _("Last mailed"), words.when(group.notified_at, now)
    yield _("Logger"), group.logger
    yield _("Buffer"), group.buffer
    if group.is_silenced(now):
        by = _("%(name)s: %(note)s") if group.silence_note else "%(name)s"
        yield _("Silenced by"), by % {"name": group.silenced_by, "note": group.silence_note}
    if group.resolved_at:
        yield _("Resolved"), words.when(group.resolved_at, now)
    yield _("Fingerprint"), group.fingerprint


def _messages(records: list[Record]) -> list[tuple[str, int]]:
    """Distinct messages with their counts, the most frequent first."""
    counts: Counter[str] = Counter()
    for record in records:
        counts.update(record.messages or {shortened(record.message, 200): record.count})
    return _shown(counts)


def _values(records: list[Record]) -> list[tuple[str, int]]:
    """Distinct exceptions with their counts; none if all are one."""
    counts: Counter[str] = Counter()
    for record in records:
        title = str((record.details or {}).get("title", ""))
        own = {title: record.count} if has_own_title(title, record.message) else {}
        counts.update(record.titles or own)
    return _shown(counts) if len(counts) > 1 else []


def _shown(counts: Counter[str]) -> list[tuple[str, int]]:
    others = counts.pop("", 0)
    shown = [(truncatechars(message, 300), number) for message, number in counts.most_common(MESSAGES_SHOWN)]
    others += counts.total() - sum(number for _message, number in shown)
    return [*shown, (_("others"), others)] if others else shown


def _batches(group: Group) -> list[Batch]:
    """The newest batches with records of the group: one look into an index for each batch."""
    holds = Record.objects.filter(batch=OuterRef("pk"), group=group)
    batches = Batch.objects.filter(Exists(holds), opened_at__gte=group.first_seen_at - timedelta(days=1))
    fields = ("subject", "buffer", "status", "attempts", "next_attempt_at", "opened_at")
    return list(batches.only(*fields).order_by("-opened_at")[:BATCHES_SHOWN])
