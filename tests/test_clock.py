"""The clock is set back and forward between logging and flush: nothing is lost or waits for ever."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from django_maillog import flush as flushing
from django_maillog.handlers import BufferingHandler
from django_maillog.models import Batch, Group
from django_maillog.outbox.options import FlushOptions
from django_maillog.spool.journal import journal
from tests.smtp import SMTPServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def handler(spool_dir: Path) -> Iterator[BufferingHandler]:
    journal.after_fork_in_child()
    handler = BufferingHandler(group_wait=30)
    yield handler
    journal.after_fork_in_child()


def put(handler: BufferingHandler, name: str, hours: float = 0) -> None:
    """A record whose process thinks it is so many hours from now."""
    value = {
        "time": time.time() + hours * 3600,
        "level": 40,
        "logger": "shop",
        "message": name,
        "title": name,
        "fingerprint": name,
        "cause": name,
        "host": "web1",
        "process": 1,
        "buffer": handler.buffer,
    }
    journal.append(handler, json.dumps(value).encode() + b"\n")


def at(hours: float) -> Callable[[], datetime]:
    return lambda: timezone.now() + timedelta(hours=hours)


def flush(hours: float = 0) -> None:
    flushing.flush(FlushOptions(everything=False, clock=at(hours)))


def reported(smtp: SMTPServer) -> list[int]:
    return [int(mail["X-Maillog-Count"]) for mail in smtp.messages]


@pytest.mark.parametrize("hours", [-48, -1, 1, 48])
def test_a_clock_that_jumps_after_the_import_delays_nothing_and_repeats_nothing(
    handler: BufferingHandler, smtp: SMTPServer, hours: float
) -> None:
    put(handler, "one")
    flush()
    flush(hours)
    flush(hours + 0.02)
    flush(hours + 0.1)

    assert reported(smtp) == [1]
    assert Batch.objects.get().status == "sent"


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_record_from_a_host_whose_clock_is_wrong_is_mailed_in_time(
    handler: BufferingHandler, smtp: SMTPServer, hours: float
) -> None:
    put(handler, "one", hours)
    flush()
    flush(0.02)

    assert reported(smtp) == [1]


@pytest.mark.parametrize("hours", [-12, 12])
def test_a_retry_does_not_wait_for_a_clock_that_was_set_back(
    handler: BufferingHandler, smtp: SMTPServer, hours: float
) -> None:
    smtp.answer("451 Later")
    put(handler, "one")
    flushing.flush(FlushOptions(clock=at(0)))
    assert reported(smtp) == []

    for later in (0, 0.5, 1.2):
        flush(hours + later)

    assert reported(smtp) == [1]


def test_while_the_clock_jumps_to_and_fro_every_record_is_mailed_once(
    handler: BufferingHandler, smtp: SMTPServer
) -> None:
    jumps = [0, 7, -3, 30, -30, 1, 0]
    for number, hours in enumerate(jumps):
        put(handler, f"record {number}", hours)
        put(handler, "the same", hours)
        flush(hours)
    assert sum(batch.record_count for batch in Batch.objects.all()) == 2 * len(jumps)

    for later in (0.02, 1, 5, 10):
        flush(later)
    flushing.flush(FlushOptions(clock=at(11)))

    assert sum(reported(smtp)) == 2 * len(jumps)
    assert set(Batch.objects.values_list("status", flat=True)) == {"sent"}
    assert sum(Group.objects.values_list("count", flat=True)) == 2 * len(jumps)
    assert len({mail["Message-ID"] for mail in smtp.messages}) == len(smtp.messages)
