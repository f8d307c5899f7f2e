"""The past of a group in charts: the last day by the hour, the last two weeks by the day."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta

from django.db.models import Sum
from django.utils import formats
from django.utils.safestring import SafeString
from django.utils.translation import ngettext

from .. import moments
from ..models import Group, Tally
from . import charts, words
from .overview import HOUR, HOURS, last_hours

DAYS = 14


def hourly(groups: list[int], now: datetime) -> dict[int, dict[datetime, int]]:
    """Records by group and hour over the last day, of all groups in one query."""
    found: dict[int, dict[datetime, int]] = defaultdict(dict)
    tallies = (
        Tally.objects.filter(group__in=groups, hour_at__gte=last_hours(now, HOURS))
        .values("group", "hour_at")
        .annotate(number=Sum("count"))
        .values_list("group", "hour_at", "number")
    )
    for group, hour_at, number in tallies:
        found[group][hour_at] = number
    return found


def hour_chart(hours: dict[datetime, int], level: int, now: datetime) -> SafeString:
    """The small chart in a row of the list."""
    kind = words.level_class(level)
    columns = [
        charts.Column(
            f"{formats.date_format(moments.local(moment), 'H:i')} – {hours.get(moment, 0)}",
            {kind: hours.get(moment, 0)},
        )
        for moment in charts.buckets(last_hours(now, HOURS), HOUR, HOURS)
    ]
    total = sum(hours.values())
    label = ngettext(
        "%(number)d record in the last 24 hours", "%(number)d records in the last 24 hours", total
    )
    return charts.chart(columns, label=label % {"number": total})


def daily(group: Group, now: datetime) -> list[charts.Column]:
    """The group's records by day of the current time zone over the last two weeks."""
    today = moments.local(now).date()
    days = {today - timedelta(days=back): 0 for back in range(DAYS - 1, -1, -1)}
    tallies = Tally.objects.filter(group=group, hour_at__gte=now - timedelta(days=DAYS))
    for hour_at, number in tallies.values_list("hour_at", "count"):
        day = moments.local(hour_at).date()
        if day in days:
            days[day] += number
    kind = words.level_class(group.level)
    return [
        charts.Column(f"{formats.date_format(day, 'D j M')} – {number}", {kind: number})
        for day, number in days.items()
    ]
