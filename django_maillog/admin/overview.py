"""The strip on top: what came in, what waits, what failed, and what needs a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, F, Min, OuterRef, Q, Sum
from django.db.models.functions import Coalesce, Left
from django.utils import formats
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .. import moments
from ..language import formatted
from ..models import Batch, Host, Outcome, Silence, Status, Tally
from . import charts, words
from .history import last_hours

# A worker looks every second or so, a cron job perhaps every few minutes.
OVERDUE_AFTER = timedelta(minutes=10)
ERRORS_SHOWN = 3
MOST_FAILED = 500
HOSTS_SHOWN = 10


def overview(now: datetime) -> dict[str, Any]:
    """The state of the whole log at one moment.

    Nine queries, none of which reads a record; of an empty log one more.
    """
    hours = _by_hour(now)
    totals = sum(hours.values(), Counter[str]())
    levels = [(words.level_badge(level), totals[words.level_class(level)]) for level in words.LEVELS]
    pending = _pending(now)
    failed = _failed()
    sent = Batch.objects.filter(status=Status.SENT, sent_at__isnull=False)
    since = min(hours)
    return {
        "strip": _strip(hours, totals.total()),
        "peak": rate(max(counts.total() for counts in hours.values())),
        "since": since,
        "levels": [(badge, formatted(number)) for badge, number in levels if number],
        "pending_count": formatted(pending["records"] or 0),
        "oldest_pending_at": pending["oldest"],
        "failed_count": failed.total(),
        "last_sent": sent.only("sent_at", "subject", "buffer").order_by("-sent_at").first(),
        "warnings": [
            *_failures(failed),
            *_unconfirmed(since),
            *_overdue(pending, now),
            *_silent_hosts(now),
            *_silences(now),
        ],
        "cards": _cards(now),
        "is_empty": not totals and not Batch.objects.exists(),
    }


def _by_hour(now: datetime) -> dict[datetime, Counter[str]]:
    """How many records of each level's colour came in each of the last 24 hours."""
    hours: dict[datetime, Counter[str]] = {hour_at: Counter() for hour_at in last_hours(now)}
    tallies = Tally.objects.filter(hour_at__gte=min(hours)).values("hour_at", "level")
    for tally in tallies.annotate(number=Sum("count")):
        # Another host's clock may be ahead.
        hour_at = tally["hour_at"] if tally["hour_at"] in hours else max(hours)
        hours[hour_at][words.level_class(tally["level"])] += tally["number"]
    return hours


def _strip(hours: dict[datetime, Counter[str]], total: int) -> SafeString:
    colours = [words.level_class(level) for level in words.LEVELS]
    columns = [
        charts.Column(_hour_label(hour_at, counts), {colour: counts[colour] for colour in colours})
        for hour_at, counts in hours.items()
    ]
    label = ngettext(
        "%(number)s record in the last 24 hours", "%(number)s records in the last 24 hours", total
    )
    return charts.chart(columns, label=label % {"number": formatted(total)}, step=10, height=40)


def _cards(now: datetime) -> list[dict[str, Any]]:
    """The open batches, and what makes each due."""
    fields = ("buffer", "status", "due_at", "reason", "record_count", "group_count", "level")
    batches = Batch.objects.open().filter(record_count__gt=0).only(*fields).order_by("buffer")
    return [
        {
            "batch": batch,
            "level": words.level_badge(batch.level),
            "due": words.when(batch.due_at, now),
            "reason": words.reason(batch.reason),
        }
        for batch in batches.annotate(is_held_back=_is_held_back())
    ]


def _is_held_back() -> Exists:
    """Whether an earlier mail of the batch's buffer was tried and waits to be tried again."""
    return Exists(Batch.objects.holding_back().filter(buffer=OuterRef("buffer")))


def rate(per_hour: float) -> str:
    """Records an hour as records a minute, in words."""
    per_minute = per_hour / 60
    digits = 0 if per_minute >= 10 or not per_hour else 1 if per_minute >= 0.1 else 2
    return _("%(rate)s a minute") % {"rate": formats.number_format(per_minute, digits)}


def _hour_label(moment: datetime, counts: Counter[str]) -> str:
    clock = formats.date_format(moments.local(moment), "H:i")
    if not counts:
        return f"{clock} – 0"
    each = ", ".join(f"{number} {name.upper()}" for name, number in counts.items())
    return f"{clock} – {rate(counts.total())} ({each})"


def _pending(now: datetime) -> dict[str, Any]:
    """Of all batches that still have to go out: records, the oldest, and what is overdue for how long."""
    due = Q(status=Status.OPEN, due_at__lte=now, is_held_back=False)
    due |= Q(status=Status.READY, next_attempt_at__lte=now)
    late = due | Q(status=Status.SENDING, claimed_until__lte=now)
    return (
        Batch.objects.undelivered()
        .annotate(is_held_back=_is_held_back())
        .aggregate(
            records=Sum("record_count"),
            oldest=Min(Coalesce("first_at", "opened_at"), filter=Q(record_count__gt=0)),
            late_records=Sum("record_count", filter=late),
            late_since=Min(Coalesce(F("next_attempt_at"), F("due_at"), F("claimed_until")), filter=late),
        )
    )


def _failed() -> Counter[str]:
    """How many batches failed with each first line of an error."""
    starts = Batch.objects.filter(status=Status.FAILED).annotate(start=Left("last_error", 200))
    return Counter(
        (start.strip().splitlines() or [""])[0]
        for start in starts.values_list("start", flat=True)[:MOST_FAILED]
    )


def _failures(failed: Counter[str]) -> Iterator[str]:
    for error, number in failed.most_common(ERRORS_SHOWN):
        said = ngettext("%(number)d batch failed: %(error)s", "%(number)d batches failed: %(error)s", number)
        yield said % {"number": number, "error": error or _("no reason was given")}


def _unconfirmed(since: datetime) -> Iterator[str]:
    """What a mail backend took and said that it had not sent: nobody tries it again."""
    recent = Batch.objects.filter(status=Status.SENT, sent_at__gte=since)
    number = recent.filter(attempt_set__outcome=Outcome.UNCONFIRMED).count()
    if not number:
        return
    said = ngettext(
        "%(number)d mail of the last 24 hours may not have been sent: its backend said that it sent 0.",
        "%(number)d mails of the last 24 hours may not have been sent: their backend said that it sent 0.",
        number,
    )
    yield said % {"number": number}


def _overdue(pending: dict[str, Any], now: datetime) -> Iterator[str]:
    since, number = pending["late_since"], pending["late_records"] or 0
    if since and now - since >= OVERDUE_AFTER:
        said = ngettext(
            "Nothing was flushed for %(time)s although %(number)s record is due: "
            "does any process's worker run, or flush_maillogs?",
            "Nothing was flushed for %(time)s although %(number)s records are due: "
            "does any process's worker run, or flush_maillogs?",
            number,
        )
        yield said % {"time": timesince(since, now, depth=1), "number": formatted(number)}


def _silent_hosts(now: datetime) -> Iterator[str]:
    """Hosts that may be down, or have lost their worker; what waits there, nobody can know."""
    said = _(
        "%(host)s has not imported for %(time)s. If it is no more: manage.py flush_maillogs --forget-host"
    )
    for host in Host.objects.silent(now).order_by("name")[:HOSTS_SHOWN]:
        yield said % {"host": host.name, "time": timesince(host.imported_at, now, depth=1)}


def _silences(now: datetime) -> Iterator[str]:
    """What is silenced for some time, so that nobody wonders where the mails are."""
    said = _("%(what)s is silenced until %(time)s. %(note)s")
    for silence in Silence.objects.active(now):
        time = words.clock(silence.ends_at, now)
        yield said % {"what": silence, "time": time, "note": silence.note}
