"""The worker: it sleeps without a connection, wakes for a record, and survives what goes wrong."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.sites import LOGGING, Site
from tests.smtp import SMTPServer


def logging_with(**options: Any) -> dict[str, Any]:
    return {**LOGGING, "handlers": {"mail": {**LOGGING["handlers"]["mail"], **options}}}


PROBE = """
import json, logging, os, sys, threading, time
from django.db.backends.signals import connection_created
from django_maillog import flush as queue
from django_maillog.worker import thread as worker
log = logging.getLogger("shop")
rounds = []
real = queue.flush
def counted(*args, **kwargs):
    try:
        return real(*args, **kwargs)
    finally:
        rounds.append(time.monotonic())
queue.flush = counted
def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)
def imported():
    from django.db.models import Sum
    from django_maillog.models import Group
    return Group.objects.aggregate(n=Sum("count"))["n"] or 0
"""

FLUSHED_BY_THE_WORKER = """
logging.getLogger("django_maillog").addHandler(logging.StreamHandler())
log.error("one")
wait_for(lambda: imported() == 1)
logging.getLogger().handlers[0].flush()
"""

SLEEPS = """
worker.IDLE_SECONDS = 0.5
worker.LOOK_SECONDS = 0.1
closed = []
real_close = worker.connections.close_all
worker.connections.close_all = lambda: (closed.append(1), real_close())
log.error("one")
wait_for(lambda: imported() == 1 and closed)
before, cpu = len(rounds), time.process_time()
time.sleep(2)
cpu = time.process_time() - cpu
idle = len(rounds) - before
began = time.monotonic()
log.error("two")
wait_for(lambda: imported() == 2)
woken = time.monotonic() - began
print(json.dumps([idle, cpu, woken]))
"""

URGENT = """
log.error("one")
wait_for(lambda: imported() == 1)
worker.TICK_SECONDS = 60  # so that what isn't urgent would wait far longer than a busy machine needs
began = time.monotonic()
log.critical("two")
wait_for(lambda: imported() == 2)
print(time.monotonic() - began)
"""

NO_ADMINS = """
from django.conf import settings
settings.ADMINS = []
log.error("one")
wait_for(lambda: imported() == 1)
time.sleep(1)
before = len(rounds)
time.sleep(2)
print(len(rounds) - before)
"""

BROKEN_ONCE = """
from django.db import OperationalError
worker.RETRY_SECONDS = 0.1
failures = [OperationalError("gone"), ValueError("a bug"), OperationalError("gone")]
working = queue.flush
def flush(*args, **kwargs):
    if failures:
        raise failures.pop()
    return working(*args, **kwargs)
queue.flush = flush
log.error("one")
wait_for(lambda: imported() == 1)
"""

FLUSHES = """
from django_maillog.handlers import BufferingHandler
[handler] = [h for h in logging.root.handlers if isinstance(h, BufferingHandler)]
log.error("one")
handler.flush()
print(imported())
"""

SHOULD_FLUSH = """
from django_maillog.handlers import BufferingHandler
[handler] = [h for h in logging.root.handlers if isinstance(h, BufferingHandler)]
handler.shouldFlush = lambda record: "now" in record.getMessage()
log.error("later")
log.error("now")
if os.environ["MAILLOG_WORKER"] == "thread":
    wait_for(lambda: imported() == 2)
"""

INLINE = """
from django.db import transaction
log.error("one")
print(imported())
try:
    with transaction.atomic():
        log.error("two")
        print(imported())
        raise RuntimeError
except RuntimeError:
    print(imported())
log.error("three")
print(imported())
"""


def test_an_idle_worker_does_nothing_and_wakes_for_a_record(site: Site, smtp: SMTPServer) -> None:
    site.configure_logging(logging_with(group_wait=3600))

    idle, cpu, woken = json.loads(site.run(PROBE + SLEEPS).stdout)

    assert idle == 0
    assert cpu < 0.2
    assert woken < 4


def test_an_urgent_record_is_imported_at_once(site: Site, smtp: SMTPServer) -> None:
    site.configure_logging(logging_with(group_wait=3600))

    done = site.run(PROBE + URGENT)

    assert float(done.stdout) < 15
    assert "two" in smtp.wait_for(1)[0]["Subject"]


def test_a_batch_that_nobody_can_be_sent_keeps_no_worker_busy(site: Site, smtp: SMTPServer) -> None:
    site.configure_logging(logging_with(group_wait=0))

    assert int(site.run(PROBE + NO_ADMINS).stdout) <= 1


def test_a_worker_outlives_errors(site: Site, smtp: SMTPServer) -> None:
    done = site.run(PROBE + BROKEN_ONCE)

    assert done.returncode == 0


@pytest.mark.parametrize("mode", ["thread", "inline", "none"])
def test_flush_has_mailed_when_it_returns(site: Site, smtp: SMTPServer, mode: str) -> None:
    done = site.run(PROBE + FLUSHES, env={"MAILLOG_WORKER": mode})

    assert done.stdout == "1\n"
    [mail] = smtp.messages
    assert mail["X-Maillog-Reason"] == "flush"


@pytest.mark.parametrize(("mode", "reason"), [("thread", ["flush"]), ("inline", ["flush"]), ("none", [])])
def test_should_flush_has_the_worker_flush(
    site: Site, smtp: SMTPServer, mode: str, reason: list[str]
) -> None:
    site.run(PROBE + SHOULD_FLUSH, env={"MAILLOG_WORKER": mode})

    assert [mail["X-Maillog-Reason"] for mail in smtp.messages] == reason


def test_inline_imports_when_the_caller_is_in_no_transaction(site: Site, smtp: SMTPServer) -> None:
    done = site.run(PROBE + INLINE, env={"MAILLOG_WORKER": "inline"})

    assert done.stdout.split() == ["1", "1", "1", "3"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAILLOG_WORKER", "threads"),
        ("MAILLOG_DELIVERY", "Worker"),
        ("MAILLOG_DELIVERY", ""),
        ("MAILLOG_SITE_URL", "example.com"),
        ("MAILLOG_SITE_URL", "https://[example.com"),
        ("MAILLOG_RETENTION_DAYS", "1000000"),
        ("MAILLOG_OUTAGE_WAIT", "0"),
        ("MAILLOG_SPOOL_MAX_BYTES", "0.5"),
    ],
)
def test_a_wrong_setting_costs_neither_the_record_nor_its_mail(
    site: Site, smtp: SMTPServer, name: str, value: str
) -> None:
    done = site.run(PROBE + FLUSHED_BY_THE_WORKER, env={name: value})

    [mail] = smtp.messages
    assert (mail["X-Maillog-Count"], mail["X-Maillog-Reason"]) == ("1", "flush")
    assert done.stderr == ""


def test_an_exit_with_much_to_import_takes_no_longer_than_its_deadline(site: Site, smtp: SMTPServer) -> None:
    lots = """
import logging, time
log = logging.getLogger("shop")
for number in range(20_000):
    log.error("record %s", number, extra={"fingerprint": str(number)})
"""
    site.run(lots, env={"MAILLOG_WORKER": "none"})
    one = "import logging, time; logging.getLogger('shop').error('one'); print(time.time())"
    done = site.run(one, env={"PYTHONDEVMODE": ""})

    assert time.time() - float(done.stdout) < 10
    assert "Traceback" not in done.stderr
