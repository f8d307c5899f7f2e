"""Promises 4 and 5 in any order of events: every record is in exactly one mail or pending, and counted once.

A machine logs, imports, flushes, kills, takes the mail server away and turns the clock; spool, database and
records are real, the mail server is a scripted backend. After each step the books are audited.
"""

from __future__ import annotations

import json
import logging
import smtplib
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from weakref import WeakValueDictionary

import pytest
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.db import Error, OperationalError, connection, connections
from django.db.models import F, Sum
from django.test import override_settings
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from django_maillog import buffers
from django_maillog.flush import flush
from django_maillog.handlers import BufferingHandler, SMTPHandler
from django_maillog.intake.importer import import_all
from django_maillog.models import Attempt, Batch, Group, Record, Segment, Status, Tally
from django_maillog.outbox import delivery
from django_maillog.outbox.batches import retry
from django_maillog.outbox.options import FlushOptions
from django_maillog.silences import end_silence, resolve, silence
from django_maillog.spool.journal import journal
from django_maillog.spool.segment import SegmentFile
from django_maillog.worker import outage
from tests.examples import examples

BUFFERS = ("mail", "audit")
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Killed(BaseException):
    """The process is gone: nothing of ours catches this, and the database rolls back."""


class Server:
    """A mail server by script: what it accepted, and how it answers."""

    def __init__(self) -> None:
        self.mood = "well"
        self.counts: dict[str, int] = {}  # X-Maillog-Count by Message-ID
        self.copies: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()  # accepted, but the client doesn't know
        self.dates: dict[str, str] = {}

    def accept(self, mail: EmailMessage) -> None:
        headers = mail.message()
        key, count, date = headers["Message-ID"], int(headers["X-Maillog-Count"]), headers["Date"]
        assert self.counts.setdefault(key, count) == count, f"{key} was sent with two counts"
        assert self.dates.setdefault(key, date) == date, f"{key} was sent with two dates"
        self.copies[key] += 1
        assert self.copies[key] <= 1 + self.unanswered[key], f"{key} was sent twice"

    def answer(self, mail: EmailMessage) -> None:
        if self.mood == "busy":
            raise smtplib.SMTPDataError(451, b"Try later")
        if self.mood == "picky":
            raise smtplib.SMTPDataError(552, b"Too large")
        if self.mood == "killing before":
            raise Killed
        self.accept(mail)
        if self.mood == "silent":
            self.unanswered[mail.message()["Message-ID"]] += 1
            raise smtplib.SMTPServerDisconnected("no answer to DATA")
        if self.mood == "killing after":
            self.unanswered[mail.message()["Message-ID"]] += 1
            raise Killed


class Backend(BaseEmailBackend):
    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server

    def open(self) -> bool:
        if self.server.mood == "away":
            raise ConnectionRefusedError
        return True

    def send_messages(self, email_messages: Iterable[Any]) -> int:
        sent = 0
        for mail in email_messages:
            self.server.answer(mail)
            sent += 1
        return sent


class Target(SMTPHandler):
    server: Server

    def get_connection(self) -> BaseEmailBackend:
        return Backend(self.server)


class Interference:
    """Does something before one statement of a connection: number `at` of those that `where` lets through."""

    def __init__(self, at: int, act: Callable[[], None], *, where: Callable[[], bool] = lambda: True) -> None:
        self.left = at
        self.act = act
        self.where = where

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        if self.left >= 0 and self.where():
            self.left -= 1
            if self.left < 0:
                self.act()
        return execute(sql, params, many, context)


def kill() -> None:
    raise Killed


def fail() -> None:
    raise OperationalError("the database went away")


class Maillog(RuleBasedStateMachine):
    """One host, two buffers, and whatever happens to them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.server = Server()
        self.emitted: Counter[str] = Counter()
        self.marks = 0
        self.exits = ExitStack()
        folder = self.exits.enter_context(tempfile.TemporaryDirectory())
        self.folder = Path(folder) / "spool"
        # Handlers of other tests may live on; a line that nobody can read counts for one of this process.
        self.exits.enter_context(mock.patch.object(buffers, "_handlers", WeakValueDictionary()))
        self.exits.enter_context(override_settings(MAILLOG_WORKER="none", MAILLOG_SPOOL_DIR=str(self.folder)))
        die(self.folder)
        self.handlers = {name: self._handler(name) for name in BUFFERS}
        for model in (Record, Tally, Attempt, Group, Batch, Segment):
            model.objects.all().delete()

    def _handler(self, name: str) -> BufferingHandler:
        target = Target(toaddrs="you@example.com")
        target.server = self.server
        handler = BufferingHandler(target=target, capacity=40)
        handler.name = name
        return handler

    def clock(self) -> datetime:
        return self.now

    # What can happen

    @rule(
        buffer=st.sampled_from(BUFFERS),
        kind=st.integers(0, 2),
        times=st.sampled_from([1, 2, 9, 30]),
        level=st.sampled_from([logging.ERROR, logging.ERROR, logging.CRITICAL]),
        imported=st.booleans(),
    )
    def log(self, buffer: str, kind: int, times: int, level: int, imported: bool) -> None:
        for _ in range(times):
            self.marks += 1
            record = logging.LogRecord(
                f"shop{kind}",
                level,
                "views.py",
                7,
                "Order %s failed",
                (f"#{self.marks}#",),
                None,
                f"view{kind}",
            )
            record.created = self.now.timestamp()
            self.handlers[buffer].handle(record)
            self.emitted[buffer] += 1
        if imported:
            import_all(self.clock)

    @rule(buffer=st.sampled_from(BUFFERS), times=st.integers(1, 3))
    def log_beyond_the_limit(self, buffer: str, times: int) -> None:
        with override_settings(MAILLOG_SPOOL_MAX_BYTES=1):
            for _ in range(times):
                self.handlers[buffer].handle(logging.makeLogRecord({"levelno": logging.ERROR, "msg": "lost"}))
                self.emitted[buffer] += 1
        journal.write_lost()
        journal.rotate()  # how much room there is has been looked up under the small limit

    @rule()
    def bring_in(self) -> None:
        import_all(self.clock)

    @rule(everything=st.booleans())
    def flush(self, everything: bool) -> None:
        with suppress(Killed):
            self._flush(everything)

    def _flush(self, everything: bool) -> None:
        flush(FlushOptions(everything=everything, clock=self.clock))

    @rule(torn=st.sampled_from([b"", b'{"time": 1', b"\n\n", b"not json\n"]))
    def kill_the_process(self, torn: bytes) -> None:
        is_written = die(self.folder, torn)
        self.emitted["?"] += is_written and torn == b"not json\n"  # a whole line counts as a lost record

    @rule(at=st.integers(0, 30), act=st.sampled_from([kill, fail]), everything=st.booleans())
    def break_off(self, at: int, act: Callable[[], None], everything: bool) -> None:
        """The process dies, or the database fails, at any statement of a flush."""
        before = self.server.copies.copy()
        try:
            with connection.execute_wrapper(Interference(at, act)):
                self._flush(everything)
        except Error:
            pass
        except Killed:  # what was accepted and is not written down yet may come once more
            sending = set(Batch.objects.filter(status=Status.SENDING).values_list("message_id", flat=True))
            self.server.unanswered.update((self.server.copies - before).keys() & sending)

    @rule(at=st.integers(0, 7), times=st.integers(0, 4), everything=st.booleans())
    def race(self, at: int, times: int, everything: bool) -> None:
        """Another process flushes, from beginning to end, between any two transactions of a flush."""
        self.log(BUFFERS[0], 0, times, level=logging.ERROR, imported=False)

        def flush_elsewhere() -> None:
            with suppress(Killed, Error):
                self._flush(everything)
            connections.close_all()

        def interfere() -> None:
            thread = threading.Thread(target=flush_elsewhere)
            thread.start()
            thread.join()

        between = Between()
        with suppress(Killed), connection.execute_wrapper(Interference(at, interfere, where=between)):
            self._flush(everything)

    @rule(
        mood=st.sampled_from(
            ["well", "well", "away", "away", "busy", "picky", "silent", "killing before", "killing after"]
        )
    )
    def change_the_mail_server(self, mood: str) -> None:
        self.server.mood = mood

    @rule(minutes=st.sampled_from([1, 6, 15, 90, 300]))
    def wait(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(hours=st.sampled_from([1, 5, 30]))
    def turn_the_clock_back(self, hours: int) -> None:
        self.now -= timedelta(hours=hours)

    @rule(minutes=st.sampled_from([None, 10]))
    def silence(self, minutes: int | None) -> None:
        until = self.now + timedelta(minutes=minutes) if minutes else None
        silence(Group.objects.order_by("pk")[:2], until=until, by="ada", note="", now=self.now)

    @rule()
    def end_silence(self) -> None:
        end_silence(Group.objects.all())

    @rule()
    def resolve(self) -> None:
        resolve(Group.objects.order_by("pk")[:2], self.now)

    @rule()
    def retry(self) -> None:
        for batch in Batch.objects.filter(status__in=[Status.FAILED, Status.READY]):
            retry(batch, self.now)

    @rule(buffer=st.sampled_from(BUFFERS), times=st.integers(2, 4))
    def lose_the_mail_server_for_a_while(self, buffer: str, times: int) -> None:
        """Several batches of a buffer wait, and are merged when the server is back."""
        mood, self.server.mood = self.server.mood, "away"
        for kind in range(times):
            self.log(buffer, kind % 3, times=5, level=logging.ERROR, imported=True)
            self._flush(everything=True)
        self.server.mood = mood
        self.now += timedelta(hours=1)

    @precondition(lambda self: self.server.mood in {"well", "away", "busy", "picky"})
    @rule(buffer=st.sampled_from(BUFFERS), times=st.integers(0, 9), more=st.integers(0, 2))
    def lose_the_database_for_a_while(self, buffer: str, times: int, more: int) -> None:
        """What came meanwhile is mailed from the spool and imported as mailed; what comes later isn't."""
        self.log(buffer, 1, times, level=logging.ERROR, imported=False)
        outage.Mailer().mail()
        self.log(buffer, 2, more, level=logging.ERROR, imported=False)

    # What must hold after each of them

    @invariant()
    def every_record_is_mailed_or_pending(self) -> None:
        batches = list(Batch.objects.all())
        known = {batch.message_id: batch for batch in batches if batch.message_id}
        for key, count in self.server.counts.items():
            assert key not in known or known[key].record_count == count
        waiting = [batch for batch in batches if batch.message_id not in self.server.counts]
        assert not [batch for batch in waiting if batch.status in (Status.SENT, Status.CANCELLED)]
        pending = sum(batch.record_count for batch in waiting) + spooled(self.folder, without_mailed=True)
        assert sum(self.emitted.values()) == sum(self.server.counts.values()) + pending

    @invariant()
    def every_count_is_exact(self) -> None:
        for batch in Batch.objects.all():
            records = Record.objects.filter(batch=batch)
            assert total(records, "count") + batch.lost_count == batch.record_count
            assert total(records.filter(silenced=True), "count") == batch.silenced_count
        imported = sum(self.emitted.values()) - spooled(self.folder)
        lost = total(Batch.objects.all(), "lost_count")
        assert total(Group.objects.all(), "count") == imported - lost
        assert total(Tally.objects.all(), "count") == imported - lost

    @invariant()
    def no_record_is_in_two_batches(self) -> None:
        marks = Counter[str]()
        for folded, message, messages in Record.objects.values_list("folded", "message", "messages"):
            marks.update({text: number for text, number in messages.items() if text} if folded else [message])
        assert not [mark for mark, number in marks.items() if number > 1 and mark != "lost"]

    def teardown(self) -> None:
        """Whatever happened: with everything well again and time, all is mailed."""
        try:
            self.server.mood = "well"
            journal.write_lost()
            for _ in range(12):
                self._flush(everything=False)
                self.now += timedelta(hours=1)
            assert not Batch.objects.undelivered().exclude(silenced_count=F("record_count")).exists()
            self.retry()
            for _ in range(3):
                self._flush(everything=True)
                self.now += timedelta(hours=1)
            assert sum(self.server.counts.values()) == sum(self.emitted.values())
        finally:
            die(self.folder)
            self.exits.close()


class Between:
    """Whether no transaction of a connection holds a lock: outside of any, or before its first statement."""

    def __init__(self) -> None:
        self.was_inside = False

    def __call__(self) -> bool:
        inside, before = connection.in_atomic_block, self.was_inside
        self.was_inside = inside
        return not (inside and before)


def die(folder: Path, torn: bytes = b"") -> bool:
    """What a kill leaves of this process's spool: the file without its owner, perhaps with half a line.

    Whether there is a file.
    """
    files = sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    if files and torn:
        with files[-1].open("ab") as segment:
            segment.write(torn)
    journal.after_fork_in_child()
    delivery._unsettled.clear()
    return bool(files)


def total(rows: Any, name: str) -> int:
    return rows.aggregate(total=Sum(name))["total"] or 0


def spooled(folder: Path, *, without_mailed: bool = False) -> int:
    """The records in the spool that are not imported; counted by itself, from the bytes."""
    offsets = dict(Segment.objects.values_list("pk", "offset"))
    number = 0
    for path in folder.glob("*.jsonl"):
        with SegmentFile.open(path) as segment:
            mailed_ranges = segment.mailed_ranges() if without_mailed else []
        position = 0
        for line in path.read_bytes().splitlines(keepends=True):
            start, position = position, position + len(line)
            if start < offsets.get(path.stem, 0) or not line.endswith(b"\n"):
                continue
            if line.endswith(b"not json\n"):
                number += 1
            with suppress(ValueError):
                value = json.loads(line)
                mailed = any(
                    r["from"] <= start < r["to"] and value.get("buffer") in r["mails"] for r in mailed_ranges
                )
                if not mailed:
                    number += value.get("lost", "fingerprint" in value)
    return number + sum(journal.lost.values())


@pytest.mark.django_db(transaction=True)
def test_every_record_is_mailed_once_or_pending_whatever_happens() -> None:
    run_state_machine_as_test(
        Maillog,
        settings=settings(
            max_examples=examples(20),
            phases=[Phase.generate],  # a failure is shown as found: to shrink it takes minutes
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.django_db(transaction=True)
def test_two_flushes_at_once_mail_every_record_once() -> None:
    machine = Maillog()
    for at in range(8):
        machine.race(at=at, times=5, everything=True)
        machine.every_record_is_mailed_or_pending()
        machine.every_count_is_exact()
        machine.no_record_is_in_two_batches()
    machine.teardown()


@pytest.mark.django_db(transaction=True)
def test_a_mail_that_may_be_out_is_not_merged_with_others() -> None:
    machine = Maillog()
    machine.log("mail", 0, 5, level=logging.ERROR, imported=True)
    machine.change_the_mail_server("killing after")
    machine.flush(everything=True)
    machine.wait(15)
    machine.change_the_mail_server("away")
    machine.flush(everything=True)
    machine.lose_the_mail_server_for_a_while("mail", 2)
    machine.change_the_mail_server("well")
    machine.flush(everything=True)

    machine.every_record_is_mailed_or_pending()
    machine.teardown()
