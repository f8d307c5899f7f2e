"""Several processes flush one database: every batch is delivered exactly once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter

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
claims.LEASE = timedelta(seconds=float(sys.argv[1]))
print("ready", flush=True)
for _line in sys.stdin:
    print(json.dumps(flush().as_dict()), flush=True)
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
def test_the_batch_of_a_killed_flusher_is_taken_over_under_its_message_id(
    shared: Site, smtp: SMTPServer
) -> None:
    shared.run(SEAL, "3")
    smtp.hang(at="ACCEPTED")
    killed, other = start(shared, lease=4), start(shared)
    go(killed)
    (first,) = smtp.wait_for(1)
    killed.send_signal(signal.SIGKILL)
    killed.wait(60)

    go(other)
    assert answer(other)["sent"] == 2
    assert len(smtp.messages) == 3  # the lease of the first still holds
    give_up_at = time.monotonic() + 60
    while len(smtp.messages) < 4:
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
        go(other)
        answer(other)

    assert [message["Message-ID"] for message in smtp.messages].count(first["Message-ID"]) == 2
    # The attempt that was cut off is one of them.
    assert shared.run(STATUSES).stdout == '{"sent": 3, "attempts": 4}\n'


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
