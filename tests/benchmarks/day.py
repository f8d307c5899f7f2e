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
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

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


def run(events: Iterable[dict[str, Any]]) -> Result:
    """Live through the events; Django must be set up, the database migrated and the outbox empty."""
    from django.core import mail

    from django_maillog import flush as flushing
    from django_maillog import handlers
    from django_maillog.models import Batch
    from django_maillog.outbox.options import FlushOptions
    from django_maillog.spool.journal import journal

    handler = handlers.BufferingHandler()
    handler.name = "day"
    number = 0
    now = MIDNIGHT
    needle_at = None
    sent_at: list[datetime] = []

    def flush(at: datetime) -> None:
        flushing.flush(FlushOptions(everything=False, clock=lambda: at))
        sent_at.extend([at] * (len(mail.outbox) - len(sent_at)))

    for second, together in groupby(events, key=lambda event: int(event["t"])):
        now = MIDNIGHT + timedelta(seconds=second)
        for due in _moments_until(now):
            flush(due)
        for event in together:
            number += 1
            if event["fingerprint"] == "needle" and needle_at is None:
                needle_at = MIDNIGHT + timedelta(seconds=event["t"])
            journal.append(handler, json.dumps(_value(event)).encode() + b"\n")
        flush(now + timedelta(seconds=1))  # a record is imported within a second
    for due in _moments_until(MIDNIGHT + DAY * (1 + (now - MIDNIGHT) // DAY)):
        flush(due)
    needle_mail = Batch.objects.filter(records__group__fingerprint="needle", sent_at__isnull=False).order_by(
        "sent_at"
    )
    first = needle_mail.first()
    return Result(
        events=number,
        mails=len(mail.outbox),
        most_in_an_hour=max((sum(a <= b < a + HOUR for b in sent_at) for a in sent_at), default=0),
        needle_after=(first.sent_at - needle_at).total_seconds()
        if first and needle_at and first.sent_at
        else None,
        reported=sum(int(message.extra_headers["X-Maillog-Count"]) for message in mail.outbox),
        pending=sum(Batch.objects.undelivered().values_list("record_count", flat=True)),
    )


def _moments_until(moment: datetime) -> Iterator[datetime]:
    """When a worker would wake by itself before a moment."""

    from django_maillog.flush import next_event

    while (due := next_event()) is not None and due <= moment:
        yield due


def _value(event: dict[str, Any]) -> dict[str, Any]:
    fingerprint = str(event["fingerprint"])
    return {
        "buffer": "day",
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
        return run(events)
    finally:
        connections.close_all()


if __name__ == "__main__":
    main()
