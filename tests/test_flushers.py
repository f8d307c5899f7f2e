"""Several processes flush one database: every batch is delivered exactly once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.sites import Site
from tests.smtp import SMTPServer

FLUSHERS = 8
SEAL = """
import sys
from datetime import timedelta
from django.utils import timezone
from django_maillog.models import Batch, Group, Record
now = timezone.now()
common = dict(level=40, logger="shop", first_at=now, last_at=now)
group = Group.objects.create(buffer="mail", fingerprint="f", cause="f", title="Payment failed", level=40,
    logger="shop", first_seen_at=now, last_seen_at=now, episode_at=now, count=int(sys.argv[1]))
batches = Batch.objects.bulk_create(
    Batch(buffer="mail", status="ready", opened_at=now, sealed_at=now, next_attempt_at=now, record_count=1,
        group_count=1, level=40, reason="new", first_at=now, last_at=now, recipients=["ada@example.com"],
        sender="errors@example.com", message_id=f"<{number}@example.com>", give_up_at=now + timedelta(days=4))
    for number in range(int(sys.argv[1])))
keys = Batch.objects.order_by("pk").values_list("pk", flat=True)
Record.objects.bulk_create(
    Record(batch_id=key, group=group, message="Payment failed", host="web1", process=1, **common)
    for key in keys)
"""
FLUSH = """
import json, sys
from datetime import timedelta
from django_maillog.flush import flush
from django_maillog.outbox import claims
claims.lease_of = lambda batch: timedelta(seconds=float(sys.argv[1]))
print("ready", flush=True)
for _line in sys.stdin:
    print(json.dumps(flush().as_dict()), flush=True)
"""
FORKING_FLUSH = """
import os, sys, threading, time
from django_maillog.flush import flush
threading.Thread(target=flush, daemon=True).start()
sys.stdin.readline()
if not os.fork():
    print(os.getpid(), flush=True)
    time.sleep(600)
    os._exit(0)
time.sleep(600)
"""
STATUSES = """
import json
from django.db.models import Count
from django_maillog.models import Attempt, Batch
counts = Batch.objects.order_by().values_list("status").annotate(Count("pk"))
print(json.dumps({**dict(counts), "attempts": Attempt.objects.count()}))
"""


@pytest.fixture
def shared(site: Site) -> Site:
    """A migrated site on the kind of database that this run is for."""
    site.env["PYTHONDEVMODE"] = ""  # eight of them at once: only the queue is looked at
    return site


def start(site: Site, *, lease: float = 600) -> subprocess.Popen[str]:
    process = site.start(FLUSH, str(lease))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> dict[str, int]:
    """The summary of a flush."""
    assert process.stdout is not None
    summary: dict[str, int] = json.loads(process.stdout.readline())
    return summary


def test_eight_flushers_deliver_each_of_400_batches_once(shared: Site, smtp: SMTPServer) -> None:
    number = 400
    shared.run(SEAL, str(number))
    flushers = [start(shared) for _each in range(FLUSHERS)]

    for process in flushers:
        go(process)
    for process in flushers:
        process.communicate(timeout=120)

    assert [process.returncode for process in flushers] == [0] * FLUSHERS
    sent = Counter(message["Message-ID"] for message in smtp.messages)
    assert set(sent.values()) == {1}
    assert len(sent) == number
    assert shared.run(STATUSES).stdout == f'{{"sent": {number}, "attempts": {number}}}\n'


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_the_batch_of_a_killed_flusher_is_taken_over_at_once_under_its_message_id(
    shared: Site, smtp: SMTPServer
) -> None:
    shared.run(SEAL, "3")
    smtp.hang(at="ACCEPTED")
    killed, other = start(shared), start(shared)
    go(killed)
    (first,) = smtp.wait_for(1)
    go(other)
    beside = answer(other)
    killed.send_signal(signal.SIGKILL)
    killed.wait(60)
    go(other)
    afterwards = answer(other)

    # While it lived, its claim held.
    assert (beside["sent"], beside["sending"]) == (2, 1)
    assert (afterwards["sent"], afterwards["sending"]) == (1, 0)
    ids = [message["Message-ID"] for message in smtp.messages]
    assert ids.count(first["Message-ID"]) == 2
    assert len(ids) == 4
    # The attempt that was cut off is one of them.
    assert shared.run(STATUSES).stdout == '{"sent": 3, "attempts": 4}\n'
    assert not list(shared.spool_dir.glob("*.claim"))


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_from_another_spool_folder_a_killed_flusher_looks_alive_until_its_lease_ends(
    shared: Site, smtp: SMTPServer, tmp_path: Path
) -> None:
    shared.run(SEAL, "1")
    smtp.hang(at="ACCEPTED")
    killed = start(shared, lease=4)
    shared.env["MAILLOG_SPOOL_DIR"] = str(tmp_path / "of another container")
    other = start(shared)
    go(killed)
    smtp.wait_for(1)
    killed.send_signal(signal.SIGKILL)
    killed.wait(60)

    go(other)
    assert (answer(other)["sent"], len(smtp.messages)) == (0, 1)
    give_up_at = time.monotonic() + 60
    while len(smtp.messages) < 2:
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
        go(other)
        answer(other)
    assert shared.run(STATUSES).stdout == '{"sent": 1, "attempts": 2}\n'


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_child_of_a_flusher_does_not_keep_its_claim(shared: Site, smtp: SMTPServer) -> None:
    shared.run(SEAL, "1")
    smtp.hang(at="ACCEPTED")
    parent = shared.start(FORKING_FLUSH)
    smtp.wait_for(1)
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdin.write("fork\n")
    parent.stdin.flush()
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait(60)
    try:
        other = start(shared)
        go(other)
        assert answer(other)["sent"] == 1
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_flusher_killed_at_full_speed_repeats_one_mail_at_most(shared: Site, smtp: SMTPServer) -> None:
    number = 300
    shared.run(SEAL, str(number))
    killed = start(shared, lease=2)
    go(killed)
    smtp.wait_for(number // 3)
    killed.send_signal(signal.SIGKILL)
    killed.wait(10)
    at_death = len(smtp.messages)

    late = start(shared)
    give_up_at = time.monotonic() + 100
    go(late)
    while answer(late)["pending"]:  # the last one has a lease
        assert time.monotonic() < give_up_at
        go(late)

    ids = [message["Message-ID"] for message in smtp.messages]
    repeated = [key for key, times in Counter(ids).items() if times > 1]
    assert at_death < number
    assert len(set(ids)) == number
    assert repeated in ([], [ids[at_death - 1]])
    assert len(repeated) == len(ids) - number
    assert shared.run(STATUSES).stdout.startswith(f'{{"sent": {number}, ')
