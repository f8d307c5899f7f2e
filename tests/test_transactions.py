"""Logging inside transactions: the record is kept, and the caller's transaction never knows."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.conftest import KIND
from tests.sites import Site
from tests.smtp import SMTPServer

# Every way in, with what became of the caller's own rows.
EVERY_WAY = """
import json, logging, os, signal
from django.contrib.auth.models import User
from django.core.signals import request_finished
from django.db import IntegrityError, connection, transaction
log = logging.getLogger("shop")

try:
    with transaction.atomic():
        User.objects.create(username="rolled back")
        log.error("before a rollback")
        raise ValueError
except ValueError:
    pass

try:
    with transaction.atomic():
        User.objects.create(username="twice")
        try:
            User.objects.create(username="twice")
        except IntegrityError:
            log.error("in a broken transaction")
            broken = connection.needs_rollback
            raise
except IntegrityError:
    pass

with transaction.atomic():
    User.objects.create(username="committed")
    transaction.on_commit(lambda: log.error("on commit"))
    with transaction.atomic():
        log.error("in a savepoint")

connection.set_autocommit(False)
User.objects.create(username="by hand")
log.error("without autocommit")
connection.rollback()
connection.set_autocommit(True)

def finished(**kwargs):
    log.error("in a signal of Django")
request_finished.connect(finished)
request_finished.send(sender=None)

signal.signal(signal.SIGTERM, lambda *args: log.error("in a signal handler"))
os.kill(os.getpid(), signal.SIGTERM)

print(json.dumps([broken, sorted(User.objects.values_list("username", flat=True))]))
"""

MESSAGES = [
    "before a rollback",
    "in a broken transaction",
    "in a savepoint",
    "in a signal handler",
    "in a signal of Django",
    "on commit",
    "without autocommit",
]

GROUPS = """
import json
from django_maillog.models import Group
print(json.dumps(sorted(Group.objects.values_list("title", "count"))))
"""

# Holds the write lock for two seconds, and logs all the while; answers how long the calls took.
HOLD_THE_LOCK = """
import json, logging, time
from django.contrib.auth.models import User
from django.db import transaction
log = logging.getLogger("shop")
log.error("warm")
times = []
with transaction.atomic():
    User.objects.create(username="ada")
    until = time.monotonic() + 2
    while time.monotonic() < until:
        before = time.perf_counter()
        log.error("while the lock is held")
        times.append(time.perf_counter() - before)
        time.sleep(0.005)
print(json.dumps([User.objects.count(), sorted(times)]))
"""

BACKLOG = """
import logging
log = logging.getLogger("shop")
for number in range(4000):
    log.error("record %s", number, extra={"fingerprint": str(number % 400)})
"""

# A signal that logs strikes again and again while the process logs, so that it hits the middle of a call.
INTERRUPTED = """
import logging, signal, time
log = logging.getLogger("shop")
struck = 0
def strike(*args):
    global struck
    struck += 1
    log.error("from the handler", extra={"fingerprint": "handler"})
log.error("from the loop", extra={"fingerprint": "loop"})
signal.signal(signal.SIGALRM, strike)
signal.setitimer(signal.ITIMER_REAL, 0.008, 0.008)
logged, until = 1, time.monotonic() + 2
while time.monotonic() < until:
    log.error("from the loop", extra={"fingerprint": "loop"})
    logged += 1
signal.setitimer(signal.ITIMER_REAL, 0)
print(logged, struck)
"""


def groups(site: Site) -> Any:
    return json.loads(site.run(GROUPS, env={"MAILLOG_WORKER": "none"}).stdout)


@pytest.mark.parametrize("worker", ["thread", "none"])
def test_records_are_kept_and_the_caller_s_transaction_goes_its_way(
    site: Site, smtp: SMTPServer, worker: str
) -> None:
    done = site.run(EVERY_WAY, env={"MAILLOG_WORKER": worker})
    site.manage("flush_maillogs")

    assert done.stderr == ""
    assert json.loads(done.stdout) == [True, ["committed"]]
    assert groups(site) == [[message, 1] for message in MESSAGES]
    assert sum(int(mail["X-Maillog-Count"]) for mail in smtp.messages) == len(MESSAGES)


def test_errors_of_atomic_requests_are_kept(site: Site, smtp: SMTPServer) -> None:
    site.run(
        "from django.db import connections\n"
        "connections['default'].settings_dict['ATOMIC_REQUESTS'] = True\n"
        "from django.test import Client\n"
        "client = Client(raise_request_exception=False)\n"
        "assert client.get('/broken-transaction/').status_code == 500\n"
        "assert client.get('/division/').status_code == 500\n"
    )
    site.manage("flush_maillogs")

    assert sum(count for _title, count in groups(site)) == 3


def test_while_the_caller_holds_the_write_lock_calls_take_microseconds(site: Site, smtp: SMTPServer) -> None:
    done = site.run(HOLD_THE_LOCK)
    site.manage("flush_maillogs")

    users, times = json.loads(done.stdout)
    assert users == 1
    assert times[len(times) // 2] < 0.002
    assert times[-1] < 0.5, "a call waited for the lock"
    assert dict(groups(site)) == {"warm": 1, "while the lock is held": len(times)}
    assert done.stderr == ""


@pytest.mark.skipif(KIND != "sqlite", reason="only SQLite has one write lock for all")
def test_an_import_never_keeps_the_project_from_writing_for_long(site: Site, smtp: SMTPServer) -> None:
    site.run(BACKLOG, env={"MAILLOG_WORKER": "none"})
    path = site.env["DATABASE_URL"].removeprefix("sqlite:///")
    flush = site.popen([sys.executable, "-m", "django", "flush_maillogs"])
    waits = []
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)

    while flush.poll() is None:
        before = time.monotonic()
        connection.execute("BEGIN IMMEDIATE")
        waits.append(time.monotonic() - before)
        connection.execute("ROLLBACK")
        time.sleep(0.002)
    connection.close()

    assert flush.returncode == 0
    assert len(waits) > 20
    assert sorted(waits)[len(waits) * 9 // 10] < 0.1
    assert sum(count for _title, count in groups(site)) == 4000


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGALRM")
def test_a_signal_handler_that_logs_in_the_middle_of_a_call_does_no_harm(
    site: Site, smtp: SMTPServer
) -> None:
    try:
        done = site.run(INTERRUPTED, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.fail("a lock was waited for that the same thread holds")
    site.manage("flush_maillogs")

    logged, struck = map(int, done.stdout.split())
    found = dict(groups(site))
    assert found["from the loop"] == logged
    assert found["from the handler"] == struck
    assert done.stderr == ""
