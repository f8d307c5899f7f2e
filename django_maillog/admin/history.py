"""The past of a group in charts: the last day by the hour, the last two weeks by the day."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta

from django.db.models import Sum
from django.utils import formats
from django.utils.safestring import SafeString
from django.utils.translation import ngettext

from .. import moments
from ..models import Group, Tally
from . import charts, words

DAYS = 14


def last_hours(now: datetime) -> list[datetime]:
    """The starts of the last 24 hours, the running one included."""
    running = moments.hour_of(now)
    return [moments.at(hour * moments.HOUR) for hour in range(running - 23, running + 1)]


def hourly(groups: list[Group], now: datetime) -> dict[int, Counter[datetime]]:
    """Records by group and hour over the last day, of all groups in one query."""
    found: dict[int, Counter[datetime]] = defaultdict(Counter)
    tallies = Tally.objects.filter(group__in=groups, hour_at__gte=last_hours(now)[0])
    for tally in tallies.values("group", "hour_at").annotate(number=Sum("count")):
        found[tally["group"]][tally["hour_at"]] = tally["number"]
    return found


def hour_chart(hours: Counter[datetime], level: int, now: datetime) -> SafeString:
    columns = [
        _column(formats.date_format(moments.local(hour_at), "H:i"), level, hours[hour_at])
        for hour_at in last_hours(now)
    ]
    total = hours.total()
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
    return [_column(formats.date_format(day, "D j M"), group.level, number) for day, number in days.items()]


def _column(time: str, level: int, number: int) -> charts.Column:
    return charts.Column(f"{time} – {number}", {words.level_class(level): number})
