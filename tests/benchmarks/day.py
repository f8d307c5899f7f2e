"""Feed a day of errors through the real spool, import, rules, sealing and delivery, with a driven clock.

    python -m tests.benchmarks.day --trace FILE [--json]

Each line of the trace is {"t": seconds since midnight, "fingerprint", "cause", "host", "process"}, in order
of time. The database is a real SQLite file, the mailer Django's locmem backend. Prints the number of events
and mails, the most mails within an hour, the seconds until the group "needle" was mailed, and the events
reported in mails and still pending.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_maillog.handlers import BufferingHandler

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a day."""

    events: int
    mails: int
    most_in_an_hour: int
    needle_after: float | None
    reported: int
    pending: int


def run(days: Mapping[str, Iterable[dict[str, Any]]]) -> dict[str, Result]:
    """Live through the events of some buffers at once; what came of each.

    Django must be set up, the database migrated and the outbox empty. Buffers share what a flush costs, and
    their rules know nothing of each other.
    """
    from django.core import mail

    from django_maillog import flush as flushing
    from django_maillog.outbox.options import FlushOptions
    from django_maillog.spool.journal import journal

    handlers = {buffer: _handler(buffer) for buffer in days}
    events = [(event["t"], buffer, event) for buffer, each in days.items() for event in each]
    now = MIDNIGHT
    sent_at: list[datetime] = []

    def flush(at: datetime) -> None:
        flushing.flush(FlushOptions(everything=False, clock=lambda: at))
        sent_at.extend([at] * (len(mail.outbox) - len(sent_at)))

    events.sort(key=itemgetter(0))
    for second, together in groupby(events, key=lambda event: int(event[0])):
        now = MIDNIGHT + timedelta(seconds=second)
        for due in _moments_until(now):
            flush(due)
        for _t, buffer, event in together:
            journal.append(handlers[buffer], json.dumps(_value(buffer, event)).encode() + b"\n")
        flush(now + timedelta(seconds=1))  # a record is imported within a second
    for due in _moments_until(MIDNIGHT + DAY * (1 + (now - MIDNIGHT) // DAY)):
        flush(due)
    return {
        buffer: _result(buffer, [event for _t, name, event in events if name == buffer], sent_at)
        for buffer in days
    }


def _handler(buffer: str) -> BufferingHandler:
    from django_maillog.handlers import BufferingHandler

    handler = BufferingHandler()
    handler.name = buffer
    return handler


def _result(buffer: str, events: list[dict[str, Any]], sent_at: list[datetime]) -> Result:
    """``sent_at``: when each mail of the outbox, other buffers' included, was sent."""
    from django.core import mail

    from django_maillog.models import Batch

    mails = [
        (message, at)
        for message, at in zip(mail.outbox, sent_at, strict=True)
        if message.extra_headers["X-Maillog-Buffer"] == buffer
    ]
    needle_at = next(
        (MIDNIGHT + timedelta(seconds=event["t"]) for event in events if event["fingerprint"] == "needle"),
        None,
    )
    needle_mails = Batch.objects.filter(
        buffer=buffer, records__group__fingerprint="needle", sent_at__isnull=False
    )
    first = needle_mails.order_by("sent_at").first()
    return Result(
        events=len(events),
        mails=len(mails),
        most_in_an_hour=max((sum(a <= b < a + HOUR for _, b in mails) for _, a in mails), default=0),
        needle_after=(first.sent_at - needle_at).total_seconds()
        if first and needle_at and first.sent_at
        else None,
        reported=sum(int(message.extra_headers["X-Maillog-Count"]) for message, _at in mails),
        pending=sum(Batch.objects.undelivered().filter(buffer=buffer).values_list("record_count", flat=True)),
    )


def _moments_until(moment: datetime) -> Iterator[datetime]:
    """When a worker would wake by itself before a moment."""

    from django_maillog.flush import next_event

    while (due := next_event()) is not None and due <= moment:
        yield due


def _value(buffer: str, event: dict[str, Any]) -> dict[str, Any]:
    fingerprint = str(event["fingerprint"])
    return {
        "buffer": buffer,
        "time": (MIDNIGHT + timedelta(seconds=event["t"])).timestamp(),
        "level": 40,
        # As Django logs what views raise, all of it from one line.
        "logger": "django.request",
        "request": {"method": "GET", "path": "/", "status_code": 500},
        "message": fingerprint,
        "title": fingerprint,
        "fingerprint": fingerprint,
        "cause": str(event["cause"]),
        "host": f"host{event['host']}",
        "process": int(event["process"]),
    }


def read_trace(path: str) -> Iterator[dict[str, Any]]:
    """The events of a file; raises SystemExit with the line that is no event."""
    with Path(path).open() as lines:
        for number, line in enumerate(lines, 1):
            try:
                event = json.loads(line)
                float(event["t"]), event["fingerprint"], event["cause"], event["host"], int(event["process"])
            except (ValueError, KeyError, TypeError) as error:
                raise SystemExit(f"{path}, line {number}: not an event ({error!r}): {line[:100]}") from error
            yield event


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trace", required=True, metavar="FILE", help="the day, as JSON lines")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    events = read_trace(options.trace)
    with tempfile.TemporaryDirectory() as folder:
        result = _run_alone(events, Path(folder))
    if options.json:
        print(json.dumps(asdict(result)))
    else:
        for name, value in asdict(result).items():
            print(f"{name.replace('_', ' '):>16}  {value}")


def _run_alone(events: Iterable[dict[str, Any]], folder: Path) -> Result:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    os.environ["DATABASE_URL"] = f"sqlite:///{folder}/day.sqlite3"
    import django
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connections
    from django.test.utils import setup_test_environment

    settings.MAILLOG_SPOOL_DIR = str(folder / "spool")
    django.setup()
    setup_test_environment()
    settings.DATABASES["default"]["NAME"] = str(folder / "day.sqlite3")
    call_command("migrate", verbosity=0)
    try:
        return run({"day": events})["day"]
    finally:
        connections.close_all()


if __name__ == "__main__":
    main()
