"""What the database can't store keeps no mail from going out, sends none twice and stops no other."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections

from django_maillog.models import Attempt, Batch
from tests.buffers import Buffer
from tests.smtp import SMTPServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("spool_dir")]

HOUR = 4000  # seconds: longer than any back-off


@contextmanager
def no_more_pages() -> Iterator[None]:
    """SQLite's file may not grow, as on a full disk."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA page_count")
        [(pages,)] = cursor.fetchall()
        cursor.execute(f"PRAGMA max_page_count = {pages}")
        try:
            yield
        finally:
            cursor.execute("PRAGMA max_page_count = 1073741823")


def flush_for_hours(buffer: Buffer) -> None:
    for _each in range(4):
        buffer.flush(everything=False)
        buffer.wait(HOUR)


@pytest.mark.skipif(connections["default"].vendor != "sqlite", reason="SQLite's limit")
def test_a_full_database_sends_what_is_sealed_once(smtp: SMTPServer) -> None:
    buffer = Buffer()
    batches = [buffer.seal(f"number {number}", fingerprint=str(number)) for number in range(6)]
    with connection.cursor() as cursor:  # what is free within the file is used up first
        cursor.execute("VACUUM")

    with no_more_pages():
        flush_for_hours(buffer)

    assert sorted(message["Message-ID"] for message in smtp.messages) == sorted(
        str(batch.message_id) for batch in batches
    )
    assert set(Batch.objects.values_list("status", flat=True)) == {"sent"}


@pytest.mark.skipif(connections["default"].vendor != "sqlite", reason="SQLite's limit")
def test_what_a_full_database_could_not_keep_is_said(smtp: SMTPServer) -> None:
    buffer = Buffer()
    buffer.seal("x" * 60_000)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")

    with no_more_pages():
        buffer.flush()

    batch = Batch.objects.get()
    assert (batch.status, batch.text, len(smtp.messages)) == ("sent", "", 1)
    assert "can't be stored" in batch.last_error


@contextmanager
def small_packets() -> Iterator[None]:
    """MariaDB takes no statement of more than 64 kB."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@global.max_allowed_packet")
        [(before,)] = cursor.fetchall()
        cursor.execute("SET GLOBAL max_allowed_packet = 65536")
    connection.close()  # a connection keeps what it began with
    try:
        yield
    finally:
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute(f"SET GLOBAL max_allowed_packet = {int(before)}")
        connection.close()


@pytest.mark.skipif(connections["default"].vendor != "mysql", reason="MySQL's limit")
def test_a_mail_larger_than_a_packet_goes_out_once(smtp: SMTPServer) -> None:
    buffer = Buffer()
    for number in range(20):
        buffer.log("x" * 15_000, fingerprint=str(number), error=ValueError("y" * 15_000))
    batch = buffer.seal("last", fingerprint="last")
    other = Buffer("other").seal("another")

    with small_packets():
        flush_for_hours(buffer)

    batch.refresh_from_db()
    assert (batch.status, batch.text) == ("sent", "")
    assert sorted(message["Message-ID"] for message in smtp.messages) == sorted(
        [str(batch.message_id), str(other.message_id)]
    )


@pytest.mark.skipif(connections["default"].vendor != "mysql", reason="MySQL's limit")
def test_records_larger_together_than_a_packet_are_imported_and_one_that_is_larger_counts_as_lost() -> None:
    buffer = Buffer()
    for number in range(40):
        buffer.log("x" * 7_000, fingerprint=str(number))
    large = {f"field{number}": "€" * 3_900 for number in range(4)}
    facts = {"name": "shop", "levelno": logging.ERROR, "msg": "€" * 7_900, "created": buffer.now.timestamp()}
    buffer.handler.handle(logging.makeLogRecord(facts | large))

    with small_packets():
        buffer.import_all()

    batch = Batch.objects.get()
    assert (batch.record_count, batch.lost_count, batch.records.count()) == (41, 1, 40)


@pytest.mark.parametrize("answer", ["550 no\0such user", "451 later \0 😀"])
def test_a_servers_words_that_no_database_takes_are_kept_escaped(smtp: SMTPServer, answer: str) -> None:
    buffer = Buffer()
    poison = buffer.seal("poison")
    other = buffer.seal("other", fingerprint="b")
    code = answer[:3]
    smtp.answer(answer)

    buffer.flush(everything=False)

    poison.refresh_from_db()
    other.refresh_from_db()
    assert (poison.status, other.status) == ("failed" if code == "550" else "ready", "sent")
    assert poison.last_error.startswith(code)
    assert Attempt.objects.filter(batch=poison).get().error == poison.last_error


def test_an_outcome_that_is_refused_stops_no_other_batch(smtp: SMTPServer) -> None:
    buffer = Buffer()
    batches = [buffer.seal(f"number {number}", fingerprint=str(number)) for number in range(3)]
    with connection.cursor() as cursor:
        forbid(cursor, batches[0].pk)
        try:
            buffer.flush(everything=False)
            assert [message["Message-ID"] for message in smtp.messages] == [b.message_id for b in batches]
            buffer.wait(HOUR)
            buffer.flush(everything=False)
            assert len(smtp.messages) == 3
        finally:
            allow(cursor)
    buffer.flush(everything=False)

    assert len(smtp.messages) == 3
    assert set(Batch.objects.values_list("status", flat=True)) == {"sent"}


def forbid(cursor: Any, key: int) -> None:
    """The database refuses that this batch becomes "sent"."""
    if connection.vendor == "sqlite":
        cursor.execute(
            "CREATE TRIGGER maillog_test BEFORE UPDATE ON django_maillog_batch "
            f"WHEN NEW.id = {key} AND NEW.status = 'sent' BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    elif connection.vendor == "postgresql":
        cursor.execute(
            "ALTER TABLE django_maillog_batch ADD CONSTRAINT maillog_test "
            f"CHECK (NOT (id = {key} AND status = 'sent'))"
        )
    else:
        cursor.execute(
            "CREATE TRIGGER maillog_test BEFORE UPDATE ON django_maillog_batch FOR EACH ROW "
            f"IF NEW.id = {key} AND NEW.status = 'sent' THEN "
            "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'refused', MYSQL_ERRNO = 1366; END IF"
        )


def allow(cursor: Any) -> None:
    if connection.vendor == "postgresql":
        cursor.execute("ALTER TABLE django_maillog_batch DROP CONSTRAINT maillog_test")
    else:
        cursor.execute("DROP TRIGGER maillog_test")
