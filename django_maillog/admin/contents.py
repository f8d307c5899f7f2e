"""What is in a batch: its most frequent groups, each with the times of its records as a small chart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Max, Min, QuerySet, Sum
from django.db.models.functions import TruncDay, TruncHour, TruncMinute
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ..models import Batch, Group, Record
from . import charts, words

GROUPS_SHOWN = 20
BARS = 40
FOLDS_READ = 500


def groups_of(batch: Batch, now: datetime) -> list[dict[str, Any]]:
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
    starts = charts.buckets(start, size, BARS)
    spans: dict[int, list[tuple[datetime, datetime, int]]] = {row["group"]: [] for row in rows}
    for group, moment, number in _moments(records.filter(folded=False), end - start):
        spans[group].append((moment, moment, number))
    folded = (
        records.filter(folded=True).order_by("-count").values_list("group", "first_at", "last_at", "count")
    )
    for group, first, last, number in folded[:FOLDS_READ]:
        spans[group].append((first, last, number))
    return {
        group: charts.chart(
            [
                charts.Column(f"{words.clock(at, end)} – {number}", {"bar": number})
                for at, number in zip(starts, charts.place(found, starts, size), strict=True)
            ],
            label=_("its records over the time of this batch"),
        )
        for group, found in spans.items()
    }


def _moments(records: QuerySet[Record], length: timedelta) -> Iterable[tuple[int, datetime, int]]:
    """(group, minute or hour or day, how many), as fine as the chart can show, counted by the database."""
    trunc = (
        TruncMinute
        if length <= timedelta(hours=1)
        else TruncHour
        if length <= timedelta(days=3)
        else TruncDay
    )
    moments = records.annotate(moment=trunc("last_at", tzinfo=UTC)).values("group", "moment")
    return moments.annotate(number=Sum("count")).values_list("group", "moment", "number")
