"""The page of one batch: facts, the timeline, its most frequent groups, and the mail itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Max, Min, QuerySet, Sum
from django.db.models.functions import Trunc
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from .. import buffers, links
from ..digest.timebar import Span, spread
from ..language import formatted
from ..models import Batch, Group, Outcome, Record, Status
from . import charts, words

GROUPS_SHOWN = 20
BARS = 40
FOLDS_READ = 500
WAITING = (Status.OPEN, Status.READY, Status.SENDING)


def context(batch: Batch, now: datetime) -> dict[str, Any]:
    """What the page's template shows, but for the buttons."""
    return {
        "title": words.subject(batch),
        "state": words.status_badge(batch, now),
        "orphaned": batch.status in WAITING and buffers.find(batch.buffer) is None,
        "facts": list(_facts(batch, now)),
        "timeline": list(_timeline(batch, now)),
        "groups": _groups(batch, now),
        "has_mail": has_mail(batch),
        "is_preview": not batch.text,
        "headers": _headers(batch),
        "text": links.hidden(batch.text),
    }


def has_mail(batch: Batch) -> bool:
    """Whether there is a mail to show, made or to be made."""
    return bool(batch.text) or (batch.status in WAITING and batch.record_count > 0)


def _facts(batch: Batch, now: datetime) -> Iterable[tuple[str, Any]]:
    """(label, value) of what the timeline doesn't tell."""
    yield _("Buffer"), batch.buffer
    yield _("Highest level"), words.level_badge(batch.level)
    yield _("Records"), formatted(batch.record_count)
    if batch.silenced_count:
        yield _("Of silenced problems"), batch.silenced_count
    if batch.lost_count:
        yield _("Only counted"), batch.lost_count
    yield _("Problems"), batch.group_count
    if batch.first_at and batch.last_at:
        yield _("Covers"), words.span(batch.first_at, batch.last_at, now)
    if batch.using:
        yield _("Mailer"), batch.using
    yield _("Recipients"), ", ".join(batch.recipients) or _("chosen when it is sealed")


def _timeline(batch: Batch, now: datetime) -> Iterable[tuple[str, SafeString, str, str]]:
    """(kind, time, what happened, details) from the first record to the last try, and what comes next."""
    yield "open", words.when(batch.opened_at, now), _("Opened"), ""
    if batch.status == Status.OPEN and batch.due_at:
        yield "due", words.when(batch.due_at, now), _("Due"), words.reason(batch.reason)
    if batch.sealed_at:
        yield "ready", words.when(batch.sealed_at, now), _("Sealed"), words.reason(batch.reason)
    tries = list(batch.attempt_set.order_by("tried_at", "pk"))
    for attempt in tries:
        is_running = batch.status == Status.SENDING and attempt is tries[-1]
        kind, title = _outcome("running" if is_running else attempt.outcome)
        yield kind, words.when(attempt.tried_at, now), title, attempt.error
    if batch.status == Status.READY and batch.next_attempt_at:
        yield "due", words.when(batch.next_attempt_at, now), _("Next try"), ""
    if batch.status == Status.CANCELLED:
        yield "cancelled", words.when(None, now), _("Cancelled"), ""


def _outcome(outcome: str) -> tuple[str, str]:
    known = {
        Outcome.SENT: ("sent", _("Sent")),
        Outcome.UNCONFIRMED: ("retrying", _("Handed over, but not confirmed: it may not have been sent")),
        Outcome.RETRY: ("retrying", _("Tried, to be tried again")),
        Outcome.FAILED: ("failed", _("Tried, failed for good")),
        Outcome.UNKNOWN: ("failed", _("Tried, and cut off before it was known how it ended")),
        "running": ("ready", _("Being sent right now")),
    }
    # A later version may know more.
    return known.get(outcome, ("ready", outcome))


def _headers(batch: Batch) -> dict[str, str]:
    """The mail's headers, as far as they are fixed."""
    headers = {
        "From": batch.sender,
        "To": ", ".join(batch.recipients),
        "Subject": batch.subject,
        "Message-ID": batch.message_id or "",
        **batch.headers,
    }
    return {name: value for name, value in headers.items() if value}


def _groups(batch: Batch, now: datetime) -> list[dict[str, Any]]:
    """The batch's most frequent groups, each with its count and the bar of its times: two queries."""
    records = Record.objects.filter(batch=batch, silenced=False).order_by()
    rows = list(
        records.values("group")
        .annotate(number=Sum("count"), first=Min("first_at"), last=Max("last_at"))
        .order_by("-number", "group")[:GROUPS_SHOWN]
    )
    groups = Group.objects.in_bulk([row["group"] for row in rows])
    bars = _bars(records.filter(group__in=groups), rows)
    return [
        {
            "group": groups[row["group"]],
            "level": words.level_badge(groups[row["group"]].level),
            "number": row["number"],
            "first": words.when(row["first"], now),
            "last": words.when(row["last"], now),
            "bar": bars[row["group"]],
        }
        for row in rows
        if row["group"] in groups
    ]


def _bars(records: QuerySet[Record], rows: Sequence[Mapping[str, Any]]) -> dict[int, SafeString]:
    """A small chart a group, all over the same stretch of time: two queries, each with few rows."""
    if not rows:
        return {}
    start, end = min(row["first"] for row in rows), max(row["last"] for row in rows)
    size = max((end - start) / BARS, timedelta(seconds=1))
    spans: dict[int, list[Span]] = {row["group"]: [] for row in rows}
    for group, moment, number in _moments(records.filter(folded=False), end - start):
        spans[group].append((moment, moment, number))
    folded = records.filter(folded=True).order_by("-count")[:FOLDS_READ]
    for group, first, last, number in folded.values_list("group", "first_at", "last_at", "count"):
        spans[group].append((first, last, number))
    return {group: _bar(found, start, size) for group, found in spans.items()}


def _bar(spans: Iterable[Span], start: datetime, size: timedelta) -> SafeString:
    end = start + size * BARS
    columns = spread(spans, start, end, width=BARS)
    bars = [
        charts.Column(f"{words.clock(start + size * index, end)} – {number}", {"bar": column})
        for index, (column, number) in enumerate(zip(columns, charts.whole(columns), strict=True))
    ]
    return charts.chart(bars, label=_("its records over the time of this batch"))


def _moments(records: QuerySet[Record], length: timedelta) -> Iterable[tuple[int, datetime, int]]:
    """(group, minute or hour or day, how many), as fine as the chart can show, counted by the database."""
    kind = "minute" if length <= timedelta(hours=1) else "hour" if length <= timedelta(days=3) else "day"
    moments = records.annotate(moment=Trunc("last_at", kind, tzinfo=UTC)).values("group", "moment")
    return moments.annotate(number=Sum("count")).values_list("group", "moment", "number")
