"""Processes that are really killed: no record whose logging call has returned is lost, and none comes twice.

The processes are forks of one that has Django set up, so that a hundred of them take seconds.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any

import pytest

from tests.sites import LOGGING, Site
from tests.smtp import SMTPServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

# Each child logs under a name of its own until it is killed, and acknowledges every call that has returned.
KILL_WHILE_LOGGING = """
import json, logging, os, random, signal, sys, time
rounds, processes, spool_dir = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
log = logging.getLogger("shop")
acknowledged = {}

def child(name, pipe):
    while True:
        log.error("child %s", name, extra={"fingerprint": name})
        os.write(pipe, b".")

for round in range(rounds):
    children = {}
    for number in range(processes):
        name = f"{round}-{number}"
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(reader)
            child(name, writer)
        os.close(writer)
        children[name] = pid, reader
    for name, (pid, reader) in children.items():
        count = len(os.read(reader, 1))
        time.sleep(random.random() * 0.004)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        while data := os.read(reader, 65536):
            count += len(data)
        os.close(reader)
        acknowledged[name] = count
print(json.dumps(acknowledged))
sys.stdout.flush()
os._exit(0)
"""

COUNTS = """
import json
from django.db.models import Sum
from django_maillog.models import Batch, Group, Record
stored = Record.objects.values_list("group__title").annotate(Sum("count")).order_by()
print(json.dumps({
    "groups": dict(Group.objects.values_list("title", "count")),
    "records": dict(stored),
    "batches": Batch.objects.aggregate(total=Sum("record_count"))["total"],
    "sent": Batch.objects.filter(status="sent").aggregate(total=Sum("record_count"))["total"],
}))
"""

# The k-th flush is killed before its k-th statement, until one gets through; each has one record to mail.
KILL_AT_EACH_STATEMENT = """
import json, logging, os, signal, sys
from datetime import timedelta
from django.db import connection
from django.utils import timezone
from django_maillog import buffers
from django_maillog import flush as flushing
from django_maillog.outbox.options import FlushOptions
log = logging.getLogger("shop")

def flush(number):
    statements = 0
    def fatal(execute, *args):
        nonlocal statements
        statements += 1
        if statements == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(*args)
    clock = lambda: timezone.now() + timedelta(minutes=20 * number)
    with buffers.muted(), connection.execute_wrapper(fatal):
        flushing.flush(FlushOptions(clock=clock))

number, survived = 0, False
while not survived:
    number += 1
    log.error("record %s", number, extra={"fingerprint": str(number)})
    pid = os.fork()
    if not pid:
        flush(number)
        os._exit(0)
    survived = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert number < 500
print(number)
"""

LOG_AND_DIE = """
import logging, os, signal
log = logging.getLogger("shop")
for number in range(5):
    log.error("record %s", number, extra={"fingerprint": str(number)})
os.kill(os.getpid(), signal.SIGKILL)
"""

WAIT = """
import sys, time
from django_maillog.worker import calls, thread
thread.LOOK_SECONDS = 0.2
calls.wake()
while not thread.worker.inbox.idle:
    time.sleep(0.01)
print("asleep", flush=True)
sys.stdin.read()
"""


def counts(site: Site) -> dict[str, Any]:
    value = json.loads(site.run(COUNTS, env={"MAILLOG_WORKER": "none"}).stdout)
    assert isinstance(value, dict)
    return value


def reported(smtp: SMTPServer) -> int:
    """How many records the mails report, repeated mails counted once."""
    return sum({mail["Message-ID"]: int(mail["X-Maillog-Count"]) for mail in smtp.messages}.values())


@pytest.mark.parametrize(("worker", "rounds"), [("none", 10), ("thread", 25)])
def test_processes_killed_while_they_log_lose_nothing(
    site: Site, smtp: SMTPServer, worker: str, rounds: int
) -> None:
    env = {"MAILLOG_WORKER": worker, "PYTHONDEVMODE": ""}
    done = site.run(KILL_WHILE_LOGGING, str(rounds), "4", str(site.spool_dir), env=env)
    acknowledged = json.loads(done.stdout)

    site.manage("flush_maillogs", check=False)
    site.manage("flush_maillogs")

    found = counts(site)
    for name, count in acknowledged.items():  # the call that was killed may have got its record out
        assert count <= found["groups"][f"child {name}"] <= count + 1, name
    assert found["records"] == found["groups"]
    assert found["batches"] == found["sent"] == sum(found["groups"].values())
    assert reported(smtp) == found["sent"]
    assert list(site.spool_dir.iterdir()) == []


def test_a_flush_killed_before_any_of_its_statements_is_completed_by_the_next(
    site: Site, smtp: SMTPServer
) -> None:
    done = site.run(KILL_AT_EACH_STATEMENT, env={"MAILLOG_WORKER": "none", "PYTHONDEVMODE": ""})
    number = int(done.stdout)

    found = counts(site)
    assert number > 15
    assert found["groups"] == {f"record {k}": 1 for k in range(1, number + 1)}
    assert found["records"] == found["groups"]
    assert found["batches"] == found["sent"] == number
    assert reported(smtp) == number
    again = [
        number for number in Counter(mail["Message-ID"] for mail in smtp.messages).values() if number > 1
    ]
    assert again == [], "who died between the server's answer and the commit had noted it"
    texts = {mail["Message-ID"]: set() for mail in smtp.messages}  # type: dict[str, set[str]]
    for mail in smtp.messages:
        texts[mail["Message-ID"]].add(f"{mail['Date']} {mail['Subject']}")
    assert all(len(versions) == 1 for versions in texts.values())


def test_a_torn_last_line_is_skipped_and_the_rest_arrives(site: Site, smtp: SMTPServer) -> None:
    site.run(LOG_AND_DIE, env={"MAILLOG_WORKER": "none"}, check=False)
    [segment] = site.spool_dir.glob("*.jsonl")
    os.truncate(segment, segment.stat().st_size - 20)

    done = site.manage("flush_maillogs")

    assert reported(smtp) == 4
    assert done.stderr == ""
    assert list(site.spool_dir.iterdir()) == []


def test_what_a_killed_process_left_is_imported_by_an_idle_one(site: Site, smtp: SMTPServer) -> None:
    quick = {**LOGGING, "handlers": {"mail": {**LOGGING["handlers"]["mail"], "group_wait": 0}}}
    site.configure_logging(quick)
    idle = site.start(WAIT)
    assert idle.stdout is not None
    assert idle.stdout.readline() == "asleep\n"
    site.run(LOG_AND_DIE, env={"MAILLOG_WORKER": "none"}, check=False)

    [mail] = smtp.wait_for(1)
    idle.communicate()

    assert mail["X-Maillog-Count"] == "5"
