"""Hosts whose clocks differ by minutes: every batch goes out once, when it is due."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_maillog.database_clock import DatabaseClock, database_now
from tests.conftest import KIND
from tests.databases import lack
from tests.sites import Site
from tests.smtp import SMTPServer
from tests.test_flushers import SEAL

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
# SQLite's clock is its host's, and one host has one clock.
has_own_clock = pytest.mark.skipif(KIND == "sqlite", reason="the database has no clock of its own")

FLUSH = """
import json, sys
from django_maillog.flush import flush
from django_maillog.outbox.options import FlushOptions
print("ready", flush=True)
for _line in sys.stdin:
    print(json.dumps(flush(FlushOptions(everything=False)).as_dict()), flush=True)
"""
LOG = """
import logging
logging.getLogger("shop").error("from %s", "a host")
"""
STATES = """
import json
from django_maillog.models import Batch
print(json.dumps([[batch.status, batch.reason, batch.attempts] for batch in Batch.objects.order_by("pk")]))
"""


def on_a_host(minutes: float) -> dict[str, str]:
    """The environment of a process on a host whose clock is so many minutes ahead."""
    if LIBRARY is None:
        lack("libfaketime isn't installed: it sets a process's clock")
    return {"LD_PRELOAD": str(LIBRARY), "FAKETIME": f"{minutes * 60:+.0f}", "FAKETIME_NO_CACHE": "1"}


def flusher(site: Site, minutes: float) -> subprocess.Popen[str]:
    process = site.start(FLUSH, env=on_a_host(minutes))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> dict[str, int]:
    assert process.stdout is not None
    found: dict[str, int] = json.loads(process.stdout.readline())
    return found


@pytest.mark.django_db
def test_the_clock_is_the_databases_whatever_the_sessions_zone() -> None:
    with connection.cursor() as cursor:
        if KIND == "mariadb":
            cursor.execute("SET time_zone = '+05:00'")
        if KIND == "postgresql":
            cursor.execute("SET TIME ZONE 'Asia/Karachi'")

    assert abs(database_now() - timezone.now()) < timedelta(seconds=1)


@has_own_clock
@pytest.mark.django_db
def test_the_hosts_clock_is_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real clock of the database, and a host's that is seven minutes behind."""
    real_now = timezone.now

    class Behind(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) - timedelta(minutes=7)

    monkeypatch.setattr("django_maillog.database_clock.datetime", Behind)
    monkeypatch.setattr(timezone, "now", lambda: real_now() - timedelta(minutes=7))

    assert abs(DatabaseClock()() - real_now()) < timedelta(seconds=1)


@pytest.mark.django_db
def test_a_flush_asks_once() -> None:
    clock = DatabaseClock()
    with CaptureQueriesContext(connection) as queries:
        clock()
        clock()

    assert len(queries) == (0 if KIND == "sqlite" else 1)


@has_own_clock
@pytest.mark.parametrize("minutes", [(-7, 7), (7, -7), (0, 1.25), (-5.2, 0)])
def test_two_flushers_with_different_clocks_send_each_batch_once(
    site: Site, smtp: SMTPServer, minutes: tuple[float, float]
) -> None:
    site.env["PYTHONDEVMODE"] = ""
    site.run(SEAL, "60")
    one, other = (flusher(site, each) for each in minutes)

    # One has a mail in hand, and waits for the server's answer until its time-out.
    smtp.hang(at="ACCEPTED")
    tell(one)
    smtp.wait_for(1)
    tell(other)
    # Where that takes long, the first one goes on after its time-out.
    assert answer(other)["sent"] + answer(one)["sent"] == 59
    for process in (one, other):
        tell(process)
        answer(process)

    assert len(smtp.messages) == 60
    assert len({message["Message-ID"] for message in smtp.messages}) == 60
    states = Counter(map(tuple, json.loads(site.run(STATES).stdout)))
    assert states == {("sent", "new", 1): 59, ("ready", "new", 1): 1}


@has_own_clock
@pytest.mark.parametrize("minutes", [-7, 7])
@pytest.mark.parametrize("use_tz", ["yes", "no"])
def test_a_host_that_is_off_seals_nothing_before_its_time(
    site: Site, smtp: SMTPServer, minutes: float, use_tz: str
) -> None:
    site.env |= {"MAILLOG_TEST_USE_TZ": use_tz, "MAILLOG_WORKER": "none"}
    site.run(LOG, env=on_a_host(minutes))
    here, there = flusher(site, 0), flusher(site, minutes)

    for process in (there, here, there):
        tell(process)
        done = answer(process)
        assert (done["sealed"], done["sent"], done["pending"]) == (0, 0, 1)
    assert json.loads(site.run(STATES).stdout) == [["open", "new", 0]]


@has_own_clock
@pytest.mark.django_db
def test_databases_with_a_zone_of_their_own() -> None:
    """``DATABASES["default"]["TIME_ZONE"]``."""
    before = connection.settings_dict["TIME_ZONE"]
    try:
        connection.settings_dict["TIME_ZONE"] = "Pacific/Auckland"
        assert abs(database_now() - timezone.now()) < timedelta(seconds=1)
    finally:
        connection.settings_dict["TIME_ZONE"] = before
